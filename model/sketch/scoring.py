"""How visible an entity is in a frame, by the model's own text cross-attention.

Each token of a frame has a query at every layer; each phrase ("name, attribute, attribute") has keys. A token's
affinity to a phrase is the log-sum-exp of its attention logits over the phrase's words, less the same for the empty
text, averaged over heads; a frame's score is the mean affinity of its most affine tokens, squashed to 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from memreel.model.transformer import TextContext

SCORING_LAYERS = (3, 4, 5, 6)
"""The layers whose queries are kept for scoring."""
TOP_TOKENS = 8
"""How many of a frame's 84 tokens speak for it: about the area of a figure."""


def _energy(queries: torch.Tensor, text: TextContext) -> torch.Tensor:
    """Return ``[frames, tokens]``: log-sum-exp of logits over the text's words, mean over heads and layers."""
    total = torch.zeros(queries.shape[1:3], device=queries.device)
    for i, layer in enumerate(SCORING_LAYERS):
        keys = text.keys[layer][0]
        if text.mask is not None:
            keys = keys[text.mask[0]]
        logits = torch.einsum("fthd,nhd->fthn", queries[i].float(), keys.float()) / keys.shape[-1] ** 0.5
        total = total + (logits.logsumexp(-1) - torch.log(torch.tensor(float(keys.shape[0])))).mean(-1)
    return total / len(SCORING_LAYERS)


def visibility(queries: torch.Tensor, phrases: Sequence[TextContext], empty: TextContext) -> torch.Tensor:
    """Score frames for phrases.

    Args:
        queries: text queries of a clean pass, ``[scoring layers, frames, tokens, heads, head_dim]``.
        phrases: one text context a phrase.
        empty: the text context of the empty text, what affinity is measured against.

    Returns:
        ``[frames, phrases]`` in 0..1, on the CPU.
    """
    base = _energy(queries, empty)
    scores = [(_energy(queries, p) - base).topk(TOP_TOKENS, dim=1).values.mean(1) for p in phrases]
    return torch.stack(scores, 1).sigmoid().float().cpu()
