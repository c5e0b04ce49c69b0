"""Triton kernels around self-attention: what it reads is put where it reads it, in one pass over memory.

`turned` normalises and turns queries and keys and writes them, and values; `turn_keys` turns keys of earlier frames on
the way into a context, and `carry` takes keys or values there as they are. All round to e4m3 where the context is in
it. `join` puts together what queries found in parts of their keys.
Triton comes with CUDA builds of torch only, so this module is imported where tensors are on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from memreel.model.attention8 import E4M3, LARGEST
from memreel.model.context import Room
from memreel.model.transformer import Attention, Projected, Turned

TOKENS = 4
"""Tokens that a program takes into a context."""


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _spin(value, cosine, sine, ROWS: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Turn the pairs of ``[rows, width]``."""
    even, odd = tl.split(tl.reshape(value, (ROWS, WIDTH // 2, 2)))
    return tl.reshape(tl.join(even * cosine - odd * sine, even * sine + odd * cosine), (ROWS, WIDTH))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _normal(x, weight, lane, there, dim, eps):  # type: ignore[no-untyped-def]
    """Load a token's heads and return them normalised, rounded as they are in memory."""
    value = tl.load(x + lane, mask=there, other=0.0).to(tl.float32)
    mean = tl.sum(tl.sum(value * value, 1), 0) / dim
    value = value * tl.rsqrt(mean + eps) * tl.load(weight + lane, mask=there, other=0.0).to(tl.float32)
    return value.to(x.dtype.element_ty)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _turned(  # type: ignore[no-untyped-def]
    q, k, v, weight_q, weight_k, angles, scales, out_q, out_k, out_v, plain,
    tokens, heads, eps, row, token_row, queries, whole, parts, out_row, out_token,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, LARGEST: tl.constexpr,
    PUT: tl.constexpr, EIGHT: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """Take one token, all heads of it."""
    token, place = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    head, column, pair = tl.arange(0, HEADS), tl.arange(0, WIDTH), tl.arange(0, WIDTH // 2)
    dim, there = heads * WIDTH, head[:, None] < heads
    lane = head[:, None] * WIDTH + column[None, :]
    source, target = place * row + token * token_row, place * out_row + token * out_token
    cosine = tl.load(angles + token * (WIDTH // 2) + pair)[None, :]
    sine = tl.load(angles + (tokens + token) * (WIDTH // 2) + pair)[None, :]

    key = _normal(k + source, weight_k, lane, there, dim, eps)
    if PLAIN:
        tl.store(plain + (place * tokens + token) * dim + lane, key, mask=there)
    key = _spin(key.to(tl.float32), cosine, sine, HEADS, WIDTH)
    query = _spin(_normal(q + source, weight_q, lane, there, dim, eps).to(tl.float32), cosine, sine, HEADS, WIDTH)
    if EIGHT:
        key = tl.minimum(tl.maximum(key, -LARGEST), LARGEST)
        query = tl.minimum(tl.maximum(query, -LARGEST), LARGEST)
    tl.store(out_k + target + lane, key.to(out_k.dtype.element_ty), mask=there)
    first = out_q + (place * queries + token) * dim + lane
    query = query.to(out_q.dtype.element_ty)
    tl.store(first, query, mask=there)
    if token >= whole:
        for part in range(1, parts):
            tl.store(first + part * (tokens - whole) * dim, query, mask=there)
    if PUT:
        value = tl.load(v + source + lane, mask=there, other=0.0)
        if EIGHT:
            scale = tl.load(scales + place * heads + head, mask=head < heads, other=1.0)[:, None]
            value = tl.minimum(tl.maximum(value.to(tl.float32) / scale, -LARGEST), LARGEST)
        tl.store(out_v + target + lane, value.to(out_v.dtype.element_ty), mask=there)


def turned(
    attention: Attention,
    projected: Projected,
    turn: torch.Tensor,
    room: Room | None = None,
    shares: tuple[int, int] | None = None,
    plain: bool = True,
) -> Turned:
    """Do what `memreel.model.transformer.Attention.turned` does, in one pass over memory.

    Heads are a power of 2 wide; queries, keys and values lie in memory in the same way, and so do a room's parts.
    """
    q, k, v = projected
    rows, tokens, dim = q.shape
    heads, width = attention.heads, dim // attention.heads
    whole, parts = shares or (tokens, 1)
    queries = whole + (tokens - whole) * parts
    eight = room is not None and room.scale is not None
    out_q = q.new_empty((rows, queries, heads, width), dtype=E4M3 if eight else q.dtype)
    out_k = q.new_empty((rows, tokens, heads, width)) if room is None else room.keys
    values = torch.unflatten(v, -1, (heads, width))
    kept = q.new_empty((rows, tokens, heads, width)) if plain else None
    _turned[(tokens, rows)](
        q, k, v, attention.norm_q.weight, attention.norm_k.weight, turn, q if room is None else room.scale,
        out_q, out_k, out_k if room is None else room.values, kept,
        tokens, heads, attention.norm_q.eps, q.stride(0), q.stride(1), queries, whole, parts,
        out_k.stride(0), out_k.stride(1),
        HEADS=1 << (heads - 1).bit_length(), WIDTH=width, LARGEST=LARGEST,
        PUT=room is not None, EIGHT=eight, PLAIN=plain, num_warps=4,
    )  # fmt: skip
    return Turned(out_q, out_k, values, kept)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _take(  # type: ignore[no-untyped-def]
    given, angles, out, scales, tokens, heads, row, token, out_row, out_token, sines,
    WIDTH: tl.constexpr, TOKENS: tl.constexpr, LARGEST: tl.constexpr,
    TURNED: tl.constexpr, SCALED: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    """Take some tokens of a row, all heads of them, into a context."""
    at = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    place = tl.program_id(1).to(tl.int64)
    column, pair = tl.arange(0, WIDTH), tl.arange(0, WIDTH // 2)
    there = at[:, None] < tokens
    if TURNED:
        angle = at[:, None] * (WIDTH // 2) + pair[None, :]
        cosine = tl.load(angles + angle, mask=there, other=0.0)
        sine = tl.load(angles + sines + angle, mask=there, other=0.0)
    source = given + place * row + at[:, None].to(tl.int64) * token + column[None, :]
    target = out + place * out_row + at[:, None].to(tl.int64) * out_token + column[None, :]
    for head in range(heads):
        value = tl.load(source + head * WIDTH, mask=there, other=0.0).to(tl.float32)
        if TURNED:
            value = _spin(value, cosine, sine, TOKENS, WIDTH)
        if SCALED:
            value = value / tl.load(scales + place * heads + head)
        if EIGHT:
            value = tl.minimum(tl.maximum(value, -LARGEST), LARGEST)
        tl.store(target + head * WIDTH, value.to(out.dtype.element_ty), mask=there)


def _taken(given: torch.Tensor, out: torch.Tensor, angles: torch.Tensor | None, scale: torch.Tensor | None) -> None:
    rows, tokens, heads, width = given.shape
    if given.stride(2) != width or given.stride(3) != 1:
        given = given.contiguous()
    _take[(-(-tokens // TOKENS), rows)](
        given, given if angles is None else angles, out, given if scale is None else scale, tokens, heads,
        given.stride(0), given.stride(1), out.stride(0), out.stride(1), 0 if angles is None else angles.stride(0),
        WIDTH=width, TOKENS=TOKENS, LARGEST=LARGEST, TURNED=angles is not None, SCALED=scale is not None,
        EIGHT=out.dtype == torch.float8_e4m3fn, num_warps=4,
    )  # fmt: skip


def turn_keys(keys: torch.Tensor, angles: torch.Tensor, out: torch.Tensor) -> None:
    """Write keys ``[rows, tokens, heads, head_dim]`` into ``out``, turned by angles ``[2, tokens, width / 2]``."""
    _taken(keys, out, angles, None)


def carry(given: torch.Tensor, out: torch.Tensor, scale: torch.Tensor | None = None) -> None:
    """Write ``[rows, tokens, heads, head_dim]`` into ``out``, each head divided by its ``scale`` ``[rows, heads]``."""
    _taken(given, out, None, scale)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _join(found, sums, part_row, token_row, head_sums, part_sums, parts, WIDTH: tl.constexpr, PARTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Put together one query's parts, in the place of the first."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    part, column = tl.arange(0, PARTS), tl.arange(0, WIDTH)
    there = part < parts
    log = tl.load(sums + head * head_sums + part * part_sums + token, mask=there, other=-float("inf"))
    weight = tl.exp(log - tl.max(log, 0))
    weight = weight / tl.sum(weight, 0)
    first = found + token * token_row + head * WIDTH
    value = tl.load(first + part[:, None] * part_row + column[None, :], mask=there[:, None], other=0.0).to(tl.float32)
    tl.store(first + column, tl.sum(value * weight[:, None], 0).to(found.dtype.element_ty))


def join(found: torch.Tensor, sums: torch.Tensor) -> None:
    """See `memreel.model.hopper.join`; heads lie beside each other, and tokens' sums."""
    parts, tokens, heads, width = found.shape
    wide = 1 << (parts - 1).bit_length()
    rows = (found.stride(0), found.stride(1), sums.stride(0), sums.stride(1))
    _join[(tokens, heads)](found, sums, *rows, parts, WIDTH=width, PARTS=wide, num_warps=1)
