"""FlashInfer's attention for Hopper, in shares that keep all of a GPU's multiprocessors at work to the end.

A program of its kernels takes a tile of 128 queries of one head through all keys, and as many run at once as there are
multiprocessors: 444 tiles on 132 of them are three full waves and a fourth that leaves most of them idle. So only the
queries that fill whole waves are attended in one go. The others' keys are divided into parts that run beside the last
wave, each with the logarithm of its sum of weights, by which what the parts found is put together again (as in
flash-decoding). FlashInfer (the package flashinfer-python) compiles its kernels at their first use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch

from memreel.model.clock import SIDES, beside, mark, together

TILE = 128
"""Queries that a program of the kernel takes."""
PART_COST = 0.01
"""What a part of the keys costs beyond its share, in waves."""
NO_MASK, TOKENS_FIRST = 0, 0
"""FlashInfer's codes for attention to all keys, and for keys ``[tokens, heads, head_dim]``."""

Run = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], None]
"""Attends with queries to keys and values, writes what is found and, if room is given, the weights' log2 sums."""


class Shares(NamedTuple):
    """The first ``whole`` queries attend to all keys at once, the others to ``parts`` parts of them."""

    whole: int
    parts: int


@lru_cache(maxsize=64)
def shares(queries: int, heads: int, multiprocessors: int) -> Shares:
    """Return the shares with which attention is over soonest."""
    tiles = -(-queries // TILE)
    full = tiles * heads // multiprocessors * multiprocessors // heads
    rest = (tiles - full) * heads

    def waves(parts: int) -> float:
        return -(-rest * parts // multiprocessors) / parts + PART_COST * parts

    parts = min(range(1, SIDES + 1), key=waves)
    return Shares(full * TILE, parts) if parts > 1 else Shares(queries, 1)


def in_shares(
    run: Run, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, multiprocessors: int
) -> None:
    """Attend with a row of queries ``[tokens, heads, head_dim]`` to keys and values, and write it to ``out``.

    Args:
        run: the kernel.
        q: queries.
        k: keys.
        v: values.
        out: room like that of the queries.
        multiprocessors: what the device has.
    """
    whole, parts = shares(*q.shape[:2], multiprocessors)
    if parts == 1:
        run(q, k, v, out, None)
        return
    rest, size = q[whole:], -(-len(k) // parts)
    found = out.new_empty((parts, *out[whole:].shape))
    sums = torch.empty(found.shape[:-1], dtype=torch.float32, device=out.device)
    begun = mark(q.device)
    if whole:
        run(q[:whole], k, v, out[:whole], None)
    for part in range(parts):
        keys = slice(part * size, (part + 1) * size)
        with beside(q.device, part, begun):
            run(rest, k[keys], v[keys], found[part], sums[part])
    together(q.device, parts)
    join(found, sums, out[whole:])


def join(found: torch.Tensor, sums: torch.Tensor, out: torch.Tensor) -> None:
    """Put together what queries found in parts of their keys.

    Args:
        found: ``[parts, tokens, heads, head_dim]``, each part by its own weights.
        sums: log2 of the sum of each part's weights, ``[parts, tokens, heads]``, float32.
        out: room for the whole, ``[tokens, heads, head_dim]``.
    """
    if found.is_cuda:
        from memreel.model import fused_gpu

        fused_gpu.join(found, sums, out)
        return
    weights = (sums - sums.amax(0)).exp2()
    out.copy_((found.float() * (weights / weights.sum(0)).unsqueeze(-1)).sum(0))


def attend_hopper(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend as `memreel.model.transformer.attend` does, in 16 bits."""
    from flashinfer.prefill import get_single_prefill_module

    width = q.shape[-1]
    # What follows the types and widths: no positions, no sliding window, no soft cap, sums in float32.
    kernel = get_single_prefill_module("fa3", q.dtype, k.dtype, q.dtype, width, width, 0, False, False, False).run

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, sums: torch.Tensor | None) -> None:
        codes = (NO_MASK, TOKENS_FIRST, -1)
        rest = (None, None, 0.0, width**-0.5, None, None, None, 1.0, 1e4)
        kernel(q, k, v, _ones(1, q.device), out, sums, *codes, *rest)

    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for row in range(len(q)):
        in_shares(run, q[row], k[row], v[row], out[row], _multiprocessors(q.device))
    return out.flatten(2)


def attend_hopper8(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Attend on numbers in e4m3, without shares.

    Args:
        q: queries ``[batch, tokens, heads, head_dim]``.
        k: keys.
        v: values.
        scale: what each head's values were divided by, float32 ``[batch, heads]``.
        dtype: of what is returned.
    """
    from flashinfer import single_prefill_with_kv_cache

    one = _ones(q.shape[2], q.device)
    how = {"causal": False, "backend": "fa3", "scale_q": one, "scale_k": one, "o_dtype": dtype}
    rows = [
        single_prefill_with_kv_cache(*each, scale_v=values, **how) for *each, values in zip(q, k, v, scale, strict=True)
    ]
    return torch.stack(rows).flatten(2)


@lru_cache(maxsize=8)
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@lru_cache(maxsize=8)
def _ones(count: int, device: torch.device) -> torch.Tensor:
    return torch.ones(count, dtype=torch.float32, device=device)
