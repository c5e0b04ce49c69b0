"""Joins clips of any size, rate and time base to one H.264 film of exactly the pictures that were planned.

Each segment has its planned number of pictures, at the film's rate: what a clip has more is cut off (or fades out under
the next segment), where it ends a little early its last picture is held. So a film is as long as its plan whatever its
transitions are, to the picture, and sound is cut at the same places, to the sample. A segment without sound is silent
in a film that has any. Nothing here knows plans, scenes or who made the clips.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from memreel.errors import ModelError, StoreError
from memreel.output.durable import part_of
from memreel.output.video import Chapter, Pictures, assemble, check_size, encode

OVERLAP = 6
"""Pictures of a cross-fade."""
HOLD = 0.5
"""Seconds that a clip's last picture is held at most, where it is shorter than planned."""
RATE = 48_000
"""Samples of sound a second, in two channels."""
SOUND_BITS = 192_000
CLOSE = 1e-4
"""Seconds that two moments may differ and be the same."""

Samples = npt.NDArray[np.float32]
"""Sound, ``[channels=2, samples]`` in -1..1."""


@dataclass(frozen=True)
class Segment:
    """A clip's part of the film: ``pictures`` of it, from its beginning, the first ``skip`` of its own left out.

    ``fade``: cross-faded from the segment before, otherwise cut. ``chapter`` is the title of the chapter that begins
    with it; without one, the chapter before goes on.
    """

    path: Path
    pictures: int
    fade: bool = False
    chapter: str | None = None
    skip: int = 0


@dataclass(frozen=True)
class Merged:
    """What a merge made."""

    pictures: int
    seconds: float
    sound: bool
    chapters: int


def merge(
    segments: Sequence[Segment], path: Path, *, width: int, height: int, fps: int, overlap: int = OVERLAP
) -> Merged:
    """Write the film of ``segments`` to ``path``; it has its name only once it is complete.

    Pictures are scaled to fit into ``width`` × ``height`` pixels, with black beside them where their shape differs.

    Raises:
        ValueError: there is no segment, or one has no pictures.
        UserError: the size is odd.
        ModelError: a clip cannot be decoded, or is much shorter than its segment.
        StoreError: the film cannot be written.
    """
    if not segments or any(segment.pictures < 1 for segment in segments):
        raise ValueError("a film needs segments, and a segment pictures")
    check_size(width, height)
    pieces, tune = (part_of(path.with_name(f"{path.name}.{kind}")) for kind in ("pictures", "sound"))
    fades = _fades(segments, overlap)
    sounding = any(_has_sound(segment.path) for segment in segments)
    try:
        count = _write_pictures(segments, fades, pieces, width, height, fps)
        if sounding:
            _write_sound(segments, fades, tune, fps)
        chapters = _chapters(segments)
        assemble(pieces, path, chapters, sound=tune if sounding else None)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for part in (pieces, tune):
            part.unlink(missing_ok=True)
    return Merged(count, count / fps, sounding, len(chapters))


def _fades(segments: Sequence[Segment], overlap: int) -> list[int]:
    """Return how many pictures each segment shares with the one before."""
    return [min(overlap, segment.pictures) if segment.fade and number else 0 for number, segment in enumerate(segments)]


def _chapters(segments: Sequence[Segment]) -> list[Chapter]:
    chapters: list[Chapter] = []
    at = 0
    for segment in segments:
        at += segment.pictures
        if segment.chapter is not None:
            chapters.append(Chapter(segment.chapter, at - segment.pictures, at))
        elif chapters:
            chapters[-1] = replace(chapters[-1], end=at)
    return chapters


# Pictures


def _write_pictures(
    segments: Sequence[Segment], fades: Sequence[int], path: Path, width: int, height: int, fps: int
) -> int:
    """Encode the film's pictures second by second into the growing file ``path``; return their number."""
    count = number = 0
    second: list[Pictures] = []
    with path.open("wb") as file:

        def flush() -> None:
            nonlocal count, number
            piece = encode(np.stack(second), fps, count, number)
            file.write(piece.body if number else piece.head + piece.body)
            count, number = count + len(second), number + 1
            second.clear()

        for picture in _film(segments, fades, width, height, fps):
            second.append(picture)
            if len(second) == fps:
                flush()
        if second:
            flush()
    return count


def _film(segments: Sequence[Segment], fades: Sequence[int], width: int, height: int, fps: int) -> Iterator[Pictures]:
    """Yield the film's pictures, cross-faded where asked."""
    tail: list[Pictures] = []
    for segment, fade, following in zip(segments, fades, [*fades[1:], 0], strict=True):
        clip = _lasting(segment, _conformed(segment, width, height, fps), fps)
        for place in range(segment.pictures):
            picture = next(clip)
            yield _blend(tail[place], picture, (place + 1) / (fade + 1)) if place < fade else picture
        tail = [next(clip) for _ in range(following)]
        clip.close()


def _blend(leaving: Pictures, coming: Pictures, share: float) -> Pictures:
    mixed = leaving * np.float32(1 - share) + coming * np.float32(share)
    return cast(Pictures, np.rint(mixed).astype(np.uint8))


def _lasting(segment: Segment, clip: Iterator[Pictures], fps: int) -> Generator[Pictures]:
    """Yield a clip's pictures, its last one for ever; at least nearly as many as planned must be real."""
    last: Pictures | None = None
    count = 0
    for last in clip:
        count += 1
        yield last
    if last is None or count < segment.pictures - HOLD * fps:
        raise ModelError(
            f"{segment.path} has {count} pictures at {fps} a second, {segment.pictures} were planned: delete it, and "
            "the same command makes it again"
        )
    while True:
        yield last


def _conformed(segment: Segment, width: int, height: int, fps: int) -> Iterator[Pictures]:
    """Yield a clip's pictures in the film's size at the film's rate: at each moment the one that is shown then."""
    try:
        with av.open(str(segment.path)) as container:
            stream = container.streams.video[0]
            shape = float(stream.sample_aspect_ratio or 1)
            usual = float(1 / (stream.average_rate or fps))
            shown: Pictures | None = None
            moment, begin, before, step = 0, 0.0, 0.0, usual
            for frame in islice(container.decode(stream), segment.skip, None):
                time = float(frame.time) if frame.time is not None else before + usual
                if shown is None:
                    begin = time
                else:
                    step = time - before
                    while moment / fps < time - begin - CLOSE:
                        yield shown
                        moment += 1
                shown, before = _fitted(frame, shape, width, height), time
            end = before - begin + step
            while shown is not None and moment / fps < end - CLOSE:
                yield shown
                moment += 1
    except (OSError, av.FFmpegError, IndexError) as error:
        raise ModelError(
            f"{segment.path} cannot be decoded: {error}; delete it, and the same command makes it again"
        ) from error


def _fitted(frame: VideoFrame, shape: float, width: int, height: int) -> Pictures:
    """Scale a picture into the film's size, keeping its shape, black beside it."""
    wide, high = frame.width * shape, float(frame.height)
    scale = min(width / wide, height / high)
    inner = [min(most, max(2, round(side * scale / 2) * 2)) for side, most in ((wide, width), (high, height))]
    scaled = frame.reformat(inner[0], inner[1], format="rgb24", interpolation=Interpolation.LANCZOS)
    picture = cast(Pictures, scaled.to_ndarray())
    if inner == [width, height]:
        return picture
    whole = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    whole[top : top + inner[1], left : left + inner[0]] = picture
    return whole


# Sound


def _has_sound(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (OSError, av.FFmpegError) as error:
        raise ModelError(
            f"{path} cannot be decoded: {error}; delete it, and the same command makes it again"
        ) from error


def _write_sound(segments: Sequence[Segment], fades: Sequence[int], path: Path, fps: int) -> None:
    """Encode the film's sound (AAC), cut and cross-faded where its pictures are."""
    try:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=RATE, layout="stereo")
            stream.bit_rate = SOUND_BITS
            at = picture = 0
            tail = np.zeros((2, 0), np.float32)
            for segment, following in zip(segments, [*fades[1:], 0], strict=True):
                end = round((picture + segment.pictures) * RATE / fps)
                rest = round((picture + segment.pictures + following) * RATE / fps) - end
                sound = _sound(segment, end - at + rest)
                share = np.linspace(0, 1, tail.shape[1], endpoint=False, dtype=np.float32)
                sound[:, : tail.shape[1]] = sound[:, : tail.shape[1]] * share + tail * (1 - share)
                frame = AudioFrame.from_ndarray(
                    np.ascontiguousarray(sound[:, : end - at]), format="fltp", layout="stereo"
                )
                frame.sample_rate, frame.pts = RATE, at
                container.mux(stream.encode(frame))
                tail, at, picture = sound[:, end - at :], end, picture + segment.pictures
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise StoreError(f"cannot encode the film's sound: {error}") from error


def _sound(segment: Segment, length: int) -> Samples:
    """Return ``length`` samples of a clip's sound from its first picture on; silence where it has none."""
    sound = np.zeros((2, length), np.float32)
    try:
        with av.open(str(segment.path)) as container:
            if not container.streams.audio:
                return sound
            pictures, stream = container.streams.video[0], container.streams.audio[0]
            begin = float((pictures.start_time or 0) * (pictures.time_base or 0))
            begin += segment.skip / float(pictures.average_rate or 24)
            resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE)
            at: int | None = None
            for frame in [*container.decode(stream), None]:
                if at is None and frame is not None:
                    at = round((float(frame.time or 0.0) - begin) * RATE)
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()
                    low, high = max(0, at or 0), min(length, (at or 0) + samples.shape[1])
                    if low < high:
                        sound[:, low:high] = samples[:, low - (at or 0) : high - (at or 0)]
                    at = (at or 0) + samples.shape[1]
    except (OSError, av.FFmpegError) as error:
        raise ModelError(f"{segment.path} has sound that cannot be decoded: {error}") from error
    return sound
