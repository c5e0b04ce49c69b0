"""The attention context of one stream: which frames it holds, and where they stand in time.

Phases of a chunk: `plan` says what is attended to, and `lay_out` puts it into a `Workspace` once for all denoising
steps, with room for the chunk's own keys and values at its end; after the clean pass `push` takes the chunk in, and
hands back the chunk that the local window has no room for any more. Keys are kept without rotary position and turned
when they are laid out. A frame is attended once, even where it is both sink and local, both sink and memory, or handed
in twice. The cache knows nothing of texts, noise or pictures' meaning.

A workspace is as large as the whole layout and stays where it is, so shapes and addresses are the same from chunk to
chunk; streams that take turns can share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from memreel.errors import ModelError
from memreel.model.attention8 import E4M3, carry, rounded, value_scale
from memreel.model.context import FrameContext
from memreel.model.layout import ContextLayout
from memreel.model.protocol import EvictedChunk, MemoryFrame
from memreel.model.rotary import rotate, rotation


def turn_into(keys: torch.Tensor, angles: torch.Tensor, out: torch.Tensor) -> None:
    """Write keys ``[layers, tokens, heads, head_dim]``, turned by ``angles`` (see `rotation`), into ``out``."""
    if keys.is_cuda:
        from memreel.model.fused_gpu import turn_keys

        turn_keys(keys, angles, out)
        return
    for layer, room in zip(keys, out, strict=True):  # one by one: the numbers between are twice as wide
        turned = rotate(layer, angles)
        room.copy_(rounded(turned) if room.dtype == E4M3 else turned)


@dataclass(frozen=True)
class Plan:
    """What a chunk attends to: pieces of keys and values, a row of frames each, and every frame's time position."""

    pieces: list[tuple[torch.Tensor, torch.Tensor]]
    times: list[float]

    @property
    def frames(self) -> int:
        """Frames attended, the chunk's own apart."""
        return len(self.times)


class Workspace:
    """Room in which contexts are laid out, a row a video; the next lay-out is written over the last."""

    def __init__(self, layout: ContextLayout, *, eight_bits: bool = False) -> None:
        """Take no memory yet; with ``eight_bits`` contexts are in e4m3, values scaled by those of the oldest frames."""
        self.layout, self.eight_bits = layout, eight_bits
        self._keys = self._values = self._scales = torch.empty(0)

    @torch.inference_mode()
    def lay_out(self, plans: Sequence[Plan], grid: tuple[int, int]) -> FrameContext | None:
        """Lay out a row for each plan, all of as many frames; None where there is nothing to attend to."""
        frames = plans[0].frames
        if not frames:
            return None
        like = plans[0].pieces[0][0]
        laid, kept = self._room(like, len(plans), frames)
        scales = self._scales[:, : len(plans)] if self.eight_bits else None
        for row, plan in enumerate(plans):
            angles, at = rotation(plan.times, *grid, laid.shape[-1], laid.device), 0
            scale = None
            if scales is not None:
                scale = value_scale(plan.pieces[0][1].to(laid.device).flatten(1, 2))
                scales[:, row] = scale
            for keys, values in plan.pieces:
                end = at + keys.shape[1] * keys.shape[2]
                turn_into(keys.to(laid.device).flatten(1, 2), angles[:, at:end], laid[:, row, at:end])
                carry(values.to(laid.device).flatten(1, 2), kept[:, row, at:end], scale)
                at = end
        return FrameContext(list(laid), list(kept), True, None if scales is None else list(scales))

    def _room(self, like: torch.Tensor, rows: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values ``[layers, rows, tokens, heads, head_dim]`` for ``frames`` and the current chunk."""
        layers, _, tokens, heads, width = like.shape
        dtype = E4M3 if self.eight_bits else like.dtype
        if self._keys.numel() == 0 or self._keys.dtype != dtype or self._keys.shape[1] < rows:
            self._keys = like.new_zeros((layers, rows, self.layout.whole * tokens, heads, width), dtype=dtype)
            self._values = torch.zeros_like(self._keys)
            self._scales = like.new_ones((layers, rows, heads), dtype=torch.float32)
        length = (frames + self.layout.chunk) * tokens
        return self._keys[:, :rows, :length], self._values[:, :rows, :length]


class StreamCache:
    """Sink and local window of one stream, as keys and values ``[layers, frames, tokens, heads, head_dim]``."""

    def __init__(self, layout: ContextLayout, grid: tuple[int, int], *, absolute: bool = False) -> None:
        """Start empty.

        Args:
            layout: how many frames each part holds.
            grid: rows and columns of a frame's tokens.
            absolute: give frames their position in the video instead of their place in the context.
        """
        self.layout, self.grid, self.absolute = layout, grid, absolute
        self.sink: EvictedChunk | None = None
        self.local: list[EvictedChunk] = []

    def recall(self, memory: Sequence[MemoryFrame]) -> list[MemoryFrame]:
        """Return the memory frames that are in neither sink nor local, each once, so that none is attended twice."""
        held = {chunk.index for chunk in ([self.sink] if self.sink else []) + self.local}
        return list({(frame.index, frame.frame): frame for frame in memory if frame.index not in held}.values())

    def plan(self, memory: Sequence[MemoryFrame]) -> Plan:
        """Say what the next chunk attends to: sink, memory and local.

        Raises:
            ModelError: more memory frames than slots, or one without keys and values.
        """
        if len(memory) > self.layout.slots:
            raise ModelError(f"{len(memory)} memory frames for {self.layout.slots} slots; hand in fewer")
        sink = [self.sink] if self.sink is not None else []
        recalled = self.recall(memory)
        near = [chunk for chunk in self.local if not sink or chunk.index != sink[0].index]
        first, last = ([(chunk.keys, chunk.values) for chunk in part] for part in (sink, near))
        return Plan([*first, *map(_tensors, recalled), *last], self._times(sink, recalled, near))

    def current(self) -> list[float]:
        """Return the time positions of the chunk that comes next."""
        if not self.absolute:
            return self.layout.current()
        start = (self.local[-1].index + 1) * self.layout.chunk if self.local else 0
        return [float(start + i) for i in range(self.layout.chunk)]

    def _times(
        self, sink: Sequence[EvictedChunk], recalled: Sequence[MemoryFrame], near: Sequence[EvictedChunk]
    ) -> list[float]:
        if not self.absolute:
            frames = [sum(chunk.keys.shape[1] for chunk in part) for part in (sink, near)]
            return self.layout.positions(frames[0], len(recalled), frames[1])
        first, last = (
            [float(chunk.index * self.layout.chunk + i) for chunk in part for i in range(chunk.keys.shape[1])]
            for part in (sink, near)
        )
        return [*first, *(float(frame.index * self.layout.chunk + frame.frame) for frame in recalled), *last]

    def push(self, chunk: EvictedChunk) -> EvictedChunk | None:
        """Take in a finished chunk; return the oldest local chunk if the window has grown too long."""
        if self.sink is None and self.layout.sink:
            self.sink = chunk
        self.local.append(chunk)
        if sum(c.latents.shape[0] for c in self.local) > self.layout.local:
            return self.local.pop(0)
        return None

    def clear(self) -> None:
        """Let go of all tensors."""
        self.sink, self.local = None, []


def _tensors(frame: MemoryFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a memory frame's keys and values as ``[layers, 1, tokens, heads, head_dim]``."""
    if frame.keys is None or frame.values is None:
        raise ModelError(f"memory frame {frame.frame_id} has no keys and values; encode its latent first")
    return frame.keys.unsqueeze(1), frame.values.unsqueeze(1)
