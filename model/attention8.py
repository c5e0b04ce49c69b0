"""Attention in 8 bits: queries, keys, values and weights in e4m3, sums in float32.

Queries and keys are normalised, so they are rounded as they are; a head's values are divided by a scale, which a
context's workspace derives from its oldest frames. e4m3 is a floating-point format: what a scale must see to is that
nothing overflows and hardly anything underflows. On a Hopper the kernel is FlashAttention 3, if that is installed;
elsewhere the same rounded numbers are multiplied in float32, slowly, which is what tests compare with.
"""

from __future__ import annotations

import math

import torch

from memreel.model.hopper import Shares, attend_hopper

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest number in e4m3."""
HEADROOM = 4.0
"""How many times larger than those a scale was made from values may be before they are cut."""


def value_scale(values: torch.Tensor) -> torch.Tensor:
    """Return what to divide each head's values by, float32 ``[…, heads]`` for ``[…, tokens, heads, head_dim]``."""
    largest = values.abs().amax((-3, -1)).float().clamp(min=1e-12)
    return largest * (HEADROOM / LARGEST)


def rounded(x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``[…, tokens, heads, head_dim]`` in e4m3, each head divided by its ``scale`` ``[…, heads]`` if given."""
    wide = x.float() if scale is None else x.float() / scale[..., None, :, None]
    return wide.clamp(-LARGEST, LARGEST).to(E4M3)


def carry(given: torch.Tensor, out: torch.Tensor, scale: torch.Tensor | None = None) -> None:
    """Write keys or values ``[rows, tokens, heads, head_dim]`` into ``out``, rounded if that is in e4m3.

    Args:
        given: what is written.
        out: a part of a context, of the same shape.
        scale: what each head is divided by, ``[rows, heads]``.
    """
    if given.is_cuda:
        from memreel.model import fused_gpu

        fused_gpu.carry(given, out, scale)
    else:
        out.copy_(rounded(given, scale) if out.dtype == E4M3 else given)


def attend8(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: torch.Tensor | None = None,
    share: Shares | None = None,
) -> torch.Tensor:
    """Attend as `memreel.model.transformer.attend` does, on numbers in e4m3.

    Args:
        q: queries ``[batch, tokens, heads, head_dim]``, in e4m3 if there is a ``scale``.
        k: keys, likewise.
        v: values, likewise.
        scale: what the values were divided by, float32 ``[batch, heads]``; without it what is returned is of the
            queries' type.
        share: how the queries are divided, on a GPU (see `memreel.model.hopper.attend_hopper`).
    """
    if scale is None:
        scale = value_scale(v)
        return attend8(rounded(q), rounded(k), rounded(v, scale), scale, share).to(q.dtype)
    return attend_hopper(q, k, v, scale, share) if q.is_cuda else _in_float32(q, k, v, scale)


def _in_float32(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    queries, keys, values = (x.float().transpose(1, 2) for x in (q, k, v))
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    seen = (weights * LARGEST).to(E4M3).float() / LARGEST
    found: torch.Tensor = (seen @ values) * scale[..., None, None] / weights.sum(-1, keepdim=True)
    return found.transpose(1, 2).flatten(2)
