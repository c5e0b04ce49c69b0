"""Scoring: how visible each entity is in each frame of an evicted chunk, which frame is kept, and who is in it.

A strategy gives a number for every (frame, phrase). `attention` asks the video model and so sees the picture; `recency`
and `random` are blind and exist to be compared with. From the numbers `best_frame` takes the frame that shows most of
the prompt's entities, and `present` decides who is in a frame:

* an entity is present if its score reaches ``presence`` and ``presence_ratio`` of the frame's best score, so that the
  one who is plainly there is not joined by one who is merely in the text;
* if nobody reaches it and the prompt has one entity only, that one is associated on weak evidence (there is nobody to
  confuse it with), and gives way as soon as the bank holds a frame that does show it (`memreel.memory.ranking`);
* otherwise the frame shows nobody: it stands for its prompt alone and is scored by the prompt's text.
* A blind strategy has no evidence against anyone: each entity of the prompt is associated.

The module knows nothing of what is kept already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memreel.configs.schema import MemoryConfig
from memreel.errors import ModelError
from memreel.model.protocol import EvictedChunk, VideoModel

Scores = npt.NDArray[np.float64]
"""``[frames, phrases]``, higher is more visible."""


class Scoring(Protocol):
    """A way to score the frames of an evicted chunk for some phrases."""

    sees: bool
    """Whether the scores come from the picture; if not, they say nothing about who is in it."""

    def score(self, evicted: EvictedChunk, phrases: Sequence[str]) -> Scores:
        """Return ``[frames, phrases]`` for at least one phrase."""


class AttentionScoring:
    """The video model's own text cross-attention, 0..1."""

    sees = True

    def __init__(self, model: VideoModel, seed: int, scorer: str | None = None) -> None:
        del seed  # the model's scores are a function of the chunk
        self._model = model
        self._ask = model.score if scorer is None else partial(model.score, scorer=scorer)

    def score(self, evicted: EvictedChunk, phrases: Sequence[str]) -> Scores:
        """Ask the model; refuse an answer of the wrong shape or with numbers that are none."""
        values: Scores = self._ask(evicted, phrases).detach().double().cpu().numpy()
        if values.shape != (len(evicted.latents), len(phrases)) or not np.isfinite(values).all():
            raise ModelError(
                f"{self._model.name}: scoring chunk {evicted.index} gave {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} values that are not finite; "
                f"expected {(len(evicted.latents), len(phrases))} finite ones"
            )
        return values.round(6)


class RecencyScoring:
    """The newer, the better: n / (n + 1000) for the video's n-th latent frame, whatever is in it."""

    sees = False

    def __init__(self, model: VideoModel, seed: int, scorer: str | None = None) -> None:
        del model, seed, scorer  # the position is in the chunk

    def score(self, evicted: EvictedChunk, phrases: Sequence[str]) -> Scores:
        """Score by position alone."""
        frames = len(evicted.latents)
        position = evicted.index * frames + np.arange(frames, dtype=np.float64)
        return np.repeat((position / (position + 1000.0))[:, None], len(phrases), axis=1)


class RandomScoring:
    """A uniform number per frame, a function of (seed, chunk index) alone."""

    sees = False

    def __init__(self, model: VideoModel, seed: int, scorer: str | None = None) -> None:
        del model, scorer  # nothing is looked at
        self._seed = seed

    def score(self, evicted: EvictedChunk, phrases: Sequence[str]) -> Scores:
        """Draw for the chunk; neither earlier draws nor the phrases make a difference."""
        drawn = np.random.default_rng((self._seed, evicted.index)).random(len(evicted.latents)).round(6)
        return np.repeat(drawn[:, None], len(phrases), axis=1)


SCORINGS: Mapping[str, Callable[[VideoModel, int, str | None], Scoring]] = {
    "attention": AttentionScoring,
    "recency": RecencyScoring,
    "random": RandomScoring,
}
"""Strategies by the name that ``memory.strategy`` takes."""


@dataclass(frozen=True)
class Appraisal:
    """The frame of a chunk that is worth keeping, and what the scores say of it."""

    frame: int
    score: float
    entity_scores: dict[int, float]
    present: list[int]


def present(scores: Mapping[int, float], config: MemoryConfig) -> list[int]:
    """Return the global IDs that their scores in one frame show to be in it (see the module's contract)."""
    if not scores:
        return []
    threshold = max(config.presence, config.presence_ratio * max(scores.values()))
    reached = [global_id for global_id, score in scores.items() if score >= threshold]
    return reached or (list(scores) if len(scores) == 1 else [])


def best_frame(
    scoring: Scoring, evicted: EvictedChunk, phrases: Mapping[int, str], prompt: str, config: MemoryConfig
) -> Appraisal:
    """Choose the frame of ``evicted`` that shows most of the entities in ``phrases`` (by global ID).

    The sum of the scores of those present decides; in a chunk that shows nobody the score for the prompt's text does.
    """
    ids = list(phrases)
    table = scoring.score(evicted, list(phrases.values())) if ids else np.zeros((len(evicted.latents), 0))
    rows = [dict(zip(ids, row, strict=True)) for row in table.tolist()]
    seen = [present(row, config) if scoring.sees else list(row) for row in rows]
    if any(seen):
        frame = int(np.argmax([sum(row[i] for i in who) for row, who in zip(rows, seen, strict=True)]))
        score = float(np.mean([rows[frame][i] for i in seen[frame]]))
    else:
        by_text = scoring.score(evicted, [prompt])[:, 0]
        frame = int(np.argmax(by_text))
        score = float(by_text[frame])
    return Appraisal(frame, score, rows[frame], seen[frame])
