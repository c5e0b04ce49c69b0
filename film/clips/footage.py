"""What a video file says of itself, once every picture in it has been decoded: proof that it can be played.

A header promises; a download that broke off promises just as much. So nothing is believed here that was not decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from memreel.errors import ModelError

TORN = 0.5
"""Seconds that may be missing at the end of what a header promises."""


class Unplayable(ModelError):
    """A file is not a video, or stops short of what its header promises."""


@dataclass(frozen=True)
class Footage:
    """A playable video file: size in pixels, pictures, playing time in seconds, whether it has sound."""

    width: int
    height: int
    pictures: int
    seconds: float
    sound: bool


def examine(path: Path) -> Footage:
    """Decode a video from end to end.

    Raises:
        Unplayable: it is not a video, it is damaged, or pictures that its header promises are missing.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Unplayable(f"{path} has no picture")
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "AUTO"
            pictures, end, before, begin = 0, 0.0, None, None
            for frame in container.decode(stream):
                time = float(frame.time if frame.time is not None else pictures / (stream.average_rate or 24))
                begin = time if begin is None else begin
                step = time - before if before is not None else float(1 / (stream.average_rate or 24))
                pictures, end, before = pictures + 1, time + step, time
            promised = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            if not pictures or pictures < stream.frames or end - (begin or 0.0) < promised - TORN:
                raise Unplayable(f"{path} stops after {pictures} pictures, short of what it promises")
            return Footage(stream.width, stream.height, pictures, end - (begin or 0.0), bool(container.streams.audio))
    except (OSError, av.FFmpegError, ValueError) as error:
        raise Unplayable(f"{path} is not a video that can be played: {error}") from error
