"""The video diffusion transformer: one class for all sizes, with Wan 2.1's block structure and parameter names.

A block is self-attention with three-axis rotary positions and RMS-normalised queries and keys, cross-attention to the
text, and a feed-forward net; each frame's timestep modulates it (adaLN). What is particular here is the attention
context: `forward` takes keys and values of earlier frames, already laid out by a cache, next to the current frames'
own. It knows nothing of chunks, prompts or memory; `memreel.model.cache` lays contexts out.

Shapes: latents ``[batch, frames, channels, height, width]``, tokens ``[batch, frames * rows * columns, dim]``, keys and
values ``[batch, tokens, heads, head_dim]``; timesteps run from 0 (clean) to 1000 (noise).
Source of the structure: Wan: Open and Advanced Large-Scale Video Generative Models (2025), §4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from memreel.model.attention8 import rounded
from memreel.model.context import FrameContext, Room, TextContext, Writing
from memreel.model.rotary import rotate

TRITON = find_spec("triton") is not None
"""Whether kernels of our own can run; some CUDA builds of torch come without it."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a video transformer; Wan 2.1 1.3B is (1536, 12, 30, 8960, 256, 4096)."""

    dim: int
    heads: int
    layers: int
    ffn_dim: int
    freq_dim: int
    text_dim: int
    latent_channels: int = 16
    patch: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.dim // self.heads


Kernel = Callable[..., torch.Tensor]
"""Attention of queries, keys and values ``[batch, tokens, heads, head_dim]`` to ``[batch, tokens, dim]``.

One that attends in e4m3 takes the values' scales as well, where its queries, keys and values are in it already. One
that attends in shares takes the last queries several times over, and after the scales (or None) how they are divided.
"""


Projected = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values ``[batch, tokens, dim]``."""


class Turned(NamedTuple):
    """What self-attention reads, ``[batch, tokens, heads, head_dim]``: turned queries and keys, and values.

    ``plain`` are the keys before turning, if they were wanted.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    plain: torch.Tensor | None


class RMSNorm(nn.Module):
    """Root-mean-square norm over all heads' channels, computed in float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis."""
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Scaled dot-product attention on ``[batch, tokens, heads, head_dim]``; ``mask`` is over keys ``[batch, keys]``.

    Where there are fewer rows of keys than of queries, neighbouring rows of queries share one: two to a row of keys if
    there are half as many.
    """
    bias = None if mask is None else mask[:, None, None, :]
    rows = q.reshape(k.shape[0], -1, *q.shape[2:])
    out = F.scaled_dot_product_attention(rows.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias)
    return out.transpose(1, 2).reshape(*q.shape[:2], -1)


def normed(
    x: torch.Tensor,
    factor: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    more: torch.Tensor | None = None,
    gate: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens, and their layer norm times ``factor`` plus ``shift``, computed in float32.

    Args:
        x: ``[batch, frames, tokens, dim]``.
        factor: float32, ``[batch, frames, 1, dim]`` or ``[dim]``.
        shift: likewise.
        eps: of the norm.
        more: what is added to the tokens first, ``[batch, frames * tokens, dim]``.
        gate: what that is multiplied by, float32 ``[batch, frames, 1, dim]``.
    """
    if x.is_cuda and TRITON and not torch.is_grad_enabled():
        from memreel.model import rows_gpu

        factor, shift = factor.contiguous(), shift.contiguous()
        if more is None:
            return x, rows_gpu.normed(x, factor, shift, eps)
        moved, found = rows_gpu.added_norm(x, factor, shift, eps, more, None if gate is None else gate.contiguous())
        return moved, found
    if more is not None:
        more = more.view(x.shape)
        x = (x + (more if gate is None else more * gate)).to(x.dtype)
    return x, (F.layer_norm(x.float(), x.shape[-1:], eps=eps) * factor + shift).to(x.dtype)


def undivided(queries: int) -> None:
    """Let queries stand before a kernel once, however many there are."""
    del queries


class Attention(nn.Module):
    """The projections of one attention: q, k, v, o and the norms of q and k."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = nn.Linear(config.dim, config.dim)
        self.k = nn.Linear(config.dim, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.o = nn.Linear(config.dim, config.dim)
        self.norm_q = RMSNorm(config.dim, config.eps)
        self.norm_k = RMSNorm(config.dim, config.eps)
        self.qkv: nn.Linear | None = None
        """The three of them as one, after `merge`."""

    def merge(self) -> None:
        """Make one projection of q, k and v, which read the same tokens; the three are let go."""
        parts = [self.q, self.k, self.v]
        merged = nn.Linear(self.q.in_features, 3 * self.q.out_features, device="meta")
        merged.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        merged.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        self.qkv = merged
        del self.q, self.k, self.v

    def projected(self, x: torch.Tensor) -> Projected:
        """Project tokens to queries, keys and values ``[batch, tokens, dim]``, for self-attention."""
        if self.qkv is None:
            return self.q(x), self.k(x), self.v(x)
        q, k, v = self.qkv(x).chunk(3, -1)
        return q, k, v

    def turned(
        self,
        projected: Projected,
        turn: torch.Tensor,
        room: Room | None = None,
        shares: tuple[int, int] | None = None,
        plain: bool = True,
    ) -> Turned:
        """Normalise what was projected, and turn queries and keys.

        Args:
            projected: queries, keys and values.
            turn: rotation of the tokens.
            room: where turned keys and values go; if it is in e4m3, so are the queries.
            shares: the queries from the first number on are to stand there as often as the second says.
            plain: whether keys are wanted as they were before turning.
        """
        q, k, v = projected
        q, k, v = (torch.unflatten(part, -1, (self.heads, -1)) for part in (self.norm_q(q), self.norm_k(k), v))
        q, turned = rotate(q, turn), rotate(k, turn)
        if room is not None:
            room.take(turned, v)
            q = q if room.scale is None else rounded(q)
        if shares is not None:
            q = torch.cat([q, *[q[:, shares[0] :]] * (shares[1] - 1)], 1)
        return Turned(q, turned, v, k if plain else None)

    def query(self, x: torch.Tensor) -> torch.Tensor:
        """Project tokens to normalised queries ``[batch, tokens, heads, head_dim]``."""
        return torch.unflatten(self.norm_q(self.q(x)), -1, (self.heads, -1))

    def key_value(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project tokens to normalised keys and to values."""
        heads = (self.heads, -1)
        return torch.unflatten(self.norm_k(self.k(x)), -1, heads), torch.unflatten(self.v(x), -1, heads)


class Block(nn.Module):
    """One transformer block, in the pieces between its two attentions so that each piece can be compiled."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = Attention(config)
        self.cross_attn = Attention(config)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU("tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, config.dim) / config.dim**0.5)

    def before(self, x: torch.Tensor, modulation: torch.Tensor) -> Projected:
        """Return queries, keys and values of tokens ``[batch, frames, tokens, dim]``, as they were projected."""
        shift, scale = self._parts(modulation)[:2]
        h = normed(x, 1 + scale, shift, self.eps)[1]
        return self.self_attn.projected(h.flatten(1, 2))

    def between(
        self, x: torch.Tensor, attended: torch.Tensor, modulation: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add what self-attention found; return the tokens and their text queries."""
        gate, norm = self._parts(modulation)[2], self.norm3
        more = self.self_attn.o(attended)
        x, h = normed(x, norm.weight.float(), norm.bias.float(), self.eps, more, gate)
        return x, self.cross_attn.query(h.flatten(1, 2))

    def after(self, x: torch.Tensor, attended: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """Add what text cross-attention found, then the feed-forward net."""
        shift, scale, gate = self._parts(modulation)[3:]
        x, h = normed(x, 1 + scale, shift, self.eps, self.cross_attn.o(attended))
        fed: torch.Tensor = self.ffn(h)
        return (x + fed * gate).to(x.dtype)

    def _parts(self, modulation: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part.unsqueeze(2) for part in (self.modulation.float() + modulation).unbind(2))


class Head(nn.Module):
    """The last projection, from tokens to latent patches, modulated by the timestep."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.dim, self.eps = config.dim, config.eps
        self.head = nn.Linear(config.dim, math.prod(config.patch) * config.latent_channels)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Project tokens ``[batch, frames, tokens, dim]`` under the time embedding ``[batch, frames, dim]``."""
        shift, scale = (self.modulation.float() + time.unsqueeze(2)).unbind(2)
        h = F.layer_norm(x.float(), (self.dim,), eps=self.eps) * (1 + scale.unsqueeze(2)) + shift.unsqueeze(2)
        out: torch.Tensor = self.head(h.to(self.head.weight.dtype))
        return out


class Pieces(NamedTuple):
    """How a block runs: up to its projections, up to self-attention, between the two attentions, after them.

    Each takes the block first, but for ``turned``, which takes its self-attention.
    """

    before: Callable[..., Projected]
    turned: Callable[..., Turned]
    between: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    after: Callable[..., torch.Tensor]


class VideoTransformer(nn.Module):
    """Predicts the flow velocity of latent frames, given their text and the frames before them."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build with random weights; parameter names are those of the original Wan checkpoints."""
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.latent_channels, dim, config.patch, stride=config.patch)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.kernel: Kernel = attend
        """What computes attention to frames."""
        self.shares: Callable[[int], tuple[int, int] | None] = undivided
        """From which query on they stand before that kernel more than once, and how often, by how many there are."""
        self.text_kernel: Kernel = attend
        """What computes attention to texts where nothing is masked."""
        self.pieces: Pieces = Pieces(Block.before, Attention.turned, Block.between, Block.after)
        """What runs a block around its two attentions: its methods, or compiled equals of them."""
        self.head = Head(config)
        self._start()

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.head.weight)

    def each_block(self) -> Iterator[Block]:
        """Yield the blocks in order."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def text_context(self, states: torch.Tensor, mask: torch.Tensor | None) -> TextContext:
        """Project text states ``[batch, tokens, text_dim]`` once for all blocks; ``mask`` is True on text."""
        text = self.text_embedding(states)
        pairs = [block.cross_attn.key_value(text) for block in self.each_block()]
        return TextContext([k for k, _ in pairs], [v for _, v in pairs], mask)

    def embed_time(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return time embedding ``[batch, frames, dim]`` and block modulation ``[batch, frames, 6, dim]``, float32."""
        half = self.config.freq_dim // 2
        rate = torch.exp(-math.log(10_000.0) * torch.arange(half, device=timesteps.device, dtype=torch.float32) / half)
        angle = timesteps.float().unsqueeze(-1) * rate
        waves = torch.cat((angle.cos(), angle.sin()), dim=-1).to(self.patch_embedding.weight.dtype)
        time = self.time_embedding(waves)
        return time.float(), self.time_projection(time).float().unflatten(-1, (6, -1))

    def patchify(self, latents: torch.Tensor) -> torch.Tensor:
        """Embed latents as tokens ``[batch, frames, tokens a frame, dim]``."""
        tokens = self.patch_embedding(latents.transpose(1, 2).to(self.patch_embedding.weight.dtype))
        return torch.flatten(tokens.permute(0, 2, 3, 4, 1), 2, 3).contiguous()

    def unpatchify(self, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Turn projected tokens ``[batch, frames, tokens, patch * channels]`` into latents."""
        _, rows, columns = self.config.patch
        grid = tokens.unflatten(2, (height // rows, width // columns)).unflatten(-1, (rows, columns, -1))
        return torch.flatten(grid.permute(0, 1, 6, 2, 4, 3, 5), 5, 6).flatten(3, 4)

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        text: TextContext,
        turn: torch.Tensor,
        context: FrameContext | None = None,
        written: Writing | None = None,
    ) -> torch.Tensor:
        """Return the velocity of ``latents``; write keys, values and queries into ``written`` where it is given.

        Args:
            latents: ``[batch, frames, channels, height, width]``; all frames attend to each other.
            timesteps: ``[batch, frames]``, 0..1000.
            text: the prompt of each batch row (`text_context`); like a context, it may have fewer rows than the
                latents, each for as many neighbouring rows of theirs.
            turn: rotation of the tokens' time, row and column (`memreel.model.rotary.rotation`).
            context: earlier frames to attend to.
            written: where a clean pass writes.
        """
        x = self.patchify(latents)
        time, modulation = self.embed_time(timesteps)
        before, turned, between, after = self.pieces
        share = self.shares(turn.shape[1])

        def how(scale: torch.Tensor | None) -> tuple[object, ...]:
            return () if scale is None and share is None else (scale, share)

        for i, block in enumerate(self.each_block()):
            room = None if context is None else context.room_for(i, turn.shape[1])
            own = turned(block.self_attn, before(block, x, modulation), turn, room, share, written is not None)
            keys, values = own[1:3] if context is None else context.joined(i, own.keys, own.values)
            attended = self.kernel(own.queries, keys, values, *how(None if room is None else room.scale))
            x, query = between(block, x, attended.to(x.dtype), modulation)
            if text.mask is None:
                read = self.text_kernel(query, text.keys[i], text.values[i])
            else:
                read = attend(query, text.keys[i], text.values[i], text.mask)
            x = after(block, x, read, modulation)
            if written is not None and own.plain is not None:
                written.take(i, own.plain, own.values, query)
        return self.unpatchify(self.head(x, time), latents.shape[-2], latents.shape[-1]).float()
