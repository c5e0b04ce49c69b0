"""Pictures in, MP4 out, and pictures back again: H.264 that any browser plays, through PyAV.

The writer streams: a picture is encoded when it is added, nothing is held but the encoder's look-ahead. The file has
its final name only once it is complete. Colour is BT.709, limited range, and tagged so. This module knows nothing of
chunks or prompts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from memreel.errors import StoreError, UserError
from memreel.output.durable import part_of, put_in_place

Pictures = npt.NDArray[np.uint8]

ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf")
"""H.264 software and system encoders, best first; PyAV's own wheels carry the first."""
BT709 = 1
LIMITED_RANGE = 1
QUALITY = "18"
"""x264's constant rate factor: visually lossless on drawn and photographic pictures alike."""


def h264_encoder() -> str:
    """Return the name of the best H.264 encoder that this PyAV has.

    Raises:
        UserError: it has none.
    """
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise UserError("this PyAV has no H.264 encoder: pip install --force-reinstall --only-binary=av av")


class VideoWriter:
    """Writes ``path`` picture by picture; `close` completes it, `abort` leaves nothing. Also a context manager."""

    def __init__(self, path: Path, width: int, height: int, fps: int) -> None:
        """Begin a video of ``width`` × ``height`` pixels at ``fps`` pictures a second.

        Raises:
            UserError: width or height is odd, or there is no H.264 encoder.
            StoreError: the file cannot be written.
        """
        if width % 2 or height % 2 or width < 2 or height < 2:
            raise UserError(
                f"cannot encode pictures of {width}×{height}: H.264 (yuv420p) needs an even width and height; "
                f"use {max(2, width - width % 2)}×{max(2, height - height % 2)}"
            )
        self.path = path
        self.count = 0
        """Pictures added so far."""
        self._shape = (height, width, 3)
        self._part = part_of(path)
        encoder = h264_encoder()
        try:
            self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._begin(encoder, width, height, fps)
            self._container.start_encoding()
        except (OSError, av.FFmpegError) as error:
            self._part.unlink(missing_ok=True)
            raise StoreError(f"cannot write {path}: {error}") from error
        self._open = True

    def _begin(self, encoder: str, width: int, height: int, fps: int) -> VideoStream:
        stream = cast(VideoStream, self._container.add_stream(encoder, rate=fps))
        stream.width = width
        stream.height = height
        stream.pix_fmt = "yuv420p"
        stream.gop_size = fps
        context = stream.codec_context
        context.color_range = LIMITED_RANGE
        context.colorspace = context.color_primaries = context.color_trc = BT709
        if encoder == "libx264":
            # One thread: the same pictures give the same bytes whatever the machine's number of cores.
            context.options = {"crf": QUALITY, "preset": "fast", "threads": "1"}
        return stream

    def add(self, pictures: Pictures) -> None:
        """Encode ``pictures``, uint8 ``[n, height, width, 3]``.

        Raises:
            ValueError: another size or type than the video's.
            StoreError: the disk is full or the folder is gone.
        """
        if pictures.dtype != np.uint8 or pictures.shape[1:] != self._shape:
            raise ValueError(f"pictures of {pictures.dtype} {pictures.shape}, the video takes uint8 {self._shape}")
        try:
            for picture in pictures:
                frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                frame.pts = self.count
                self._container.mux(self._stream.encode(frame))
                self.count += 1
        except (OSError, av.FFmpegError) as error:
            raise StoreError(f"cannot write {self.path}: {error}") from error

    def close(self) -> None:
        """Complete the file and give it its name; a second call does nothing.

        Raises:
            StoreError: it could not be written, or no picture was added; nothing is left at ``path``'s place.
        """
        if not self._open:
            return
        if not self.count:
            self.abort()
            raise StoreError(f"no picture was added to {self.path}")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._open = False
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())
            put_in_place(self._part, self.path)
        except (OSError, av.FFmpegError) as error:
            self.abort()
            raise StoreError(f"cannot write {self.path}: {error}") from error

    def abort(self) -> None:
        """Give up: remove what was written so far. After `close` this does nothing."""
        if self._open:
            self._open = False
            try:
                self._container.close()
            except (OSError, av.FFmpegError):
                pass  # the part is removed below, whatever state it was in
            finally:
                self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close, or abort if the block failed."""
        if kind is None:
            self.close()
        else:
            self.abort()


def read_pictures(path: Path, numbers: Iterable[int]) -> dict[int, Pictures]:
    """Decode the pictures with these numbers (from 0) out of a video, in one pass.

    Returns:
        uint8 ``[height, width, 3]`` by number; numbers past the end are absent.

    Raises:
        StoreError: the file is missing or not a video.
    """
    wanted = set(numbers)
    found: dict[int, Pictures] = {}
    if not wanted:
        return found
    last = max(wanted)
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found[number] = cast(Pictures, frame.to_ndarray(format="rgb24"))
                if number >= last:
                    break
    except (OSError, av.FFmpegError, IndexError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    return found
