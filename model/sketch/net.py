"""The networks of `sketch` and their sizes: a small video transformer and the refiner of its text."""

from __future__ import annotations

import torch
from torch import nn

from memreel.model.context import TextContext
from memreel.model.layout import ContextLayout
from memreel.model.scoring import Scorer
from memreel.model.sketch.text import TextRefiner
from memreel.model.transformer import TransformerConfig, VideoTransformer

CONFIG = TransformerConfig(dim=256, heads=4, layers=10, ffn_dim=1024, freq_dim=256, text_dim=256)
LAYOUT = ContextLayout(spare=3)
STEPS = 4
SHIFT = 3.0
LATENT = (16, 14, 24)
"""Channels, height and width of a latent frame: 192 x 112 pictures at strides of 8."""
TOKENS = (7, 12)
"""Rows and columns of tokens of a latent frame."""
SCORER = Scorer(layers=tuple(range(CONFIG.layers)), top_tokens=8)
"""Where no fitted one comes with the weights; eight of 84 tokens are about the area of a figure."""


class SketchNet(nn.Module):
    """Text refiner and video transformer, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.refiner = TextRefiner(CONFIG.text_dim)
        self.transformer = VideoTransformer(CONFIG)

    def read(self, states: torch.Tensor, mask: torch.Tensor) -> TextContext:
        """Turn MiniLM's token states ``[texts, tokens, 384]`` into the transformer's text context."""
        states = states.to(self.refiner.project.weight.dtype)
        return self.transformer.text_context(self.refiner(states, mask), mask)
