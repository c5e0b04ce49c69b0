"""Scoring: which frame of a chunk is kept, and who the scores say is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch

from memreel.configs.schema import MemoryConfig, Strategy
from memreel.errors import ModelError
from memreel.memory.scoring import SCORINGS, best_frame, present
from memreel.model.protocol import EvictedChunk

Paint = Callable[..., EvictedChunk]
CONFIG = MemoryConfig(presence=0.2, presence_ratio=0.5)
PHRASES = {1: "Mia, red hair", 2: "Tom, black hair"}


def test_every_configurable_strategy_exists() -> None:
    assert set(SCORINGS) == set(get_args(Strategy))


def test_the_frame_that_shows_most_of_the_entities_is_kept(model: Any, paint: Paint) -> None:
    chunk = paint(3, Mia=[0.9, 0.8, 0.7], Tom=[0.0, 0.1, 0.6])
    best = best_frame(SCORINGS["attention"](model, 0), chunk, PHRASES, "Mia and Tom.", CONFIG)
    assert best.frame == 2
    assert best.present == [1, 2]
    assert best.entity_scores == pytest.approx({1: 0.7, 2: 0.6})
    assert best.score == pytest.approx(0.65)


def test_one_who_is_not_visible_does_not_sway_the_choice(model: Any, paint: Paint) -> None:
    chunk = paint(3, Mia=[0.80, 0.85, 0.80], Tom=[0.1, 0.0, 0.15])
    best = best_frame(SCORINGS["attention"](model, 0), chunk, PHRASES, "Mia and Tom.", CONFIG)
    assert (best.frame, best.present) == (1, [1])


@pytest.mark.parametrize(
    ("scores", "who"),
    [
        ({1: 0.8, 2: 0.7}, [1, 2]),
        ({1: 0.8, 2: 0.3}, [1]),  # above the floor, but not half of the best
        ({1: 0.3, 2: 0.16}, [1]),  # more than half of the best, but below the floor
        ({1: 0.1, 2: 0.1}, []),  # nobody: it would be a guess
        ({1: 0.1}, [1]),  # weak, but there is nobody to confuse it with
        ({}, []),
    ],
)
def test_scores_decide_who_is_in_a_frame(scores: dict[int, float], who: list[int]) -> None:
    assert present(scores, CONFIG) == who


@pytest.mark.parametrize("phrases", [{}, PHRASES])
def test_a_chunk_that_shows_nobody_is_scored_by_the_prompts_text(
    model: Any, paint: Paint, phrases: dict[int, str]
) -> None:
    chunk = paint(2, scenery=[0.2, 0.6, 0.4], Mia=0.01)
    best = best_frame(SCORINGS["attention"](model, 0), chunk, phrases, "An empty street at dawn.", CONFIG)
    assert (best.frame, best.present) == (1, [])
    assert best.score == pytest.approx(0.6)


def test_the_named_scorer_of_the_model_is_asked(model: Any, paint: Paint) -> None:
    asked: list[str | None] = []

    class Listening(type(model)):  # type: ignore[misc]
        def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
            asked.append(scorer)
            return super().score(evicted, phrases)

    SCORINGS["attention"](Listening(), 0, "even").score(paint(3), ["Mia"])
    SCORINGS["attention"](Listening(), 0, None).score(paint(3), ["Mia"])
    assert asked == ["even", None]


def test_recency_prefers_the_newest_frame_for_hours(model: Any, paint: Paint) -> None:
    scoring = SCORINGS["recency"](model, 0)
    bests = [best_frame(scoring, paint(index), PHRASES, "", CONFIG) for index in (0, 1, 2, 5000, 5001)]
    assert [best.frame for best in bests] == [2] * 5
    assert all(best.present == [1, 2] for best in bests)
    scores = [best.score for best in bests]
    assert scores == sorted(set(scores))
    assert scores[-1] < 1


def test_random_depends_on_seed_and_chunk_alone(model: Any, paint: Paint) -> None:
    scoring = SCORINGS["random"](model, 11)
    first = scoring.score(paint(4), ["Mia", "Tom"])
    for _ in range(3):
        scoring.score(paint(8), ["Mia"])
    assert np.array_equal(scoring.score(paint(4, Mia=1.0), ["Ava"]), first[:, :1])
    assert not np.array_equal(scoring.score(paint(5), ["Mia", "Tom"]), first)
    assert not np.array_equal(SCORINGS["random"](model, 12).score(paint(4), ["Mia", "Tom"]), first)


@pytest.mark.parametrize("wrong", [torch.full((3, 2), torch.nan), torch.zeros(3, 1)])
def test_unusable_scores_name_model_and_chunk(
    model: Any, paint: Paint, monkeypatch: pytest.MonkeyPatch, wrong: torch.Tensor
) -> None:
    def broken(evicted: EvictedChunk, phrases: Sequence[str]) -> torch.Tensor:
        return wrong

    monkeypatch.setattr(model, "score", broken)
    with pytest.raises(ModelError, match="painted: scoring chunk 6 gave"):
        best_frame(SCORINGS["attention"](model, 0), paint(6), PHRASES, "", CONFIG)
