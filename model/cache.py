"""The attention context of one stream: which frames it holds, and where they stand in time.

Phases of a chunk: `context` lays out sink, memory, local (its tensors stay the same for all denoising steps); after the
clean pass `push` takes the chunk in, and hands back the chunk that the local window has no room for any more. Keys are
kept without rotary position and turned when they are laid out. A frame is attended once, even where it is both sink
and local, both sink and memory, or handed in twice. The cache knows nothing of texts, noise or pictures' meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from memreel.errors import ModelError
from memreel.model.layout import ContextLayout
from memreel.model.protocol import EvictedChunk, MemoryFrame
from memreel.model.rotary import rotate, rotation
from memreel.model.transformer import FrameContext


class StreamCache:
    """Sink and local window of one stream, as keys and values ``[layers, frames, tokens, heads, head_dim]``."""

    def __init__(self, layout: ContextLayout, grid: tuple[int, int]) -> None:
        """Start empty; ``grid`` is the rows and columns of a frame's tokens."""
        self.layout, self.grid = layout, grid
        self.sink: EvictedChunk | None = None
        self.local: list[EvictedChunk] = []

    def recall(self, memory: Sequence[MemoryFrame]) -> list[MemoryFrame]:
        """Return the memory frames that are in neither sink nor local, each once, so that none is attended twice."""
        held = {chunk.index for chunk in ([self.sink] if self.sink else []) + self.local}
        return list({(frame.index, frame.frame): frame for frame in memory if frame.index not in held}.values())

    def context(self, memory: Sequence[MemoryFrame]) -> FrameContext | None:
        """Lay out sink, memory and local for the next chunk; None while there is nothing.

        Raises:
            ModelError: more memory frames than slots.
        """
        if len(memory) > self.layout.memory:
            raise ModelError(f"{len(memory)} memory frames for {self.layout.memory} slots; hand in fewer")
        if self.sink is None:
            return None
        recalled = self.recall(memory)
        near = [chunk for chunk in self.local if chunk.index != self.sink.index]
        keys = [self.sink.keys, *(f.keys.unsqueeze(1) for f in recalled), *(c.keys for c in near)]
        values = [self.sink.values, *(f.values.unsqueeze(1) for f in recalled), *(c.values for c in near)]
        frames = [k.shape[1] for k in keys]
        times = self.layout.positions(frames[0], len(recalled), sum(frames[1 + len(recalled) :]))
        laid, kept = torch.cat(keys, 1).flatten(1, 2), torch.cat(values, 1).flatten(1, 2)
        turn = rotation(times, *self.grid, laid.shape[-1]).to(laid.device)
        return FrameContext(list(rotate(laid, turn).unsqueeze(1)), list(kept.unsqueeze(1)))

    def push(self, chunk: EvictedChunk) -> EvictedChunk | None:
        """Take in a finished chunk; return the oldest local chunk if the window has grown too long."""
        if self.sink is None:
            self.sink = chunk
        self.local.append(chunk)
        if sum(c.latents.shape[0] for c in self.local) > self.layout.local:
            return self.local.pop(0)
        return None

    def clear(self) -> None:
        """Let go of all tensors."""
        self.sink, self.local = None, []
