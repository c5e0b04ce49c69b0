"""Where training runs: one process a GPU (started by torchrun) or one CPU process, and the painting on it.

Gradients lie in one buffer and are averaged over processes in one all-reduce; everything else is ordinary single-device
code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist

from memreel.model import transformer
from memreel.training import flow
from memreel.world.draw import pad_tables, paint
from memreel.world.places import backgrounds
from memreel.world.shapes import table
from memreel.world.stories import make_story


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


class Gradients:
    """All gradients of a network as views into one buffer, so that each step handles them in a few calls."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every parameter a gradient of zero."""
        kept = list(parameters)
        self.flat = torch.zeros(sum(p.numel() for p in kept), device=kept[0].device)
        for parameter, part in zip(kept, self.flat.split([p.numel() for p in kept]), strict=True):
            parameter.grad = part.view_as(parameter)

    def clear(self) -> None:
        """Set all to zero; ``zero_grad`` would let go of the buffer instead."""
        self.flat.zero_()

    def average(self, world: int) -> None:
        """Average over all processes."""
        agree(self.flat, world)

    def clip(self, norm: float) -> None:
        """Scale down to at most ``norm`` overall."""
        self.flat.mul_((norm / (self.flat.norm() + 1e-6)).clamp_max(1.0))


def started_ago() -> float:
    """Return the seconds since this process started, before Python imported anything; 0 where that cannot be read."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def agree(tensor: torch.Tensor, world: int) -> torch.Tensor:
    """Average a tensor over all processes, in place."""
    if world > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.AVG)
    return tensor


def compile_pieces() -> None:
    """Compile what lies between the attentions: the blocks' pieces, the rotation of keys and the joining of contexts.

    The pieces are compiled one by one, because batches of every layout then share a handful of kernels.
    """
    for name in ("before", "between", "after"):
        setattr(transformer.Block, name, torch.compile(getattr(transformer.Block, name), dynamic=True))
    for module, name in ((flow, "rotate"), (transformer, "beside")):
        setattr(module, name, torch.compile(getattr(module, name), dynamic=True))


class Easel:
    """Paints batches of shape tables on the training device, in the type that is asked for."""

    def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        self.backgrounds = backgrounds().to(device)
        if device != "cpu":
            self._compare()

    def _compare(self) -> None:
        """See once that the GPU's kernel paints what the CPU paints, before anything is learned from it.

        Raises:
            RuntimeError: a pixel differs by more than a thousandth.
        """
        scenes = [make_story(Random(seed), scenes=1) for seed in range(8)]
        tables = torch.from_numpy(pad_tables([table(story.rows(0, 0.5)) for story in scenes], 80))
        places = torch.arange(8)
        here = paint(tables.to(self.device), self.backgrounds, places.to(self.device))
        for drawn, expected in zip(here, paint(tables, backgrounds(), places), strict=True):
            worst = float((drawn.cpu() - expected).abs().max())
            if not worst < 1e-3:
                raise RuntimeError(f"the GPU's painter differs from the CPU's by {worst:.3g}; see world/draw_gpu.py")

    @torch.no_grad()
    def __call__(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pictures ``[batch, frames * 4, 3, height, width]`` and masks without the 3."""
        count = batch["owner"].shape[0]
        tables = batch["tables"].to(self.device, non_blocking=True)
        places = batch["places"].to(self.device, non_blocking=True)
        pictures, masks = paint(tables, self.backgrounds, places, self.dtype)
        return pictures.unflatten(0, (count, -1)), masks.unflatten(0, (count, -1))
