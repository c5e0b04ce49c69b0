"""Makes the next chunk of one or more videos: few denoising steps, a clean pass, and on to the darkroom.

Videos whose contexts are of one size go through the transformer as one batch, the others after them. Between the first
and the last operation of a chunk nothing waits for the device: its latents, and whether they are finite, come to host
memory by themselves, and a chunk is handed out as soon as they are there. The clean pass goes on meanwhile, and
pictures are developed beside it, so that what a caller does between chunks costs the device nothing. Either every
stream moves on or none does. Between steps the clean estimate is noised again with fresh noise (the few-step rule of
distribution-matching distillation); the last estimate is the chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from memreel.errors import ModelError
from memreel.model.cache import Plan
from memreel.model.clock import Mark, mark, reach, seconds
from memreel.model.context import TextContext
from memreel.model.passes import Sheet
from memreel.model.protocol import Chunk, MemoryFrame
from memreel.model.sampler import TIMESTEPS, mix
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.model.wan.model import WanModel
    from memreel.model.wan.stream import WanStream


@dataclass(frozen=True)
class Order:
    """What a stream asks for: its next chunk's context, text, place in time and noise ``[steps, frames, c, h, w]``."""

    stream: WanStream
    attended: list[str]
    plan: Plan
    text: TextContext
    times: tuple[float, ...]
    draws: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Chunks that were made together: latents ``[batch, frames, c, h, w]``, and the device's word that all is well.

    ``held`` are the latents in host memory, good like ``finite`` once the device has come to the third mark: that of
    denoising's end, between those of the laid-out context and of the clean pass.
    """

    orders: list[Order]
    latents: torch.Tensor
    held: torch.Tensor
    finite: torch.Tensor
    sheet: Sheet
    marks: tuple[Mark, Mark, Mark, Mark]


@dataclass(frozen=True)
class Made:
    """One video's next chunk: its latents on the device and in host memory, its keys, values and queries.

    ``clean`` are the moments between which the clean pass writes the latter; the latents are there before.
    """

    latents: torch.Tensor
    held: torch.Tensor
    written: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    clean: tuple[Mark, Mark]


@contextmanager
def within_memory(device: str, doing: str) -> Iterator[None]:
    """Say what to do where a device's memory is not enough for what is done here.

    Raises:
        ModelError: it was not.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"wan: {device} is out of memory {doing}; a smaller width and height, fewer local frames or codec=tiny "
            "need less"
        ) from error


@on_model_thread
@torch.inference_mode()
def make(streams: Sequence[WanStream], memories: Sequence[Sequence[MemoryFrame]]) -> list[Chunk]:
    """Make each stream's next chunk.

    Args:
        streams: of one model.
        memories: the memory frames that each one's chunk attends to.

    Raises:
        ModelError: a stream has no prompt or is finalized, too many memory frames were given, the device ran out of
            memory, or latents are not finite. All streams stay where they were.
    """
    model = streams[0].model
    with within_memory(model.device, f"in chunk {streams[0].index}"):
        began = mark(model.device)
        groups: dict[tuple[int, tuple[float, ...]], list[Order]] = {}
        for stream, memory in zip(streams, memories, strict=True):
            order = stream.order(memory)
            groups.setdefault((order.plan.frames, order.times), []).append(order)
        batches: list[Batch] = []
        for orders in groups.values():
            batches.append(passed(model, orders, mark(model.device) if batches else began))
        for stream in streams:
            stream.draw_ahead()  # while the device works
        reach(batches[-1].marks[2])
        _require_finite(batches)
        chunks = [chunk for batch in batches for chunk in _finished(batch)]
    made = {id(stream): chunk for stream, chunk in chunks}
    return [made[id(stream)] for stream in streams]


def passed(model: WanModel, orders: list[Order], began: Mark) -> Batch:
    """Give the device a batch's passes; its streams are as they were. ``began`` is the first of the batch's marks."""
    context = model.workspace.lay_out([order.plan for order in orders], model.grid)
    laid = mark(model.device)
    texts = [order.text for order in orders]
    turn = model.passes.turn(orders[0].times)
    draws = torch.stack([order.draws for order in orders], 1)
    clean = draws[0]
    for step, sigma in enumerate(model.sigmas):
        x = mix(clean, draws[step], torch.tensor(sigma, dtype=torch.float32)) if step else draws[0]
        velocity = model.passes.velocity(x, sigma * TIMESTEPS, texts, turn, context, len(model.sigmas))
        clean = x - sigma * velocity
    finite = clean.isfinite().flatten(1).all(1).to("cpu", non_blocking=True)
    held = clean.to("cpu", non_blocking=True)
    denoised = mark(model.device)
    sheet = model.passes.write(clean, texts, turn, context)
    return Batch(orders, clean, held, finite, sheet, (began, laid, denoised, mark(model.device)))


def _require_finite(batches: Sequence[Batch]) -> None:
    for batch in batches:
        for order, fine in zip(batch.orders, batch.finite.tolist(), strict=True):
            if not fine:
                raise ModelError(
                    f"wan: chunk {order.stream.index} has latents that are not finite; the weights or the LoRA do not "
                    "suit each other, or try model.wan.precision=bf16"
                )


def _finished(batch: Batch) -> list[tuple[WanStream, Chunk]]:
    began, laid, denoised, _ = batch.marks
    spent = {"context": seconds(began, laid), "denoise": seconds(laid, denoised)}
    found = []
    for row, order in enumerate(batch.orders):
        written = batch.sheet.row(row, batch.latents.shape[1])
        made = Made(batch.latents[row], batch.held[row], written, batch.marks[2:])
        found.append((order.stream, order.stream.finish(made, order.attended, dict(spent))))
    return found
