"""The Triton kernels behind `memreel.model.attention8`, for GPUs whose tensor cores multiply e4m3.

One kernel rounds queries, keys and values block by block (values transposed, since the tensor cores take 8-bit operands
only with their summed axis innermost); the other keeps a tile of queries and goes over the tiles of keys. Triton comes
with CUDA builds of torch only, so nothing but `attend8` imports this module, and only for tensors on a GPU.
"""

import math

import torch
import triton
import triton.language as tl

from memreel.model.attention8 import BLOCK, LARGEST, LIFT

WARPS, STAGES = 8, 3


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _round(  # type: ignore[no-untyped-def]
    x, out, scales, tokens, padded, heads, row, token, head,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr, LARGEST: tl.constexpr, TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """Round a block of one head, and write down its scale."""
    block, place = tl.program_id(0), tl.program_id(1).to(tl.int64)
    at = block * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    start = x + (place // heads) * row + (place % heads) * head
    given = tl.load(start + at[:, None].to(tl.int64) * token + column[None, :], mask=at[:, None] < tokens, other=0.0)
    given = given.to(tl.float32)
    scale = tl.maximum(tl.max(tl.max(tl.abs(given), 1), 0), 1e-12) / LARGEST
    rounded = (given / scale).to(tl.float8e4nv)
    target = out + place * padded * WIDTH
    if TRANSPOSED:
        tl.store(target + column[None, :] * padded + at[:, None], rounded)
    else:
        tl.store(target + at[:, None] * WIDTH + column[None, :], rounded)
    tl.store(scales + place * (padded // BLOCK) + block, scale)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _attend(  # type: ignore[no-untyped-def]
    q8, k8, v8, q_scales, k_scales, v_scales, out, queries, keys, padded_q, padded_k, heads, factor,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr, LIFT: tl.constexpr, SCALES: tl.constexpr,
):  # fmt: skip
    """Attend with one tile of one head's queries to all of its keys."""
    block, place = tl.program_id(0), tl.program_id(1).to(tl.int64)
    rows, column, inner = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDTH), tl.arange(0, BLOCK)
    tiles = padded_k // BLOCK
    every = tl.arange(0, SCALES)
    largest = tl.max(tl.load(v_scales + place * tiles + every, mask=every < tiles, other=0.0), 0)
    q = tl.load(q8 + place * padded_q * WIDTH + rows[:, None] * WIDTH + column[None, :])
    turn = factor * tl.load(q_scales + place * (padded_q // BLOCK) + block)
    k_at = k8 + place * padded_k * WIDTH + inner[None, :] * WIDTH + column[:, None]
    v_at = v8 + place * padded_k * WIDTH + column[None, :] * padded_k + inner[:, None]
    peak = tl.full((BLOCK,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    found = tl.zeros((BLOCK, WIDTH), tl.float32)
    for tile in range(tiles):
        scores = tl.dot(q, tl.load(k_at)) * (turn * tl.load(k_scales + place * tiles + tile))
        if tile == tiles - 1:
            scores = tl.where(tile * BLOCK + inner[None, :] < keys, scores, -float("inf"))
        relative = tl.load(v_scales + place * tiles + tile) / largest
        risen = tl.maximum(peak, tl.max(scores, 1))
        lifted = LIFT + tl.log2(relative)
        weights = tl.math.exp2(scores - (risen - lifted)[:, None])
        fall = tl.math.exp2(peak - risen)
        total = total * fall + tl.sum(weights, 1) * tl.math.exp2(-lifted)
        found = tl.dot(weights.to(tl.float8e4nv), tl.load(v_at), found * fall[:, None])
        peak = risen
        k_at += BLOCK * WIDTH
        v_at += BLOCK
    found = found * (largest * tl.math.exp2(-LIFT) / total)[:, None]
    target = out + (place // heads) * queries * heads * WIDTH + (place % heads) * WIDTH
    where = target + rows[:, None].to(tl.int64) * heads * WIDTH + column[None, :]
    tl.store(where, found.to(out.dtype.element_ty), mask=rows[:, None] < queries)


def _rounded(x: torch.Tensor, *, transposed: bool = False) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Round ``[batch, tokens, heads, width]``; return all heads' rows, their blocks' scales, and padded tokens."""
    batch, tokens, heads, width = x.shape
    if x.stride(3) != 1:
        x = x.contiguous()
    padded = -(-tokens // BLOCK) * BLOCK
    out = torch.empty(batch * heads, padded * width, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(batch * heads, padded // BLOCK, dtype=torch.float32, device=x.device)
    grid = (padded // BLOCK, batch * heads)
    _round[grid](
        x, out, scales, tokens, padded, heads, x.stride(0), x.stride(1), x.stride(2),
        BLOCK=BLOCK, WIDTH=width, LARGEST=LARGEST, TRANSPOSED=transposed,
    )  # fmt: skip
    return out, scales, padded


def attend8_gpu(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attend on ``[batch, tokens, heads, width]``, width a power of two, to ``[batch, tokens, dim]``."""
    batch, queries, heads, width = q.shape
    q8, q_scales, padded_q = _rounded(q)
    k8, k_scales, padded_k = _rounded(k)
    v8, v_scales, _ = _rounded(v, transposed=True)
    out = torch.empty(batch, queries, heads * width, dtype=q.dtype, device=q.device)
    factor = 1 / math.log(2) / math.sqrt(width)
    _attend[(padded_q // BLOCK, batch * heads)](
        q8, k8, v8, q_scales, k_scales, v_scales, out, queries, k.shape[1], padded_q, padded_k, heads, factor,
        BLOCK=BLOCK, WIDTH=width, LIFT=LIFT, SCALES=triton.next_power_of_2(padded_k // BLOCK),
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out
