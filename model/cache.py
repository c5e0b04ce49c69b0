"""The attention context of one stream: which frames it holds, and where they stand in time.

Phases of a chunk: `context` lays out sink, memory and local once for all its denoising steps, in a workspace of fixed
size that has room for the chunk's own keys and values at its end; after the clean pass `push` takes the chunk in, and
hands back the chunk that the local window has no room for any more. Keys are kept without rotary position and turned
when they are laid out. A frame is attended once, even where it is both sink and local, both sink and memory, or handed
in twice. The cache knows nothing of texts, noise or pictures' meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from memreel.errors import ModelError
from memreel.model.layout import ContextLayout
from memreel.model.protocol import EvictedChunk, MemoryFrame
from memreel.model.rotary import rotate, rotation
from memreel.model.transformer import FrameContext

Turn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class StreamCache:
    """Sink and local window of one stream, as keys and values ``[layers, frames, tokens, heads, head_dim]``."""

    def __init__(
        self, layout: ContextLayout, grid: tuple[int, int], *, absolute: bool = False, turn: Turn = rotate
    ) -> None:
        """Start empty.

        Args:
            layout: how many frames each part holds.
            grid: rows and columns of a frame's tokens.
            absolute: give frames their position in the video instead of their place in the context.
            turn: what turns keys, `rotate` or a compiled equal of it.
        """
        self.layout, self.grid, self.absolute = layout, grid, absolute
        self.sink: EvictedChunk | None = None
        self.local: list[EvictedChunk] = []
        self._turn = turn
        self._keys = self._values = torch.empty(0)

    def recall(self, memory: Sequence[MemoryFrame]) -> list[MemoryFrame]:
        """Return the memory frames that are in neither sink nor local, each once, so that none is attended twice."""
        held = {chunk.index for chunk in ([self.sink] if self.sink else []) + self.local}
        return list({(frame.index, frame.frame): frame for frame in memory if frame.index not in held}.values())

    @torch.inference_mode()
    def context(self, memory: Sequence[MemoryFrame]) -> FrameContext | None:
        """Lay out sink, memory and local for the next chunk; None while there is nothing.

        The context is good until the next one is asked for: they share their tensors.

        Raises:
            ModelError: more memory frames than slots, or one without keys and values.
        """
        if len(memory) > self.layout.memory:
            raise ModelError(f"{len(memory)} memory frames for {self.layout.memory} slots; hand in fewer")
        sink = [self.sink] if self.sink is not None else []
        recalled = self.recall(memory)
        near = [chunk for chunk in self.local if not sink or chunk.index != sink[0].index]
        chunks = [*sink, *near]
        pieces = [(chunk.keys, chunk.values) for chunk in chunks]
        remembered = [_tensors(frame) for frame in recalled]
        pieces[len(sink) : len(sink)] = remembered
        if not pieces:
            return None
        frames = [keys.shape[1] for keys, _ in pieces]
        laid, kept = self._room(pieces[0][0], sum(frames))
        turn = rotation(self._times(sink, recalled, near), *self.grid, laid.shape[-1], laid.device)
        for layer in range(laid.shape[0]):
            keys = torch.cat([k[layer].to(laid.device, non_blocking=True) for k, _ in pieces]).flatten(0, 1)
            values = torch.cat([v[layer].to(laid.device, non_blocking=True) for _, v in pieces]).flatten(0, 1)
            laid[layer, 0, : len(keys)].copy_(self._turn(keys, turn))
            kept[layer, 0, : len(values)].copy_(values)
        return FrameContext(list(laid), list(kept), room=True)

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

    def _room(self, like: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values ``[layers, 1, tokens, heads, head_dim]`` for ``frames`` and the current chunk."""
        layers, _, tokens, heads, width = like.shape
        whole = self.layout.sink + self.layout.memory + self.layout.local + self.layout.chunk
        if self._keys.numel() == 0 or self._keys.dtype != like.dtype:
            self._keys = like.new_zeros(layers, 1, whole * tokens, heads, width)
            self._values = torch.zeros_like(self._keys)
        length = (frames + self.layout.chunk) * tokens
        return self._keys[:, :, :length], self._values[:, :, :length]

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
        self._keys = self._values = torch.empty(0)


def _tensors(frame: MemoryFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a memory frame's keys and values as ``[layers, 1, tokens, heads, head_dim]``."""
    if frame.keys is None or frame.values is None:
        raise ModelError(f"memory frame {frame.frame_id} has no keys and values; encode its latent first")
    return frame.keys.unsqueeze(1), frame.values.unsqueeze(1)
