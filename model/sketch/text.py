"""How `sketch` reads a prompt: MiniLM's frozen token states, refined by two trained layers.

The frozen states carry word meaning from a large corpus ("crimson" is near "red"); the refiner binds attributes to whom
they belong. It knows nothing of the video transformer, which projects its states further.
"""

from __future__ import annotations

import torch
from torch import nn

from memreel.model.minilm import WIDTH

MAX_TOKENS = 160
"""Longer prompts are cut here; MiniLM itself was trained on up to 256 tokens."""


class TextRefiner(nn.Module):
    """Two pre-norm transformer layers over MiniLM token states."""

    def __init__(self, dim: int = 256, heads: int = 4, layers: int = 2) -> None:
        """Build with random weights; ``dim`` is the video transformer's ``text_dim``."""
        super().__init__()
        self.project = nn.Linear(WIDTH, dim)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Refine token states ``[texts, tokens, 384]`` to ``[texts, tokens, dim]``; ``mask`` is True on text."""
        refined: torch.Tensor = self.layers(self.project(states), src_key_padding_mask=~mask)
        return refined
