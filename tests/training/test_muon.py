"""The stacked optimiser against torch's own."""

from __future__ import annotations

from copy import deepcopy

import torch

from memreel.training.muon import StackedMuon

SIZES = [(24, 24), (24, 24), (64, 24), (24, 64), (24, 24), (64, 24)]


def matrices() -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(size, generator=draw)) for size in SIZES]


def test_it_steps_as_torch_does_and_shares_its_state() -> None:
    stacked, single = matrices(), matrices()
    one = StackedMuon(stacked, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    two = torch.optim.Muon(single, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    draw = torch.Generator().manual_seed(4)
    for step in range(4):
        for a, b in zip(stacked, single, strict=True):
            a.grad = torch.randn(a.shape, generator=draw)
            b.grad = a.grad.clone()
        one.step()
        two.step()
        for a, b in zip(stacked, single, strict=True):
            torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
        if step == 1:
            one.load_state_dict(deepcopy(two.state_dict()))
    moved = [(a - b).abs().mean() for a, b in zip(stacked, matrices(), strict=True)]
    assert min(moved) > 0.005
