"""Wan models of random weights, in the sizes of the 1.3B family or very small ones: no file is needed."""

from __future__ import annotations

import zlib
from typing import cast

import torch

from memreel.configs.schema import ModelConfig, WanConfig
from memreel.errors import UserError
from memreel.model.transformer import TransformerConfig, VideoTransformer
from memreel.model.wan.model import WanModel
from memreel.model.wan.text import WanText
from memreel.model.wan.tiny import TinyDecoder
from memreel.model.wan.vae import NEEDS_EXTRA, Codec, WanVae

REAL = TransformerConfig(1536, 12, 30, 8960, 256, 4096)
SMALL = TransformerConfig(256, 2, 2, 512, 64, 32)


class RandomText:
    """Stands for the text encoder: states of the usual size, which depend on the text."""

    def __init__(self, width: int, device: str) -> None:
        self._width, self._device = width, device

    def states(self, text: str) -> torch.Tensor:
        """Return ``[tokens, width]``, a token a word and one more."""
        draw = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return torch.randn(len(text.split()) + 1, self._width, generator=draw).to(self._device)

    def require_short(self, text: str) -> None:
        """Accept any text."""


def random_model(config: ModelConfig, *, small: bool) -> WanModel:
    """Return a model of random weights, in the sizes of the 1.3B family or very small ones."""
    wan, device = config.wan or WanConfig(), _device(config.device)
    dtype = torch.float32 if wan.precision == "fp32" else torch.bfloat16
    sizes = SMALL if small else REAL
    torch.manual_seed(0)
    with torch.device(device):
        net = VideoTransformer(sizes).to(dtype).eval().requires_grad_(False)
        torch.nn.init.normal_(net.head.head.weight, std=0.02)  # a new one is zero, and zeros are multiplied faster
        codec = _random_codec(wan.codec, dtype, small=small)
    text = cast(WanText, RandomText(sizes.text_dim, device))
    return WanModel(wan, net, text, codec, device)


def _random_codec(name: str, dtype: torch.dtype, *, small: bool) -> Codec:
    if name == "tiny":
        widths = (16, 12, 8, 8) if small else (256, 128, 64, 64)
        return TinyDecoder(widths).to(dtype).eval().requires_grad_(False)
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise UserError(f"{NEEDS_EXTRA}, or measure with --codec tiny") from error
    return WanVae(AutoencoderKLWan(**({"base_dim": 8} if small else {})).to(dtype).eval().requires_grad_(False))


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
