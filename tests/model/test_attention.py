"""Attention kernels: all compute the same, the fastest one is taken, and one that does not run here is refused."""

from __future__ import annotations

import pytest
import torch

from memreel.errors import UserError
from memreel.model import attention
from memreel.model.attention import KERNELS, choose, milliseconds
from memreel.model.transformer import attend

SHAPE = (1, 6, 2, 16)


def test_every_kernel_that_runs_here_computes_the_same() -> None:
    q, k, v = (torch.randn(1, n, 2, 16, generator=torch.Generator().manual_seed(n)) for n in (6, 10, 11))
    k, v = k[:, :10], v[:, :10]
    running = [name for name, kernel in KERNELS.items() if milliseconds(kernel, q, k, "cpu") is not None]
    assert "math" in running
    for name in running:
        torch.testing.assert_close(KERNELS[name](q, k, v), attend(q, k, v), atol=1e-5, rtol=1e-5)


def test_the_fastest_is_taken_and_all_times_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"cudnn": 3.0, "flash": 2.0, "math": 9.0}
    names = {id(kernel): name for name, kernel in KERNELS.items()}
    monkeypatch.setattr(attention, "milliseconds", lambda kernel, *_: took.get(names[id(kernel)]))
    chosen = choose("auto", SHAPE, 10, "cpu", torch.float32)
    assert (chosen.name, chosen.kernel) == ("flash", KERNELS["flash"])
    assert chosen.milliseconds == {"cudnn": 3.0, "flash": 2.0}, "math is for where there is nothing else"
    assert choose("math", SHAPE, 10, "cpu", torch.float32).name == "math"


def test_a_kernel_that_does_not_run_here_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        UserError, match=r"model.wan.attention: 'cudnn' does not run on cpu in torch.float32; try .*math"
    ):
        choose("cudnn", SHAPE, 10, "cpu", torch.float32)
