"""The report's pictures as data URIs: a thumbnail of every chunk, every memory frame, the video itself if it is small.

A frame that the bank has dropped is shown from the video, so what a chunk attended to can always be seen.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from memreel.errors import StoreError
from memreel.output.record import RunRecord
from memreel.output.run_folder import RunFolder
from memreel.output.video import Pictures, read_pictures

THUMBNAIL_WIDTH = 256
"""Pixels; wider pictures are reduced to it, narrower ones are kept."""
FRAME_BYTES = 60_000
"""A memory frame's PNG up to this size is embedded as it is."""
VIDEO_BYTES = 8_000_000
"""A video up to this size is embedded, a larger one linked."""
LATENTS_PER_CHUNK = 3


@dataclass(frozen=True)
class VideoFacts:
    """What the MP4 says of itself."""

    width: int
    height: int
    fps: float
    pictures: int

    @property
    def seconds(self) -> float:
        """Playing time."""
        return self.pictures / self.fps


@dataclass(frozen=True)
class RunPictures:
    """All that is to be seen of a run, as data URIs: by chunk index, by frame id, and the video's source."""

    video: VideoFacts | None
    source: str | None
    chunks: dict[int, str]
    frames: dict[str, str]


def collect(folder: RunFolder, record: RunRecord) -> RunPictures:
    """Read a run's pictures; a run without a finished video has those of its memory frames.

    Raises:
        StoreError: the video or a picture is damaged.
    """
    frames = {
        name: frame_source(path)
        for name, frame in record.frames.items()
        if frame.stored and (path := folder.frames / f"{name}.png").is_file()
    }
    if not folder.video.is_file():
        return RunPictures(None, None, {}, frames)
    video = video_facts(folder.video)
    a_chunk = max(1, round(video.pictures / len(record.chunks))) if record.chunks else 1
    latent = a_chunk // LATENTS_PER_CHUNK
    number = {chunk.index: chunk.index * a_chunk + a_chunk // 2 for chunk in record.chunks}
    dropped = {
        name: frame.index * a_chunk + frame.frame * latent + latent // 2
        for name, frame in record.frames.items()
        if name not in frames and frame.index is not None
    }
    pictures = read_pictures(folder.video, [*number.values(), *dropped.values()])
    thumbs = {n: thumbnail(picture) for n, picture in pictures.items()}
    frames |= {name: thumbs[n] for name, n in dropped.items() if n in thumbs}
    return RunPictures(
        video=video,
        source=video_source(folder.video),
        chunks={index: thumbs[n] for index, n in number.items() if n in thumbs},
        frames=frames,
    )


def video_facts(path: Path) -> VideoFacts:
    """Read size, rate and length of a video.

    Raises:
        StoreError: it is not a video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 1)
            return VideoFacts(stream.width, stream.height, rate, stream.frames)
    except (OSError, av.FFmpegError, IndexError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def video_source(video: Path) -> str:
    """Return a video as a data URI if it is small, else its name."""
    if video.stat().st_size > VIDEO_BYTES:
        return video.name
    return "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()


def frame_source(path: Path) -> str:
    """Return a memory frame as a data URI, reduced if it is large.

    Raises:
        StoreError: it is gone or damaged.
    """
    content = path.read_bytes()
    if len(content) <= FRAME_BYTES:
        return "data:image/png;base64," + base64.b64encode(content).decode()
    try:
        with Image.open(path) as image:
            return thumbnail(np.asarray(image.convert("RGB")))
    except OSError as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def thumbnail(picture: Pictures) -> str:
    """Return a picture as a data URI, at most `THUMBNAIL_WIDTH` wide."""
    image = Image.fromarray(picture)
    if image.width > THUMBNAIL_WIDTH:
        image = image.resize(
            (THUMBNAIL_WIDTH, round(image.height * THUMBNAIL_WIDTH / image.width)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=86, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
