"""How visible an entity is in a frame, by the model's own text cross-attention.

Each token of a frame has a query at every layer; each phrase ("name, attribute, attribute") has keys. A token's
affinity to a phrase is the log-sum-exp of its attention logits over the phrase's words, less the same for the empty
text, averaged over heads; a frame's score is the mean affinity of its most affine tokens over the scoring layers,
squashed to 0..1. `memreel.training.presence` measures how well that tells who is in a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from memreel.model.transformer import TextContext

SCORING_LAYERS = (3, 4, 5, 6)
"""The layers whose queries are kept for scoring."""
TOP_TOKENS = 8
"""How many of a frame's 84 tokens speak for it: about the area of a figure."""


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


def spoken_for(affinities: torch.Tensor) -> torch.Tensor:
    """Return ``[frames]``: the mean affinity ``[frames, tokens]`` of the most affine tokens."""
    return affinities.topk(TOP_TOKENS, dim=1).values.mean(1)


def visibility(queries: torch.Tensor, phrases: Sequence[TextContext], empty: TextContext) -> torch.Tensor:
    """Score frames for phrases.

    Args:
        queries: text queries of a clean pass, ``[scoring layers, frames, tokens, heads, head_dim]``.
        phrases: one text context a phrase.
        empty: the text context of the empty text, what affinity is measured against.

    Returns:
        ``[frames, phrases]`` in 0..1, on the CPU.
    """
    scores = torch.zeros(queries.shape[1], len(phrases))
    for i, layer in enumerate(SCORING_LAYERS):
        base = affinity(queries[i], empty, layer)
        for j, phrase in enumerate(phrases):
            scores[:, j] += spoken_for(affinity(queries[i], phrase, layer) - base).float().cpu()
    return (scores / len(SCORING_LAYERS)).sigmoid()
