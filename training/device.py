"""Where training runs: one process a GPU (started by torchrun) or one CPU process, and the painting on it.

Gradients are averaged over processes by hand, in one flat all-reduce; everything else is ordinary single-device code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from memreel.world.draw import paint, paint_block
from memreel.world.shapes import backgrounds


@dataclass(frozen=True)
class Place:
    """This process's device and its rank among ``world`` processes."""

    device: str
    rank: int
    world: int

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


def join() -> Place:
    """Join the processes that torchrun started, or run alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if not torch.cuda.is_available():
        return Place("cpu", 0, 1)
    torch.cuda.set_device(rank)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if world > 1:
        dist.init_process_group("nccl")
    return Place(f"cuda:{rank}", rank, world)


def average(parameters: Iterable[torch.nn.Parameter], world: int) -> None:
    """Average the gradients over all processes."""
    if world == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat, op=dist.ReduceOp.AVG)
    start = 0
    for g in grads:
        g.copy_(flat[start : start + g.numel()].view_as(g))
        start += g.numel()


def agree(tensor: torch.Tensor, world: int) -> torch.Tensor:
    """Average a tensor over all processes, in place."""
    if world > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.AVG)
    return tensor


class Easel:
    """Paints batches of shape tables on the training device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.backgrounds = backgrounds().to(device)
        self.painter = torch.compile(paint_block, dynamic=True) if device != "cpu" else paint_block

    @torch.no_grad()
    def __call__(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pictures ``[batch, frames * 4, 3, height, width]`` and masks ``[batch, frames * 4, height, width]``."""
        count = batch["owner"].shape[0]
        tables = batch["tables"].to(self.device, non_blocking=True).float()
        places = batch["places"].to(self.device, non_blocking=True)
        pictures, masks = paint(tables, self.backgrounds[places], painter=self.painter)
        return pictures.unflatten(0, (count, -1)), masks.unflatten(0, (count, -1))
