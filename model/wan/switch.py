"""What a stream does at a prompt switch: nothing more, a blend of texts over several chunks, or a new look back.

``hard`` lets the next chunk read the new text while its context was made under the old one. ``soft`` moves the text's
keys and values from the old to the new over a number of chunks that grows with how far apart the two prompts are.
``recache`` encodes the local window again under the new text, so that context and text agree at once. Memory frames and
the sink, unless it is still in the window, stay as they were made.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from memreel.model.context import TextContext

SHORTEST, LONGEST = 2, 6
"""Chunks that a soft switch takes, between the same prompt in other words and an unrelated one."""


def distance(old: torch.Tensor, new: torch.Tensor) -> float:
    """Return how far apart two texts are, 0..1, by the angle between their mean states ``[tokens, text_dim]``."""
    likeness = F.cosine_similarity(old.float().mean(0), new.float().mean(0), dim=0)
    return float((1 - likeness).clamp(0, 1))


def window(apart: float) -> int:
    """Return over how many chunks to blend texts that are ``apart`` (0..1)."""
    return SHORTEST + round((LONGEST - SHORTEST) * apart)


def alphas(chunks: int) -> list[float]:
    """Return the new text's share in each chunk of a soft switch: rising evenly, and after it whole."""
    return [(i + 1) / (chunks + 1) for i in range(chunks)]


def blend(old: TextContext, new: TextContext, alpha: float) -> TextContext:
    """Return the text between two, token by token; ``alpha`` is the new one's share."""
    return TextContext(
        [torch.lerp(a, b, alpha) for a, b in zip(old.keys, new.keys, strict=True)],
        [torch.lerp(a, b, alpha) for a, b in zip(old.values, new.values, strict=True)],
        None,
    )


class Governing:
    """The text that governs a stream's chunks: after a soft switch, for a while, between two."""

    def __init__(self) -> None:
        """Start without a text."""
        self.text: str | None = None
        self._new: TextContext | None = None
        self._old: TextContext | None = None
        self._shares: list[float] = []

    def set(self, text: str, context: TextContext, chunks: int = 0) -> None:
        """Let ``context`` govern: at once, or over ``chunks`` chunks from what governs now."""
        self._old = self.context() if chunks and self._new is not None else None
        self._shares = alphas(chunks) if self._old is not None else []
        self.text, self._new = text, context

    def context(self) -> TextContext:
        """Return the text of the next chunk."""
        assert self._new is not None
        if not self._shares or self._old is None:
            return self._new
        return blend(self._old, self._new, self._shares[0])

    def standing(self) -> tuple[TextContext | None, list[float]]:
        """Return the text that is being left, if one is, and the new one's share in each chunk to come."""
        return self._old, list(self._shares)

    def stand(self, text: str, context: TextContext, old: TextContext | None, shares: list[float]) -> None:
        """Stand where another stood; see `standing`."""
        self.text, self._new, self._old, self._shares = text, context, old, shares

    def advance(self) -> None:
        """Move on by a chunk."""
        self._shares = self._shares[1:]
        if not self._shares:
            self._old = None
