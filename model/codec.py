"""A small video codec: four pictures to one latent frame of 1/8 size and 16 channels, and back, streaming.

The encoder sees the four pictures of its own frame only; the decoder also sees the latent before, which is all the
state that streaming needs. Latents leave the encoder with mean 0 and variance 1 in every channel (a batch norm without
gain), so that diffusion needs no scale of its own.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = 16
PICTURES = 4
STRIDE = 8


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add a correction to ``x`` ``[batch, width, height, width]``."""
        change: torch.Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + change


class VideoCodec(nn.Module):
    """Encoder and streaming decoder of latent frames."""

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 192)) -> None:
        """Build with random weights; ``widths`` are the channels at 1/2, 1/4 and 1/8 of the size."""
        super().__init__()
        half, quarter, eighth = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12 * PICTURES, half, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(half, quarter, 3, stride=2, padding=1),
            Residual(quarter),
            nn.SiLU(),
            nn.Conv2d(quarter, eighth, 3, stride=2, padding=1),
            Residual(eighth),
            Residual(eighth),
            nn.SiLU(),
            nn.Conv2d(eighth, CHANNELS, 1),
        )
        self.norm = nn.BatchNorm2d(CHANNELS, affine=False, momentum=0.02)
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * CHANNELS, eighth, 3, padding=1),
            Residual(eighth),
            Residual(eighth),
            nn.Conv2d(eighth, quarter * 4, 1),
            nn.PixelShuffle(2),
            Residual(quarter),
            nn.Conv2d(quarter, half * 4, 1),
            nn.PixelShuffle(2),
            Residual(half),
            nn.SiLU(),
            nn.Conv2d(half, 12 * PICTURES, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Encode pictures ``[batch, frames * 4, 3, height, width]`` in 0..1 to ``[batch, frames, 16, h/8, w/8]``."""
        batch = pictures.shape[0]
        grouped = pictures.unflatten(1, (-1, PICTURES)).flatten(2, 3).flatten(0, 1)
        latents: torch.Tensor = self.norm(self.encoder(grouped * 2 - 1))
        return torch.unflatten(latents, 0, (batch, -1))

    def decode(self, latents: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:
        """Decode ``[batch, frames, 16, h, w]`` to pictures ``[batch, frames * 4, 3, h * 8, w * 8]`` in 0..1.

        Args:
            latents: consecutive latent frames.
            before: the latent frame before them ``[batch, 16, h, w]``, or None at a video's start. Decoding in pieces,
                each given the last frame of the piece before, equals decoding the whole.
        """
        batch, frames = latents.shape[:2]
        first = torch.zeros_like(latents[:, :1]) if before is None else before.unsqueeze(1)
        earlier = torch.cat((first, latents[:, :-1]), 1)
        out = self.decoder(torch.cat((latents, earlier), 2).flatten(0, 1))
        pictures: torch.Tensor = (
            (out * 0.5 + 0.5).unflatten(0, (batch, frames)).unflatten(2, (PICTURES, 3)).flatten(1, 2)
        )
        return pictures
