"""Triton kernels for what a compiler's own code reads or writes more often than needed, on a GPU.

`round_gelu` applies the GELU and rounds to e4m3 in one pass over a row; `turn_keys` turns keys by their angles on
the way into a context; `carry` takes keys or values there as they are. Both round to e4m3 where the context is in it.
`join` puts together what queries found in parts of their keys.
Triton comes with CUDA builds of torch only, so this module is imported where tensors are on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from memreel.model.attention8 import LARGEST

TOKENS = 4
"""Tokens that a program takes into a context."""


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu(x, place, mask):  # type: ignore[no-untyped-def]
    """Load part of a row and return its GELU, rounded as the row is."""
    given = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    inner = 0.7978845608028654 * (given + 0.044715 * given * given * given)
    value = given * tl.sigmoid(2.0 * inner)  # x (1 + tanh u) / 2
    return value.to(x.dtype.element_ty).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _round_gelu(x, out, scales, columns, row, WIDE: tl.constexpr, REST: tl.constexpr, LARGEST: tl.constexpr):  # type: ignore[no-untyped-def]
    """Round GELU (tanh form) of a row to e4m3, and write down the row's scale.

    A row is as wide as two powers of 2 together, or a little less, so that few of a program's lanes are idle.
    """
    place = tl.program_id(0).to(tl.int64)
    first, last = tl.arange(0, WIDE), WIDE + tl.arange(0, REST)
    there = last < columns
    wide = _gelu(x, place * row + first, first < columns)
    rest = _gelu(x, place * row + last, there)
    scale = tl.maximum(tl.maximum(tl.max(tl.abs(wide), 0), tl.max(tl.abs(rest), 0)), 1e-12) / LARGEST
    tl.store(out + place * columns + first, (wide / scale).to(tl.float8e4nv), mask=first < columns)
    tl.store(out + place * columns + last, (rest / scale).to(tl.float8e4nv), mask=there)
    tl.store(scales + place, scale)


@torch.library.triton_op("memreel::round_gelu", mutates_args={})
def round_gelu(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return GELU of ``[rows, columns]`` in e4m3, and each row's scale ``[rows, 1]`` in float32."""
    rows, columns = x.shape
    out = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=x.device)
    wide = 1 << (columns.bit_length() - 1)
    rest = 1 << max(0, columns - wide - 1).bit_length()
    torch.library.wrap_triton(_round_gelu)[(rows,)](
        x, out, scales, columns, x.stride(0), WIDE=wide, REST=rest, LARGEST=LARGEST, num_warps=8
    )
    return out, scales


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
            even, odd = tl.split(tl.reshape(value, (TOKENS, WIDTH // 2, 2)))
            value = tl.reshape(tl.join(even * cosine - odd * sine, even * sine + odd * cosine), (TOKENS, WIDTH))
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
