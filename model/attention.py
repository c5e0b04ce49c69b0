"""Attention kernels by name, and the choice of the fastest one that this machine has.

Which kernel wins depends on the card, the precision and the number of keys, so it is measured on the shapes that a
stream will use: a few milliseconds at loading. Every kernel computes the same softmax attention; one that rounds its
numbers (`ROUNDED`) is taken only by name, and only if here it stays as near as it should.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from memreel.errors import UserError
from memreel.model.attention8 import attend8
from memreel.model.clock import mark, on_gpu, reach, seconds
from memreel.model.hopper import Shares, attend_hopper, shares_on
from memreel.model.transformer import Kernel, attend, undivided

TRIES = 5
BUSY = 8192
"""Size of a matrix product that keeps a GPU at work for a millisecond or more."""


def _sdpa(backend: SDPBackend) -> Kernel:
    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return attend(q, k, v)

    return kernel


KERNELS: dict[str, Kernel] = {
    "flash3": attend_hopper,
    "cudnn": _sdpa(SDPBackend.CUDNN_ATTENTION),
    "flash": _sdpa(SDPBackend.FLASH_ATTENTION),
    "efficient": _sdpa(SDPBackend.EFFICIENT_ATTENTION),
    "math": _sdpa(SDPBackend.MATH),
}
"""Kernels by the name that ``model.wan.attention`` takes."""
ROUNDED: dict[str, Kernel] = {"fp8": attend8}
"""Kernels that are not exact, by name."""
NEEDS_PACKAGE = ("flash3", *ROUNDED)
"""Kernels that a GPU may lack only because a package is not installed."""
NEAR, EXACT = 0.1, 0.01
"""Relative error that a rounded kernel, and any other one, may have on random numbers."""


@dataclass(frozen=True)
class Choice:
    """A kernel, its name, and what each one that runs here took, in milliseconds."""

    name: str
    kernel: Kernel
    milliseconds: dict[str, float] = field(default_factory=dict)

    def shares(self, heads: int, device: str) -> Callable[[int], Shares | None]:
        """Return how so many queries have to stand before the kernel (see `memreel.model.hopper.in_shares`)."""
        divides = on_gpu(device) and self.name in NEEDS_PACKAGE
        return partial(shares_on, device, heads=heads) if divides else undivided


def choose(
    name: str,
    queries: tuple[int, int, int, int],
    keys: int,
    device: str,
    dtype: torch.dtype,
) -> Choice:
    """Return the named kernel, or for ``auto`` the fastest.

    Args:
        name: a name of `KERNELS`, or ``auto``.
        queries: shape of the queries, ``[batch, tokens, heads, head_dim]``.
        keys: tokens attended.
        device: where it runs.
        dtype: of queries, keys and values.

    Raises:
        UserError: the named kernel does not run here, or what it computes is too far off; the message has those that
            do.
    """
    draw = torch.Generator(device).manual_seed(0)
    q = torch.randn(queries, device=device, dtype=dtype, generator=draw)
    k = torch.randn(queries[0], keys, *queries[2:], device=device, dtype=dtype, generator=draw)
    took: dict[str, float] = {}
    for each, kernel in (ROUNDED if name in ROUNDED else KERNELS).items():
        if name == "auto" and took and each == "math":
            continue  # "math" writes the whole table of scores, gigabytes at full size
        if name in ("auto", each) and (found := milliseconds(kernel, q, k, device)) is not None:
            took[each] = round(found, 4)
    if not took:
        others = [each for each in KERNELS if milliseconds(KERNELS[each], q, k, device) is not None]
        needs = " without FlashAttention 3 (pip install 'memreel[hopper]')" if name in NEEDS_PACKAGE else ""
        raise UserError(
            f"model.wan.attention: '{name}' does not run on {device} in {dtype}{needs}; try {', '.join(others)}"
        )
    best = min(took, key=lambda each: took[each])
    kernel = {**KERNELS, **ROUNDED}[best]
    _require_near(best, kernel, q, k)
    return Choice(best, kernel, took)


def _require_near(name: str, kernel: Kernel, q: torch.Tensor, k: torch.Tensor) -> None:
    exact = attend(q, k, k).float()
    error = float((kernel(q, k, k).float() - exact).norm() / exact.norm())
    if not error < (NEAR if name in ROUNDED else EXACT):
        raise UserError(f"model.wan.attention: '{name}' is off by {error:.0%} on this device; name another kernel")


def milliseconds(kernel: Kernel, q: torch.Tensor, k: torch.Tensor, device: str) -> float | None:
    """Return the shortest of a few runs, or None if the kernel does not run here.

    On a GPU the device's own time counts, so it is kept at work with something else while runs are called for.
    """
    busy = torch.zeros((BUSY, BUSY), device=device, dtype=q.dtype) if on_gpu(device) else None
    try:
        kernel(q, k, k)
        if busy is not None:
            busy @ busy @ busy @ busy
        marks = [mark(device)]
        for _ in range(TRIES):
            kernel(q, k, k)
            marks.append(mark(device))
        reach(marks[-1])
    except Exception:  # whatever a kernel's library raises where it does not run
        return None
    return 1000 * min(seconds(*pair) for pair in pairwise(marks))
