"""A transformer's passes over the current chunk of one or more videos: a denoising step, and the clean pass.

Everything that a pass reads lies at an address of its own (latents, timesteps, rotation, texts, the workspace of the
context), so the same pass can be recorded as a CUDA graph once its shapes have come up for a second chunk. Texts should
then be padded to one length. Knows nothing of chunks' order, noise levels or memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional as F

from memreel.model.context import FrameContext, TextContext
from memreel.model.replay import Replayed, Tensors
from memreel.model.rotary import rotation
from memreel.model.transformer import VideoTransformer


class Sheet:
    """What a clean pass writes, for each of the batch's videos.

    ``keys`` (un-rotated) and ``values`` are ``[layers, batch, tokens, heads, head_dim]``; ``queries`` are the text
    queries of the scoring layers alone.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor, scored: Sequence[int]) -> None:
        """Write into these; ``scored`` are the layers whose queries are kept."""
        self.keys, self.values, self.queries, self.scored = keys, values, queries, tuple(scored)

    @classmethod
    def blank(cls, net: VideoTransformer, like: torch.Tensor, tokens: int, scored: Sequence[int]) -> Sheet:
        """Return room for ``tokens`` of each row of latents ``like``."""
        shape = (like.shape[0], tokens, net.config.heads, net.config.head_dim)
        weight, layers = net.patch_embedding.weight, net.config.layers
        keys, values, queries = (weight.new_empty((count, *shape)) for count in (layers, layers, len(scored)))
        return cls(keys, values, queries, scored)

    def take(self, layer: int, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> None:
        """Write down what a layer made."""
        self.keys[layer].copy_(keys)
        self.values[layer].copy_(values)
        if layer in self.scored:
            self.queries[self.scored.index(layer)].copy_(queries)

    def copy(self) -> Sheet:
        """Return a copy, which later passes leave alone."""
        return Sheet(self.keys.clone(), self.values.clone(), self.queries.clone(), self.scored)

    def row(self, row: int, frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a video's keys, values and queries ``[layers, frames, tokens, heads, head_dim]``."""
        keys, values, queries = (
            part[:, row].unflatten(1, (frames, -1)) for part in (self.keys, self.values, self.queries)
        )
        return keys, values, queries


class Passes:
    """Runs a transformer, plainly or from recordings."""

    def __init__(
        self, net: VideoTransformer, grid: tuple[int, int], device: str, scored: Sequence[int], *, record: bool
    ) -> None:
        """Wrap a network.

        Args:
            net: the transformer, in its final form.
            grid: rows and columns of a frame's tokens.
            device: where it runs.
            scored: layers whose text queries a clean pass writes down.
            record: replay passes as CUDA graphs.
        """
        self.net, self.grid, self.device, self.scored = net, grid, device, tuple(scored)
        self.replayed = Replayed(device, enabled=record)
        self.turn = lru_cache(maxsize=8)(self._turn)
        self._sheets: dict[torch.Size, Sheet] = {}
        self._texts: dict[tuple[int, int], tuple[TextContext, list[TextContext | None]]] = {}

    def velocity(
        self,
        latents: torch.Tensor,
        timestep: float,
        texts: Sequence[TextContext],
        turn: torch.Tensor,
        context: FrameContext | None,
        steps: int,
    ) -> torch.Tensor:
        """Return the velocity of ``latents`` ``[batch, frames, c, h, w]``; it is good until the next pass.

        Args:
            latents: noisy latents.
            timestep: their noise level, 0..1000.
            texts: each video's prompt.
            turn: rotation of the chunk's tokens.
            context: what else is attended to, in a workspace.
            steps: passes of a chunk: recorded is from the second chunk on.
        """
        text = self._standing(texts)

        def step(given: Tensors) -> torch.Tensor:
            return self.net(given["latents"], given["timesteps"], text, given["turn"], context)  # type: ignore[no-any-return]

        return self.replayed(step, self._given(latents, timestep, turn), key=("step", _place(context)), plainly=steps)

    def write(
        self, latents: torch.Tensor, texts: Sequence[TextContext], turn: torch.Tensor, context: FrameContext | None
    ) -> Sheet:
        """Run the clean pass over ``latents`` and return what it writes."""
        text, tokens = self._standing(texts), turn.shape[1]
        given = self._given(latents, 0.0, turn)
        if not self.replayed.records:
            return self._written(given, text, context, Sheet.blank(self.net, latents, tokens, self.scored))
        if latents.shape not in self._sheets:
            self._sheets[latents.shape] = Sheet.blank(self.net, latents, tokens, self.scored)
        sheet = self._sheets[latents.shape]
        self.replayed(lambda own: self._written(own, text, context, sheet), given, key=("clean", _place(context)))
        return sheet.copy()

    def _written(self, given: Tensors, text: TextContext, context: FrameContext | None, sheet: Sheet) -> Sheet:
        self.net(given["latents"], given["timesteps"], text, given["turn"], context, sheet)
        return sheet

    def _given(self, latents: torch.Tensor, timestep: float, turn: torch.Tensor) -> Tensors:
        timesteps = torch.full(latents.shape[:2], timestep, device=latents.device)
        return {"latents": latents, "timesteps": timesteps, "turn": turn}

    def _turn(self, times: tuple[float, ...]) -> torch.Tensor:
        """Return the rotation of frames at these time positions."""
        return rotation(times, *self.grid, self.net.config.head_dim, self.device)

    def _standing(self, texts: Sequence[TextContext]) -> TextContext:
        """Return the texts as one batch, where recordings look for them; a text that stands there is left alone."""
        rows, first = len(texts), texts[0]
        if not self.replayed.records and all(text is first for text in texts):
            return _spread(first, rows)
        size = rows, first.keys[0].shape[1]
        if size not in self._texts:
            self._texts[size] = _spread(first, rows, copied=True), [None] * rows
        own, there = self._texts[size]
        for row, text in enumerate(texts):
            if there[row] is not text:
                for room, part in zip(_parts(own), _parts(text), strict=True):
                    room[row].copy_(part[0])
                there[row] = text
        return own


def padded(text: TextContext, tokens: int) -> TextContext:
    """Return one text's context with a mask, as long as ``tokens``; attention to it is what it was."""
    short = tokens - text.keys[0].shape[1]
    mask = torch.ones_like(text.keys[0][:, :, 0, 0], dtype=torch.bool) if text.mask is None else text.mask
    keys, values = ([F.pad(part, (0, 0, 0, 0, 0, short)) for part in parts] for parts in (text.keys, text.values))
    return TextContext(keys, values, F.pad(mask, (0, short)))


def _parts(text: TextContext) -> list[torch.Tensor]:
    return [*text.keys, *text.values, *([] if text.mask is None else [text.mask])]


def _spread(text: TextContext, rows: int, *, copied: bool = False) -> TextContext:
    """Return a text in each of so many rows, which share its tensors unless they are to be copied."""
    spread = (part.expand(rows, *part.shape[1:]) for part in _parts(text))
    parts = iter([part.clone() if copied else part for part in spread])
    keys, values = ([next(parts) for _ in of] for of in (text.keys, text.values))
    return TextContext(keys, values, next(parts, None))


def _place(context: FrameContext | None) -> tuple[int, ...]:
    """Return what tells one laid-out context from another, for a recording: where it lies, and its size."""
    return () if context is None else (context.keys[0].data_ptr(), context.keys[0].shape[1])
