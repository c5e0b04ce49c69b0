"""H.264 in MP4: pictures in, pictures back again, through PyAV.

A film is encoded piece by piece: each piece is closed in itself, so its bytes depend on its pictures and its place
alone, it can be played as soon as it is made, and pieces of one film can be put together without encoding again.
Colour is BT.709, limited range, and tagged so. This module knows nothing of chunks or run folders; how a video grows
on the disk is in `memreel.output.growing`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
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
X264 = {
    "crf": "18",  # visually lossless on drawn and photographic pictures alike
    "preset": "fast",
    "bf": "0",  # a picture is shown when it is decoded: pieces join without a shift in time
    # The same pictures give the same bytes: on any number of cores, and on any processor. Without the last, x264's
    # macroblock tree weighs B-frames by memory that was never written, and differs from run to run.
    "threads": "1",
    "x264-params": "cpu-independent=1",
}
HEAD, BODY = ("ftyp", "moov"), ("moof", "mdat")
"""The boxes of a fragmented MP4 that all pieces of a film share, and those of a single piece."""


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


@dataclass(frozen=True)
class Piece:
    """A part of a film, encoded: ``head`` begins every file that it is played from, ``body`` is the part itself."""

    head: bytes
    body: bytes


def check_size(width: int, height: int) -> None:
    """Check that pictures of this size can be encoded.

    Raises:
        UserError: width or height is odd.
    """
    if width % 2 or height % 2 or width < 2 or height < 2:
        raise UserError(
            f"cannot encode pictures of {width}×{height}: H.264 (yuv420p) needs an even width and height; "
            f"use {max(2, width - width % 2)}×{max(2, height - height % 2)}"
        )


def encode(pictures: Pictures, fps: int, first: int, number: int) -> Piece:
    """Encode ``pictures``, uint8 ``[n, height, width, 3]``, as piece ``number`` of a film, from picture ``first`` on.

    Raises:
        UserError: there is no H.264 encoder.
        StoreError: the encoder failed.
    """
    file = io.BytesIO()
    encoder = h264_encoder()
    flags = {
        "movflags": "empty_moov+default_base_moof+frag_discont",
        "use_editlist": "0",
        "avoid_negative_ts": "disabled",
        "fragment_index": str(number + 1),
    }
    try:
        with av.open(file, "w", format="mp4", options=flags) as container:
            stream = _stream(container, encoder, pictures.shape[2], pictures.shape[1], fps)
            stream.gop_size = len(pictures)
            for place, picture in enumerate(pictures):
                frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                frame.pts = first + place
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (OSError, av.FFmpegError) as error:
        raise StoreError(f"cannot encode pictures {first} to {first + len(pictures) - 1}: {error}") from error
    boxes = list(_boxes(file.getvalue()))
    head, body = (b"".join(box for kind, box in boxes if kind in kinds) for kinds in (HEAD, BODY))
    return Piece(head, body)


def _stream(container: OutputContainer, encoder: str, width: int, height: int, fps: int) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(encoder, rate=fps))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709
    if encoder == "libx264":
        context.options = dict(X264)
    return stream


def _boxes(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the top-level boxes of an MP4 with their kinds."""
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8].decode("latin-1"), content[at : at + size]
        at += size


@dataclass(frozen=True)
class Chapter:
    """A part of a film that can be jumped to: from picture ``start`` to before picture ``end``."""

    title: str
    start: int
    end: int


def assemble(source: Path, path: Path, chapters: Sequence[Chapter], sound: Path | None = None) -> int:
    """Write the film of the growing file ``source`` as an MP4 that seeks and has ``chapters``; nothing is encoded.

    ``sound`` is a file whose sound goes with it. The film has its name only once it is complete.

    Returns:
        The number of its pictures.

    Raises:
        StoreError: ``source`` cannot be read, or the disk is full; what was at ``path`` is still there.
    """
    part, count = part_of(path), 0
    try:
        with ExitStack() as files:
            film = files.enter_context(av.open(str(source)))
            tune = files.enter_context(av.open(str(sound))) if sound else None
            container = files.enter_context(av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}))
            pieces = film.streams.video[0]
            tracks: list[tuple[Iterable[Packet[Any]], VideoStream | AudioStream]] = [
                (film.demux(pieces), container.add_stream_from_template(pieces))
            ]
            if tune is not None:
                voice = tune.streams.audio[0]
                tracks.append((tune.demux(voice), container.add_stream_from_template(voice)))
            unit = Fraction(1, 1) / Fraction(pieces.average_rate or 1)
            container.set_chapters(
                [
                    {
                        "id": number,
                        "start": chapter.start,
                        "end": chapter.end,
                        "time_base": unit,
                        "metadata": {"title": chapter.title},
                    }
                    for number, chapter in enumerate(chapters, start=1)
                ]
            )
            for packet, stream in merge(*(_packets(*track) for track in tracks), key=lambda pair: _moment(pair[0])):
                count += packet.stream is pieces
                packet.stream = stream
                container.mux(packet)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        put_in_place(part, path)
    except (OSError, av.FFmpegError, IndexError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error}") from error
    return count


def _packets(
    track: Iterable[Packet[Any]], stream: VideoStream | AudioStream
) -> Iterator[tuple[Packet[Any], VideoStream | AudioStream]]:
    return ((packet, stream) for packet in track if packet.size)


def _moment(packet: Packet[Any]) -> Fraction:
    """Return when a packet is decoded, in seconds."""
    return Fraction(packet.dts or 0) * Fraction(packet.time_base or 1)


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
