"""Flow matching in a few steps: the noise levels and the Euler rule between them.

A noisy latent is ``x = (1 - sigma) x0 + sigma noise``; the model predicts the velocity ``noise - x0``. Levels are
spaced evenly and then shifted towards noise, ``sigma' = s sigma / (1 + (s - 1) sigma)`` (Esser et al., Scaling
Rectified Flow Transformers, 2024, §5.3.2). Noise is a function of (seed, chunk index, step) alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

TIMESTEPS = 1000.0
"""The timestep that a sigma of 1 stands for."""


def shifted(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    """Shift noise levels in 0..1 towards noise."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def levels(steps: int, shift: float) -> list[float]:
    """Return ``steps + 1`` noise levels from 1 down to 0."""
    return [float(s) for s in shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)]


def mix(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return ``clean`` noised to level ``sigma`` (broadcast)."""
    return (1 - sigma) * clean + sigma * noise


def euler(x: torch.Tensor, velocity: torch.Tensor, sigma: float, following: float) -> torch.Tensor:
    """Move ``x`` from level ``sigma`` to the ``following`` one along ``velocity``."""
    return x + (following - sigma) * velocity


def noise(shape: Sequence[int], seed: int, index: int, step: int = 0) -> torch.Tensor:
    """Return standard normal noise that depends on nothing but its arguments, the same on every device."""
    digest = hashlib.blake2b(f"memreel:{seed}:{index}:{step}".encode(), digest_size=8).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(tuple(shape), generator=generator)
