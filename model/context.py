"""What a transformer's passes read besides the current frames, and what a clean pass writes down.

A text and earlier frames are keys and values, laid out a layer a tensor by whoever has them (`memreel.model.passes`,
`memreel.model.cache`). A context with room takes the current frames' own keys and values into its last tokens, so that
all that is attended to lies in one piece and nothing is copied a step.

Shapes: keys, values and queries ``[batch, tokens, heads, head_dim]``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

from memreel.model.attention8 import E4M3, rounded


class TextContext(NamedTuple):
    """A text as each block's cross-attention sees it: keys, values ``[layers][batch, tokens, heads, head_dim]``."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    mask: torch.Tensor | None
    """``[batch, tokens]``, True where there is text; None where every token counts."""


class Room(NamedTuple):
    """The free last tokens of a layer's keys and values, and in e4m3 the scale of each head's values."""

    keys: torch.Tensor
    values: torch.Tensor
    scale: torch.Tensor | None = None

    def take(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the current frames' rotated keys and values there, rounded if it is in e4m3."""
        eight = self.keys.dtype == E4M3
        self.keys.copy_(rounded(keys) if eight else keys)
        self.values.copy_(rounded(values, self.scale) if eight else values)


class FrameContext(NamedTuple):
    """Earlier frames as each block's self-attention sees them: keys (rotated) and values, one tensor a layer.

    With ``room`` the last tokens of each tensor are free for the current frames' own, which are written there instead
    of being put beside in a copy; such a context is for inference, by one forward at a time. With ``scales`` it is in
    e4m3, each head's values divided by its scale, ``[batch, heads]`` a layer (`memreel.model.attention8`).
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    room: bool = False
    scales: list[torch.Tensor] | None = None

    def room_for(self, layer: int, tokens: int) -> Room | None:
        """Return a layer's room for so many tokens; None where there is none."""
        if not self.room:
            return None
        keys, values = (part[:, part.shape[1] - tokens :] for part in (self.keys[layer], self.values[layer]))
        return Room(keys, values, None if self.scales is None else self.scales[layer])

    def joined(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all that a layer attends to: the current frames' rotated keys and values come last."""
        if self.room:
            return self.keys[layer], self.values[layer]
        return _beside(self.keys[layer], keys), _beside(self.values[layer], values)


class Written(NamedTuple):
    """What a clean pass writes down: keys (un-rotated), values, and text queries of every layer, one tensor a layer."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    queries: list[torch.Tensor]

    def take(self, layer: int, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> None:
        """Write down what a layer made; layers come in order."""
        del layer
        self.keys.append(keys)
        self.values.append(values)
        self.queries.append(queries)


class Writing(Protocol):
    """Where a clean pass writes what each layer makes: `Written`, or room that is there already."""

    def take(self, layer: int, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> None:
        """Write down a layer's keys (un-rotated), values and text queries, ``[batch, tokens, heads, head_dim]``."""


def _beside(earlier: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Put keys or values of earlier frames before a batch's own; neighbouring rows may share the earlier ones."""
    if earlier.shape[0] == own.shape[0]:
        return torch.cat((earlier, own), 1)
    sharing = own.unflatten(0, (earlier.shape[0], -1))
    spread = earlier.unsqueeze(1).expand(-1, sharing.shape[1], -1, -1, -1)
    return torch.cat((spread, sharing), 2).flatten(0, 1)
