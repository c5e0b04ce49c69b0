"""The sketch model on batches of samples: contexts in parallel, as a stream would have built them chunk by chunk.

`sketch`'s clean pass lets a frame attend to itself alone, so its keys and values are a function of its latent and its
own prompt. A whole context is therefore encoded as a batch of single frames, and training sees exactly the keys and
values that the stream's cache holds.
"""

from __future__ import annotations

import torch

from memreel.model.minilm import SentenceEncoder
from memreel.model.rotary import rotate, rotation
from memreel.model.sampler import euler, levels
from memreel.model.sketch.net import CONFIG, LAYOUT, SHIFT, STEPS, TOKENS, SketchNet
from memreel.model.transformer import FrameContext, TextContext, Written

Batch = dict[str, torch.Tensor]


def turn(times: list[float], device: str) -> torch.Tensor:
    """Return the rotation of all tokens of frames at ``times``."""
    return rotation(times, *TOKENS, CONFIG.head_dim).to(device)


def pick(text: TextContext, rows: torch.Tensor) -> TextContext:
    """Return the texts at ``rows``, in that order."""
    assert text.mask is not None
    return TextContext(
        [k.index_select(0, rows) for k in text.keys], [v.index_select(0, rows) for v in text.values], text.mask[rows]
    )


def read_texts(net: SketchNet, encoder: SentenceEncoder, batch: Batch, device: str) -> TextContext:
    """Encode the batch's distinct prompts."""
    ids, mask = batch["ids"].to(device), batch["mask"].to(device)
    with torch.no_grad():
        states = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return net.read(states, mask)


def write_context(
    net: SketchNet, latents: torch.Tensor, text: TextContext, owner: torch.Tensor, times: list[float]
) -> FrameContext | None:
    """Encode context latents ``[batch, frames, c, h, w]``, each frame alone under its own text ``owner [batch, frames]``."""
    batch, frames = latents.shape[:2]
    if frames == 0:
        return None
    device = str(latents.device)
    written = Written([], [], [])
    zeros = torch.zeros(batch * frames, 1, device=device)
    net.transformer(latents.flatten(0, 1).unsqueeze(1), zeros, pick(text, owner.flatten()), turn([0.0], device), None, written)
    laid = turn(times, device)
    keys = [rotate(k.reshape(batch, -1, *k.shape[2:]), laid) for k in written.keys]
    return FrameContext(keys, [v.reshape(batch, -1, *v.shape[2:]) for v in written.values])


def repeated(context: FrameContext | None, times: int) -> FrameContext | None:
    """Repeat every batch row ``times`` times, rows of one sample together."""
    if context is None or times == 1:
        return context
    return FrameContext(
        [k.repeat_interleave(times, 0) for k in context.keys], [v.repeat_interleave(times, 0) for v in context.values]
    )


def layout_times(frames: int) -> list[float]:
    """Return the time positions of a context of ``frames`` frames in one of the layouts of `samples.LAYOUTS`."""
    sink, memory, local = {
        0: (0, 0, 0), 3: (3, 0, 0), 6: (3, 0, 3), 9: (3, 0, 6), 10: (3, 1, 6), 11: (3, 2, 6), 12: (3, 3, 6)
    }[frames]  # fmt: skip
    return LAYOUT.positions(sink, memory, local)


@torch.no_grad()
def generate(
    net: SketchNet, context: FrameContext | None, text: TextContext, noise: torch.Tensor, steps: int = STEPS
) -> torch.Tensor:
    """Denoise a batch of chunks ``[batch, 3, c, h, w]`` in a few Euler steps."""
    x, sigmas = noise, levels(steps, SHIFT)
    here = turn(LAYOUT.current(), str(noise.device))
    for sigma, following in zip(sigmas, sigmas[1:], strict=False):
        timesteps = torch.full(x.shape[:2], sigma * 1000.0, device=x.device)
        x = euler(x, net.transformer(x, timesteps, text, here, context), sigma, following)
    return x
