"""The arithmetic of a chunk, and how fast this device multiplies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from memreel.model.clock import on_gpu
from memreel.model.fp8 import rounded
from memreel.model.transformer import TransformerConfig
from memreel.model.wan.model import WanModel
from memreel.model.wan.text import MAX_TOKENS


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one pass over a chunk, times two: of linear layers, and of attention."""

    linear: float
    attention: float


def work(sizes: TransformerConfig, tokens: int, attended: int) -> Work:
    """Count a pass over ``tokens`` that attends to ``attended`` tokens, its own included, and to the text."""
    dim = sizes.dim
    linear = 2.0 * tokens * (6 * dim * dim + 2 * dim * sizes.ffn_dim)
    attention = 4.0 * tokens * (attended + MAX_TOKENS) * dim
    return Work(linear * sizes.layers, attention * sizes.layers)


def product_speed(device: str, dtype: torch.dtype, *, eight_bits: bool = False) -> float:
    """Return the operations a second of a large matrix product, the median of a few."""
    size = 8192 if device.startswith("cuda") else 512
    a = torch.randn(size, size, device=device, dtype=dtype)
    rows, scale = rounded(a)

    def product() -> None:
        if eight_bits:
            torch._scaled_mm(rows, rows.t(), scale, scale.t().contiguous(), out_dtype=dtype, use_fast_accum=True)
        else:
            torch.mm(a, a)

    return 2.0 * size**3 / statistics.median(_timed(product, device) for _ in range(12))


def _timed(call: Callable[[], object], device: str) -> float:
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if on_gpu(device):
        torch.cuda.synchronize(device)


def limit(model: WanModel) -> dict[str, Any]:
    """Return a steady chunk's arithmetic, and how long it takes at the speed of large matrix products."""
    layout, tokens = model.layout, model.grid[0] * model.grid[1]
    attended = layout.whole
    each = work(model.net.config, layout.chunk * tokens, attended * tokens)
    passes = len(model.config.steps) + 1
    plain = product_speed(model.device, model.dtype)
    eight = model.config.precision == "fp8" and model.device.startswith("cuda")
    linear = product_speed(model.device, model.dtype, eight_bits=True) if eight else plain
    milliseconds = 1000 * passes * (each.linear / linear + each.attention / plain)
    return {
        "frames_attended": attended,
        "passes": passes,
        "teraflop": round(passes * (each.linear + each.attention) / 1e12, 3),
        "product_tflops": round(plain / 1e12, 1),
        "linear_product_tflops": round(linear / 1e12, 1),
        "milliseconds": round(milliseconds, 2),
    }
