"""How visible an entity is in a frame, by a video model's own text cross-attention.

Each token of a frame has a query at every layer and head; each phrase ("name, attribute, attribute") has keys. A
token's affinity to a phrase is the log-sum-exp of its attention logits over the phrase's words, less the same for the
empty text. A head's evidence is the mean affinity of the frame's most affine tokens; the score is a weighted sum of the
heads' evidence, squashed to 0..1. Heads differ much in what they look for, so a `Scorer` may carry weights that were
fitted to frames of which it is known who is in them (`memreel.training.presence` does that for `sketch`); without, all
heads count alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from memreel.errors import UserError
from memreel.model.context import TextContext


@dataclass(frozen=True)
class Scorer:
    """What of a model's cross-attention is looked at, and what it counts.

    ``layers`` are looked at, and ``top_tokens`` tokens speak for a frame; ``weights`` has a row a layer and a number a
    head, or nothing if all heads count alike; ``bias`` is the log odds of being visible where there is no evidence.
    ``others`` are scorers to compare this one with, by name; their layers are among its own.
    """

    layers: tuple[int, ...]
    top_tokens: int
    weights: tuple[tuple[float, ...], ...] = ()
    bias: float = 0.0
    others: Mapping[str, Scorer] = field(default_factory=dict, repr=False, hash=False)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Scorer:
        """Read what `save` wrote.

        Raises:
            UserError: it is not there or something else.
        """
        try:
            return cls._of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a scorer ({error}); fit it again or delete it") from None

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> Scorer:
        rows = tuple(tuple(float(weight) for weight in row) for row in told["weights"])
        others = {name: cls._of(other) for name, other in told.get("others", {}).items()}
        found = cls(tuple(told["layers"]), int(told["top_tokens"]), rows, float(told["bias"]), others)
        if rows and len(rows) != len(found.layers):
            raise ValueError(f"{len(found.layers)} layers but {len(rows)} rows of weights")
        if any(set(other.layers) - set(found.layers) for other in others.values()):
            raise ValueError("another scorer looks at layers that this one does not")
        return found

    def asked(self, queries: torch.Tensor, name: str | None) -> tuple[torch.Tensor, Scorer]:
        """Return the scorer of that name (None: this one) and what of this one's ``queries`` it looks at."""
        if name is None:
            return queries, self
        other = self.others[name]
        return queries[[self.layers.index(layer) for layer in other.layers]], other


def evidence(queries: torch.Tensor, phrases: Sequence[TextContext], empty: TextContext, scorer: Scorer) -> torch.Tensor:
    """Return ``[frames, phrases, scoring layers, heads]``: the mean affinity of the most affine tokens.

    Args:
        queries: text queries of a clean pass, ``[scoring layers, frames, tokens, heads, head_dim]``.
        phrases: one text context a phrase.
        empty: the text context of the empty text, what affinity is measured against.
        scorer: the layers that the queries are of, and how many tokens speak for a frame.
    """
    wide = queries.float()
    base = _drawn(wide, empty, scorer.layers)
    found = [
        (_drawn(wide, phrase, scorer.layers) - base).topk(scorer.top_tokens, dim=2).values.mean(2) for phrase in phrases
    ]
    return torch.stack(found).permute(2, 0, 1, 3)


def _drawn(queries: torch.Tensor, text: TextContext, layers: Sequence[int]) -> torch.Tensor:
    """Return ``[layers, frames, tokens, heads]``: how much tokens are drawn to a text, whatever its length."""
    keys = torch.stack([text.keys[layer][0] for layer in layers])
    if text.mask is not None:
        keys = keys[:, text.mask[0]]
    logits = torch.einsum("lfthd,lnhd->lfthn", queries, keys.float()) / keys.shape[-1] ** 0.5
    drawn: torch.Tensor = logits.logsumexp(-1) - math.log(keys.shape[1])
    return drawn


def visibility(
    queries: torch.Tensor, phrases: Sequence[TextContext], empty: TextContext, scorer: Scorer
) -> torch.Tensor:
    """Score frames for phrases; see `evidence` for the arguments.

    Returns:
        ``[frames, phrases]`` in 0..1, on the CPU.
    """
    told = evidence(queries, phrases, empty, scorer).flatten(2)
    weights = torch.tensor(scorer.weights, device=told.device).flatten()
    total = told.mul(weights).sum(-1) if scorer.weights else told.mean(-1)
    return (total + scorer.bias).sigmoid().cpu()
