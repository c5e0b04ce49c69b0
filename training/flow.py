"""The sketch model on batches of samples: contexts in parallel, as a stream would have built them chunk by chunk.

`sketch`'s clean pass lets a frame attend to itself alone, so its keys and values are a function of its latent and its
own prompt. A whole context is therefore encoded as a batch of single frames, and training sees exactly the keys and
values that the stream's cache holds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from memreel.model.context import FrameContext, TextContext, Written
from memreel.model.minilm import SentenceEncoder
from memreel.model.rotary import rotate, rotation
from memreel.model.sampler import euler, levels
from memreel.model.sketch.net import CONFIG, LAYOUT, SHIFT, STEPS, TOKENS, SketchNet


@lru_cache(maxsize=32)
def _turn(times: tuple[float, ...], device: str) -> torch.Tensor:
    return rotation(times, *TOKENS, CONFIG.head_dim).to(device)


def turn(times: list[float], device: str) -> torch.Tensor:
    """Return the rotation of all tokens of frames at ``times``."""
    return _turn(tuple(times), device)


class _Rows(torch.autograd.Function):
    """Chooses rows; the gradient is a product with ``chosen`` ``[all, rows]``, quicker than adding row by row."""

    @staticmethod
    def forward(ctx: Any, whole: torch.Tensor, rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(chosen)
        return whole.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (chosen,) = ctx.saved_tensors
        return (chosen.to(grad.dtype) @ grad.flatten(1)).unflatten(1, grad.shape[1:]), None, None


def pick(text: TextContext, rows: torch.Tensor) -> TextContext:
    """Return the texts at ``rows``, in that order."""
    assert text.mask is not None
    chosen = (torch.arange(len(text.mask), device=rows.device)[:, None] == rows).to(text.keys[0].dtype)
    choose: Callable[..., torch.Tensor] = _Rows.apply
    keys = [choose(k, rows, chosen) for k in text.keys]
    values = [choose(v, rows, chosen) for v in text.values]
    return TextContext(keys, values, text.mask.index_select(0, rows))


@torch.no_grad()
def token_states(encoder: SentenceEncoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the frozen states ``[texts, tokens, 384]`` of prompts: token ids and their mask ``[texts, tokens]``."""
    # Four axes, because a mask of two is looked at by the host, which then waits for the device.
    states: torch.Tensor = encoder.model(input_ids=ids, attention_mask=mask[:, None, None, :]).last_hidden_state
    return states


def read_texts(net: SketchNet, encoder: SentenceEncoder, ids: torch.Tensor, mask: torch.Tensor) -> TextContext:
    """Encode prompts: token ids and their mask ``[texts, tokens]``."""
    return net.read(token_states(encoder, ids, mask), mask)


def write_context(
    net: SketchNet, latents: torch.Tensor, text: TextContext, owner: torch.Tensor, times: list[float]
) -> FrameContext | None:
    """Encode context latents ``[batch, frames, c, h, w]``, each frame alone under its own text (``owner``)."""
    batch, frames = latents.shape[:2]
    if frames == 0:
        return None
    device = str(latents.device)
    written = Written([], [], [])
    zeros = torch.zeros(batch * frames, 1, device=device)
    net.transformer(
        latents.flatten(0, 1).unsqueeze(1), zeros, pick(text, owner.flatten()), turn([0.0], device), None, written
    )
    laid = turn(times, device)
    keys = [rotate(k.reshape(batch, -1, *k.shape[2:]), laid) for k in written.keys]
    return FrameContext(keys, [v.reshape(batch, -1, *v.shape[2:]) for v in written.values])


def layout_times(frames: int) -> list[float]:
    """Return the time positions of a context of ``frames`` frames in one of the layouts of `samples.LAYOUTS`."""
    sink, memory, local = {
        0: (0, 0, 0), 3: (3, 0, 0), 6: (3, 0, 3), 9: (3, 0, 6), 10: (3, 1, 6), 11: (3, 2, 6), 12: (3, 3, 6),
        14: (3, 5, 6), 15: (3, 6, 6),
    }[frames]  # fmt: skip
    return LAYOUT.positions(sink, memory, local)


@torch.no_grad()
def generate(
    net: SketchNet, context: FrameContext | None, text: TextContext, noise: torch.Tensor, steps: int = STEPS
) -> torch.Tensor:
    """Denoise a batch of chunks ``[batch, 3, c, h, w]`` in a few Euler steps."""
    x, sigmas = noise, levels(steps, SHIFT)
    here = turn(LAYOUT.current(), str(noise.device))
    for sigma, following in pairwise(sigmas):
        timesteps = torch.full(x.shape[:2], sigma * 1000.0, device=x.device)
        x = euler(x, net.transformer(x, timesteps, text, here, context), sigma, following)
    return x
