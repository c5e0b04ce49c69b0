"""FlashAttention 3 for Hopper, in shares that keep all of a GPU's multiprocessors at work to the end.

A program of its kernel takes a tile of 128 queries of one head through all keys, and as many run at once as there are
multiprocessors: 444 tiles on 132 of them are three full waves and a fourth that leaves most of them idle. So only the
queries that fill whole waves attend to all keys. The others do so to parts of the keys, as sequences of their own that
are begun after the long ones in the same launch; what they find is put together by the logarithms of their sums of
weights (as in flash-decoding). The kernel is that of the package fa3-fwd, or of the whole FlashAttention 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch

TILE = 128
"""Queries that a program of the kernel takes."""
MOST_PARTS = 8
PART_COST = 0.01
"""What a part of the keys costs beyond its share, in waves."""
PACKAGES = ("flash_attn_interface", "fa3_fwd_interface")
"""Modules that have the kernel, the first that is installed."""


class Shares(NamedTuple):
    """The first ``whole`` queries attend to all keys at once, the others to ``parts`` parts of them."""

    whole: int
    parts: int


class Sequences(NamedTuple):
    """Where each sequence of queries begins (and the last ends), where its keys begin, and how many there are.

    All are int32 on the kernel's device. Sequences of keys overlap: the first one's are all of them.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    used: torch.Tensor
    longest: int
    """Queries of the longest one."""


Run = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Sequences | None], tuple[torch.Tensor, torch.Tensor]]
"""Attends with queries to keys and values (``[tokens, heads, head_dim]``), as sequences or as a whole.

Returns what is found, and the natural logarithms of the weights' sums, ``[heads, queries]``.
"""


@lru_cache(maxsize=64)
def shares(queries: int, heads: int, multiprocessors: int) -> Shares:
    """Return the shares with which attention is over soonest."""
    tiles = -(-queries // TILE)
    full = tiles * heads // multiprocessors * multiprocessors // heads
    rest = (tiles - full) * heads

    def waves(parts: int) -> float:
        return -(-rest * parts // multiprocessors) / parts + PART_COST * parts

    parts = min(range(1, MOST_PARTS + 1), key=waves)
    return Shares(full * TILE, parts) if parts > 1 else Shares(queries, 1)


@cache  # recorded passes read them again and again
def sequences(queries: int, keys: int, share: Shares, device: torch.device) -> Sequences:
    """Return the sequences of a share: that of the whole, then one for each part of the keys."""
    rest, size = queries - share.whole, -(-keys // share.parts)
    first = [share.whole] if share.whole else []
    parts = range(0, size * share.parts, size)

    def on_device(numbers: list[int]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=device)

    return Sequences(
        on_device([*([0] if first else []), *(share.whole + rest * i for i in range(share.parts + 1))]),
        on_device([*([0] if first else []), *(min(at, keys) for at in parts), keys]),
        on_device([*([keys] if first else []), *(max(0, min(size, keys - at)) for at in parts)]),
        max(share.whole, rest),
    )


def in_shares(run: Run, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, share: Shares) -> torch.Tensor:
    """Attend with queries ``[tokens, heads, head_dim]`` to keys and values.

    Args:
        run: the kernel.
        q: queries; those after the whole stand there once for each part.
        k: keys.
        v: values.
        share: how they are divided.
    """
    whole, parts = share
    if parts == 1:
        return run(q, k, v, None)[0]
    rest = (len(q) - whole) // parts
    out, sums = run(q, k, v, sequences(whole + rest, len(k), share, q.device))
    join(out[whole:].unflatten(0, (parts, -1)), sums[:, whole:].unflatten(1, (parts, -1)))
    return out[: whole + rest]


def join(found: torch.Tensor, sums: torch.Tensor) -> None:
    """Put together what queries found in parts of their keys, in the place of the first part.

    Args:
        found: ``[parts, tokens, heads, head_dim]``, each part by its own weights.
        sums: natural logarithm of the sum of each part's weights, ``[heads, parts, tokens]``, float32.
    """
    if found.is_cuda:
        from memreel.model import fused_gpu

        fused_gpu.join(found, sums)
        return
    weights = sums.softmax(1).permute(1, 2, 0).unsqueeze(-1)
    found[0] = (found.float() * weights).sum(0)


def attend_hopper(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: torch.Tensor | None = None,
    share: Shares | None = None,
) -> torch.Tensor:
    """Attend as `memreel.model.transformer.attend` does, in 16 bits or on numbers in e4m3.

    Args:
        q: queries ``[batch, tokens, heads, head_dim]``.
        k: keys.
        v: values.
        scale: in e4m3, what each head's values were divided by, float32 ``[batch, heads]``; the result is in bf16.
        share: how queries are divided that stand there as `in_shares` wants them; else they are not divided.
    """
    share = share or Shares(q.shape[1], 1)
    rows = [
        in_shares(_run(None if scale is None else scale[row]), q[row], k[row], v[row], share) for row in range(len(q))
    ]
    return (torch.stack(rows) if rows[1:] else rows[0].unsqueeze(0)).flatten(2)


def shares_on(device: str, queries: int, heads: int) -> Shares | None:
    """Return the shares with which attention is over soonest on a GPU, if there should be any."""
    found = shares(queries, heads, int(torch.cuda.get_device_properties(device).multi_processor_count))
    return found if found.parts > 1 else None


def _run(scale: torch.Tensor | None) -> Run:
    """Return the kernel, for values that were divided by ``scale`` ``[heads]``."""
    library = _library()

    def run(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, split: Sequences | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        descale = None if scale is None else scale.expand(1 if split is None else len(split.used), -1)
        if split is None:
            out, sums = library.flash_attn_func(q[None], k[None], v[None], v_descale=descale, return_attn_probs=True)
            return out[0], sums[0]
        bounds = (split.queries, split.keys, split.longest, len(k))
        found: tuple[torch.Tensor, torch.Tensor] = library.flash_attn_varlen_func(
            q, k, v, *bounds, seqused_k=split.used, v_descale=descale, return_attn_probs=True
        )
        return found

    return run


@cache
def _library() -> ModuleType:
    for name in PACKAGES[:-1]:
        try:
            return import_module(name)
        except ImportError:
            continue
    return import_module(PACKAGES[-1])
