"""Triton kernels over tokens' rows, for what a compiler's own code reads or writes more often than needed, on a GPU.

`round_rows` rounds rows to e4m3 by a scale each, behind a GELU or not; `normed` is a layer norm with its factor and
shift, and `added_norm` one of what has just been added to. Each holds a whole row in registers and goes over memory
once. Triton comes with CUDA builds of torch only, so this module is imported where tensors are on a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from memreel.model.attention8 import LARGEST


def _widths(columns: int) -> tuple[int, int]:
    """Return two powers of 2 that are together as wide as a row, or a little wider: few lanes of a program are idle."""
    wide = 1 << (columns.bit_length() - 1)
    return wide, 1 << max(0, columns - wide - 1).bit_length()


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _gelu(value):  # type: ignore[no-untyped-def]
    """Return the GELU (tanh form), by the device's own tanh, which is finer than 16 bits."""
    inner = 0.7978845608028654 * (value + 0.044715 * value * value * value)
    bent = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [inner], dtype=tl.float32, is_pure=True, pack=1)
    return 0.5 * value * (1.0 + bent)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _round_rows(  # type: ignore[no-untyped-def]
    x, out, scales, columns, row, WIDE: tl.constexpr, REST: tl.constexpr, LARGEST: tl.constexpr, GELU: tl.constexpr
):
    """Round a row to e4m3, and write down its scale."""
    place = tl.program_id(0).to(tl.int64)
    first, last = tl.arange(0, WIDE), WIDE + tl.arange(0, REST)
    here, there = first < columns, last < columns
    wide = tl.load(x + place * row + first, mask=here, other=0.0).to(tl.float32)
    rest = tl.load(x + place * row + last, mask=there, other=0.0).to(tl.float32)
    if GELU:
        wide, rest = _gelu(wide), _gelu(rest)
    largest = tl.maximum(tl.maximum(tl.max(tl.abs(wide), 0), tl.max(tl.abs(rest), 0)), 1e-12)
    larger = LARGEST / largest
    tl.store(out + place * columns + first, (wide * larger).to(tl.float8e4nv), mask=here)
    tl.store(out + place * columns + last, (rest * larger).to(tl.float8e4nv), mask=there)
    tl.store(scales + place, largest / LARGEST)


@torch.library.triton_op("memreel::round_rows", mutates_args={})
def round_rows(x: torch.Tensor, gelu: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``[rows, columns]`` (or its GELU) in e4m3, and each row's scale ``[rows, 1]`` in float32."""
    rows, columns = x.shape
    out = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=x.device)
    wide, rest = _widths(columns)
    torch.library.wrap_triton(_round_rows)[(rows,)](
        x, out, scales, columns, x.stride(0),
        WIDE=wide, REST=rest, LARGEST=LARGEST, GELU=gelu, num_warps=8 if columns > 4096 else 4,
    )  # fmt: skip
    return out, scales


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _sum(x, more, gate, moved, row, frame, lane, mask, ADDED: tl.constexpr, GATED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Load a part of a row; if something is added, write down the sum, and go on with it as it is in memory."""
    value = tl.load(x + row + lane, mask=mask, other=0.0)
    if ADDED:
        added = tl.load(more + row + lane, mask=mask, other=0.0).to(tl.float32)
        if GATED:
            added = added * tl.load(gate + frame + lane, mask=mask, other=0.0)
        value = (value.to(tl.float32) + added).to(x.dtype.element_ty)
        tl.store(moved + row + lane, value, mask=mask)
    return value.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _norm(  # type: ignore[no-untyped-def]
    x, more, gate, factor, shift, moved, out, columns, tokens, each, eps,
    WIDE: tl.constexpr, REST: tl.constexpr, ADDED: tl.constexpr, GATED: tl.constexpr,
):  # fmt: skip
    """Normalise one token; ``each`` is how far a frame's factors are from the next one's."""
    row = tl.program_id(0).to(tl.int64) * columns
    frame = tl.program_id(0) // tokens
    first, last = tl.arange(0, WIDE), WIDE + tl.arange(0, REST)
    here, there = first < columns, last < columns
    wide = _sum(x, more, gate, moved, row, frame * columns, first, here, ADDED, GATED)
    rest = _sum(x, more, gate, moved, row, frame * columns, last, there, ADDED, GATED)
    mean = (tl.sum(wide, 0) + tl.sum(rest, 0)) / columns
    wide, rest = tl.where(here, wide - mean, 0.0), tl.where(there, rest - mean, 0.0)
    steep = tl.rsqrt((tl.sum(wide * wide, 0) + tl.sum(rest * rest, 0)) / columns + eps)
    own = frame * each
    wide = wide * steep * tl.load(factor + own + first, mask=here, other=0.0) + tl.load(shift + own + first, mask=here)
    rest = rest * steep * tl.load(factor + own + last, mask=there, other=0.0) + tl.load(shift + own + last, mask=there)
    tl.store(out + row + first, wide.to(out.dtype.element_ty), mask=here)
    tl.store(out + row + last, rest.to(out.dtype.element_ty), mask=there)


def _launch(
    x: torch.Tensor,
    factor: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    added: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor] | None,
) -> torch.Tensor:
    """Run `_norm` over ``x`` ``[batch, frames, tokens, dim]``; ``added`` is what, its gate, and where the sum goes."""
    columns, out = x.shape[-1], torch.empty_like(x)
    more, gate, moved = added or (x, None, x)
    wide, rest = _widths(columns)
    torch.library.wrap_triton(_norm)[(x.numel() // columns,)](
        x, more, x if gate is None else gate, factor, shift, moved, out,
        columns, x.shape[2], columns if factor.ndim > 1 else 0, eps,
        WIDE=wide, REST=rest, ADDED=added is not None, GATED=gate is not None, num_warps=4,
    )  # fmt: skip
    return out


@torch.library.triton_op("memreel::normed", mutates_args={})
def normed(x: torch.Tensor, factor: torch.Tensor, shift: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the layer norm of ``[batch, frames, tokens, dim]``, times ``factor`` plus ``shift``, of the same type.

    Those two are float32 and contiguous, ``[batch, frames, 1, dim]`` or ``[dim]``.
    """
    return _launch(x, factor, shift, eps, None)


@torch.library.triton_op("memreel::added_norm", mutates_args={})
def added_norm(
    x: torch.Tensor,
    factor: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    more: torch.Tensor,
    gate: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` with ``more`` (times ``gate``, ``[batch, frames, 1, dim]``) added, and the norm of that."""
    moved = torch.empty_like(x)
    return moved, _launch(x, factor, shift, eps, (more, gate, moved))
