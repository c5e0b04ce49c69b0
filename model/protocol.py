"""What every video model offers: open a stream, generate chunk after chunk, score what leaves the window.

A `VideoModel` holds weights and is shared; a `Stream` is one running video (cache, position, random state). Neither
knows of prompts' entities, of the bank or of LangGraph: the caller hands in a text and the memory frames to attend to,
and gets back pictures and, once the window is full, the chunk that left it.

Shapes: a latent chunk is ``[frames=3, channels, height, width]``; keys and values are
``[layers, frames, tokens, heads, head_dim]``, without rotary position; pictures are uint8 ``[n, height, width, 3]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from memreel.errors import ModelError

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class VideoSpec:
    """The fixed facts of a video model's output, in pixels, pictures per second and frames."""

    width: int
    height: int
    fps: int
    latent_channels: int
    latent_height: int
    latent_width: int
    chunk_frames: int = 3
    pictures_per_latent: int = 4

    @property
    def chunk_pictures(self) -> int:
        """Pictures in a chunk."""
        return self.chunk_frames * self.pictures_per_latent

    @property
    def chunk_seconds(self) -> float:
        """Playing time of a chunk in seconds."""
        return self.chunk_pictures / self.fps


@dataclass(frozen=True)
class MemoryFrame:
    """One latent frame handed to the attention context: its id, latent and un-rotated keys/values.

    ``latent`` is ``[channels, height, width]``; ``keys`` and ``values`` are ``[layers, tokens, heads, head_dim]``, or
    ``None`` if only the latent was kept: the stream then encodes it again, under ``text``, which it was made under.
    ``index`` is the chunk it came from and ``frame`` its place there, so that a frame that is also in the sink or in
    the local window is attended once.
    """

    frame_id: str
    index: int
    frame: int
    latent: torch.Tensor
    keys: torch.Tensor | None
    values: torch.Tensor | None
    text: str = ""


@dataclass(frozen=True)
class EvictedChunk:
    """A chunk that has just left the local window, with what scoring and the bank need of it.

    ``latents`` ``[frames, channels, height, width]``; ``keys``/``values`` ``[layers, frames, tokens, heads,
    head_dim]``; ``queries`` the text cross-attention queries of its clean pass at the scoring layers,
    ``[scoring layers, frames, tokens, heads, head_dim]``; ``pictures`` one picture a latent frame; ``text`` what it was
    made under.
    """

    index: int
    latents: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    queries: torch.Tensor
    pictures: Pictures
    text: str = ""

    def frame(self, frame: int, frame_id: str, *, latent_only: bool = False) -> MemoryFrame:
        """Return latent frame ``frame`` as a memory frame under ``frame_id`` (tensors are copied out of the chunk)."""
        return MemoryFrame(
            frame_id,
            self.index,
            frame,
            self.latents[frame].clone(),
            None if latent_only else self.keys[:, frame].clone(),
            None if latent_only else self.values[:, frame].clone(),
            self.text,
        )


@dataclass(frozen=True)
class Chunk:
    """A generated chunk: latents, decoded pictures, the chunk that it pushed out, and what it cost.

    Latents are finished; on pictures a device may still be at work: asking ``developed`` for them waits. ``attended``
    are the ids of the memory frames in its attention context. ``seconds`` are those of ``denoise``, ``clean`` and
    ``decode`` that are over, ``later`` the others, once the pictures are there.
    """

    index: int
    latents: torch.Tensor
    developed: Callable[[], Pictures]
    evicted: EvictedChunk | None
    attended: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    later: dict[str, float] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """Whether the pictures may have to be waited for."""
        return "decode" not in self.seconds

    @property
    def pictures(self) -> Pictures:
        """The chunk's pictures, uint8 ``[n, height, width, 3]``; any thread may ask."""
        return self.developed()


@dataclass(frozen=True)
class Place:
    """Where a memory frame came from: its chunk, its place there, and whether its latent alone had been kept."""

    index: int
    frame: int
    latent_only: bool


def place_of(frame: MemoryFrame) -> Place:
    """Return where a memory frame came from."""
    return Place(frame.index, frame.frame, frame.keys is None)


@dataclass(frozen=True)
class LoggedChunk:
    """What is kept of every finished chunk: the text it was made under, its latents bit for bit, what it attended to.

    ``latents`` is ``[frames, channels, height, width]`` on any device; ``attended`` are memory frames' ids and
    ``places`` where those came from, in the same order.
    """

    text: str
    latents: torch.Tensor
    attended: list[str]
    places: Sequence[Place] = ()


Log = Callable[[int], LoggedChunk]
"""Gives the finished chunk of an index. A model asks for those it needs, in any order."""


def _unknown(frame_id: str) -> MemoryFrame:
    raise ModelError(f"the log names memory frame {frame_id}, which no chunk before had made")


@dataclass(frozen=True)
class Snapshot:
    """A stream's state after ``index`` chunks: what it can be restored from in place of the chunks before.

    ``tensors`` are in host memory and ``facts`` JSON values, both the model's own business. ``frame`` gives by id the
    memory frames of chunks that had left the window by then: whoever keeps a snapshot keeps those with it.
    """

    index: int
    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]
    frame: Callable[[str], MemoryFrame] = _unknown


BEGINNING = Snapshot(0, {}, {})
"""Every stream's state before its first chunk."""


class Stream(Protocol):
    """One running video. Per chunk: `generate`; at a prompt switch: `set_prompt` first; at the end: `finalize`."""

    index: int
    """Chunks finished so far: the index of the next one."""

    def set_prompt(self, text: str) -> None:
        """Let the following chunks be governed by ``text``."""

    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        """Generate the next chunk, attending to sink, ``memory``, local and itself.

        Raises:
            ModelError: no prompt was set, or more memory frames were given than the model has slots for.
        """

    def restore(self, log: Log, index: int) -> Chunk | None:
        """Stand where a stream stood after ``index`` chunks, so that what it generates next is the same, bit for bit.

        No prompt is set then. Returns the last of those chunks as `generate` had returned it, with the chunk that it
        pushed out (``None`` for ``index`` 0).
        """

    def finalize(self) -> None:
        """Release the cache; the stream cannot generate any more."""


@runtime_checkable
class SnapshotStream(Stream, Protocol):
    """A stream whose restoration takes longer the longer the video is, unless it can begin from a snapshot."""

    @property
    def snapshot_every(self) -> int:
        """After how many chunks a snapshot is worth its room; 0: never."""

    def snapshot(self) -> Snapshot:
        """Return the stream's state; nothing that the stream does later changes it."""

    def restore(self, log: Log, index: int, snapshot: Snapshot = BEGINNING) -> Chunk | None:
        """Do what `Stream.restore` does, from a snapshot after fewer than ``index`` chunks and the log of the rest.

        Raises:
            ModelError: the snapshot is not one of this video, or of as many chunks.
        """


class VideoModel(Protocol):
    """A video model's weights and the ways to use them; shared by all streams of a process."""

    name: str
    spec: VideoSpec
    memory_slots: int
    scorers: Sequence[str]
    """Names of scorers besides its own that `score` can be asked to use."""
    device: str

    def fingerprint(self) -> str:
        """Return what tells these weights from others of the same name (see `memreel.model.fingerprint`)."""

    def open(self, seed: int) -> Stream:
        """Open a stream whose noise is a function of (``seed``, chunk index, step) alone."""

    def decode(self, log: Log, index: int) -> Pictures:
        """Decode a finished chunk to the pictures that `Stream.generate` gave."""

    def recall(self, log: Log, index: int) -> EvictedChunk:
        """Make a finished chunk's keys, values, queries and pictures again, as they were when it left the window."""

    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        """Score each latent frame for each phrase by the model's own text cross-attention.

        Args:
            evicted: a chunk that left the window.
            phrases: what to look for.
            scorer: one of ``scorers``, in place of the model's own.

        Returns:
            ``[frames, phrases]`` in 0..1: how visible what the phrase describes is in the frame. Padding is excluded.
        """
