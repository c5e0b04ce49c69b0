"""Muon (Jordan et al., 2024) over many small matrices: those of one shape are orthogonalised together.

The same update as `torch.optim.Muon`, and the same state dictionary; a step makes a hundred kernel launches in place of
several thousand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch


def orthogonalized(
    matrices: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Return the nearest orthogonal matrices to ``[n, rows, columns]``, roughly, by Newton-Schulz steps in bfloat16."""
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` whose step works on stacks of equal shapes; every parameter must have a gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                shapes[parameter.shape].append(parameter)
            for (rows, columns), parameters in shapes.items():
                self._update(group, parameters, group["lr"] * 0.2 * max(rows, columns) ** 0.5)

    def _update(self, group: dict[str, Any], parameters: list[torch.Tensor], rate: float) -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(momentum, grads, 1 - group["momentum"])
        stack = torch.stack(grads).lerp_(torch.stack(momentum), group["momentum"])
        update = orthogonalized(stack, group["ns_coefficients"], group["ns_steps"], group["eps"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(update.to(parameters[0].dtype).unbind()), alpha=-rate)
