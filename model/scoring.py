"""How visible an entity is in a frame, by a video model's own text cross-attention.

Each token of a frame has a query at every layer; each phrase ("name, attribute, attribute") has keys. A token's
affinity to a phrase is the log-sum-exp of its attention logits over the phrase's words, less the same for the empty
text, averaged over heads; a frame's score is the mean affinity of its most affine tokens over the scoring layers,
squashed to 0..1. `memreel.training.presence` measures how well that tells who is in a frame of `sketch`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from memreel.model.transformer import TextContext


@dataclass(frozen=True)
class Scorer:
    """What of a model's cross-attention is looked at: at which layers, and how many tokens speak for a frame."""

    layers: tuple[int, ...]
    top_tokens: int


def affinity(queries: torch.Tensor, text: TextContext, layer: int) -> torch.Tensor:
    """Return ``[frames, tokens]``: how much one layer's tokens are drawn to a text, padding excluded.

    Args:
        queries: text queries of the layer, ``[frames, tokens, heads, head_dim]``.
        text: one text's context.
        layer: whose keys to use.
    """
    keys = text.keys[layer][0]
    if text.mask is not None:
        keys = keys[text.mask[0]]
    logits = torch.einsum("fthd,nhd->fthn", queries.float(), keys.float()) / keys.shape[-1] ** 0.5
    drawn: torch.Tensor = logits.logsumexp(-1) - math.log(keys.shape[0])
    return drawn.mean(-1)


def spoken_for(affinities: torch.Tensor, top_tokens: int) -> torch.Tensor:
    """Return ``[frames]``: the mean affinity ``[frames, tokens]`` of the most affine tokens."""
    return affinities.topk(top_tokens, dim=1).values.mean(1)


def visibility(
    queries: torch.Tensor, phrases: Sequence[TextContext], empty: TextContext, scorer: Scorer
) -> torch.Tensor:
    """Score frames for phrases.

    Args:
        queries: text queries of a clean pass, ``[scoring layers, frames, tokens, heads, head_dim]``.
        phrases: one text context a phrase.
        empty: the text context of the empty text, what affinity is measured against.
        scorer: the layers that the queries are of, and how many tokens speak for a frame.

    Returns:
        ``[frames, phrases]`` in 0..1, on the CPU.
    """
    scores = torch.zeros(queries.shape[1], len(phrases), device=queries.device)
    for i, layer in enumerate(scorer.layers):
        base = affinity(queries[i], empty, layer)
        for j, phrase in enumerate(phrases):
            scores[:, j] += spoken_for(affinity(queries[i], phrase, layer) - base, scorer.top_tokens).float()
    return (scores / len(scorer.layers)).sigmoid().cpu()
