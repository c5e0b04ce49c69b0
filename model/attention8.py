"""Attention in 8 bits: queries, keys, values and weights in e4m3, sums in float32.

Queries, keys and values have a scale a head and block of `BLOCK` tokens, so that one number a tile undoes them; what a
value's scale is below the largest goes into the exponent of its weight. On a GPU a Triton kernel does it; elsewhere the
same rounded numbers are multiplied in float32, slowly, which is what tests compare with. Softmax over tiles of keys is
that of FlashAttention (Dao, 2023, §3.1).
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

BLOCK = 128
"""Tokens that share a scale; also a tile of the kernel's."""
LARGEST = 448.0
LIFT = 8.0
"""Weights are at most 1, and are rounded as 2 ** 8 times that."""


def attend8(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend as `memreel.model.transformer.attend` does, on numbers in e4m3."""
    if q.is_cuda:
        from memreel.model.attention8_gpu import attend8_gpu

        return attend8_gpu(q, k, v)
    q8, k8, v8 = (_blocks(x.transpose(1, 2).float()) for x in (q, k, v))
    scores = (q8 @ k8.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    scale = _scales(v.transpose(1, 2).float())
    relative = (scale / scale.amax(2, keepdim=True)).squeeze(-1).unsqueeze(2)  # [batch, heads, 1, keys]
    seen = (weights * relative * 2**LIFT).to(torch.float8_e4m3fn).float() / (relative * 2**LIFT)
    out: torch.Tensor = (seen @ v8) / weights.sum(-1, keepdim=True)
    return out.to(q.dtype).transpose(1, 2).reshape(*q.shape[:2], -1)


def _scales(x: torch.Tensor) -> torch.Tensor:
    """Return the scale of each token's block, ``[batch, heads, tokens, 1]`` for ``[batch, heads, tokens, width]``."""
    tokens = x.shape[2]
    whole = F.pad(x, (0, 0, 0, -tokens % BLOCK)).unflatten(2, (-1, BLOCK))
    largest = whole.abs().amax((3, 4)).clamp(min=1e-12) / LARGEST
    scale: torch.Tensor = largest.repeat_interleave(BLOCK, 2)[:, :, :tokens, None]
    return scale


def _blocks(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` rounded to e4m3 under its blocks' scales."""
    scale = _scales(x)
    return (x / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn).float() * scale
