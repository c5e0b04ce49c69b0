"""Attention kernels by name, and the choice of the fastest one that this machine has.

Which kernel wins depends on the card, the precision and the number of keys, so it is measured on the shapes that a
stream will use: a few milliseconds at loading. Every kernel computes the same softmax attention; one that rounds its
numbers (`ROUNDED`) is taken only by name, and only if here it stays as near as it should.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from memreel.errors import UserError
from memreel.model.attention8 import attend8
from memreel.model.hopper import attend_hopper
from memreel.model.transformer import Kernel, attend

TRIES = 5


def _sdpa(backend: SDPBackend) -> Kernel:
    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return attend(q, k, v)

    return kernel


def _flash3(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Use FlashAttention 3 (the package flash_attn_3), if it is installed."""
    from flash_attn_interface import flash_attn_func

    found = flash_attn_func(q, k, v)
    out: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return out.flatten(2)


KERNELS: dict[str, Kernel] = {
    "flash3": _flash3,
    "flashinfer": attend_hopper,
    "cudnn": _sdpa(SDPBackend.CUDNN_ATTENTION),
    "flash": _sdpa(SDPBackend.FLASH_ATTENTION),
    "efficient": _sdpa(SDPBackend.EFFICIENT_ATTENTION),
    "math": _sdpa(SDPBackend.MATH),
}
"""Kernels by the name that ``model.wan.attention`` takes."""
SLOW_TO_START = ("flashinfer",)
"""Kernels that take a minute or more to be compiled, once a machine: ``auto`` tries them only where that is wanted."""
ROUNDED: dict[str, Kernel] = {"fp8": attend8}
"""Kernels that are not exact, by name."""
NEAR = 0.1
"""Relative error that a rounded kernel may have on random numbers."""


@dataclass(frozen=True)
class Choice:
    """A kernel, its name, and what each one that runs here took, in milliseconds."""

    name: str
    kernel: Kernel
    milliseconds: dict[str, float] = field(default_factory=dict)


def choose(
    name: str,
    queries: tuple[int, int, int, int],
    keys: int,
    device: str,
    dtype: torch.dtype,
    *,
    patient: bool = False,
) -> Choice:
    """Return the named kernel, or for ``auto`` the fastest.

    Args:
        name: a name of `KERNELS`, or ``auto``.
        queries: shape of the queries, ``[batch, tokens, heads, head_dim]``.
        keys: tokens attended.
        device: where it runs.
        dtype: of queries, keys and values.
        patient: let ``auto`` try what has to be compiled first.

    Raises:
        UserError: the named kernel does not run here, or what it computes is too far off; the message has those that
            do.
    """
    draw = torch.Generator(device).manual_seed(0)
    q = torch.randn(queries, device=device, dtype=dtype, generator=draw)
    k = torch.randn(queries[0], keys, *queries[2:], device=device, dtype=dtype, generator=draw)
    took: dict[str, float] = {}
    for each, kernel in (ROUNDED if name in ROUNDED else KERNELS).items():
        if name == "auto" and ((took and each == "math") or (each in SLOW_TO_START and not patient)):
            continue  # "math" writes the whole table of scores, gigabytes at full size
        if name in ("auto", each) and (found := milliseconds(kernel, q, k, device)) is not None:
            took[each] = round(found, 4)
    if not took:
        quick = [each for each in KERNELS if each not in SLOW_TO_START]
        others = [each for each in quick if milliseconds(KERNELS[each], q, k, device) is not None]
        needs = " without FlashInfer (pip install 'memreel[hopper]')" if name in (*ROUNDED, *SLOW_TO_START) else ""
        raise UserError(
            f"model.wan.attention: '{name}' does not run on {device} in {dtype}{needs}; try {', '.join(others)}"
        )
    best = min(took, key=lambda each: took[each])
    if best in ROUNDED:
        _require_near(best, ROUNDED[best], q, k)
    return Choice(best, {**KERNELS, **ROUNDED}[best], took)


def _require_near(name: str, kernel: Kernel, q: torch.Tensor, k: torch.Tensor) -> None:
    exact = attend(q, k, k).float()
    error = float((kernel(q, k, k).float() - exact).norm() / exact.norm())
    if not error < NEAR:
        raise UserError(f"model.wan.attention: '{name}' is off by {error:.0%} on this device; use auto")


def milliseconds(kernel: Kernel, q: torch.Tensor, k: torch.Tensor, device: str) -> float | None:
    """Return the shortest of a few runs, or None if the kernel does not run here."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    try:
        kernel(q, k, k)
        wait()
        runs = []
        for _ in range(TRIES):
            began = time.perf_counter()
            kernel(q, k, k)
            wait()
            runs.append(time.perf_counter() - began)
    except Exception:  # whatever a kernel's library raises where it does not run
        return None
    return min(runs) * 1000
