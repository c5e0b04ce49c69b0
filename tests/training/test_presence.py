"""Fitting how visible somebody is: it finds the heads that tell, and is measured as it is used."""

from __future__ import annotations

import pytest
import torch

from memreel.configs.schema import ModelConfig
from memreel.model.scoring import Scorer
from memreel.model.sketch.model import SketchModel, load
from memreel.training.presence import Sighting, collect, fit, scores, separation


def sightings(count: int = 400) -> list[Sighting]:
    """Evidence of which the second layer's first head tells who is there, two sightings a frame."""
    draw = torch.Generator().manual_seed(1)
    found = []
    for number in range(count):
        visible = number % 2 == 0
        evidence = torch.randn(2, 3, generator=draw)
        evidence[1, 0] += 3.0 * visible
        found.append(Sighting(number // 2, evidence, visible, told=True))
    return found


@pytest.fixture(scope="module")
def sketch() -> SketchModel:
    return load(ModelConfig(device="cpu"))


def test_the_fit_finds_the_head_that_tells() -> None:
    scorer = fit(sightings())
    weights = torch.tensor(scorer.weights)
    assert weights.shape == (2, 3)
    assert weights.argmax() == 3
    assert weights[1, 0] > 3 * weights.flatten()[[0, 1, 2, 4, 5]].abs().max()


def test_a_fitted_score_is_the_chance_of_being_there() -> None:
    measured = sightings(2000)
    given = scores(measured, fit(measured))
    there = torch.tensor([one.visible for one in measured])
    assert float(there[given > 0.9].float().mean()) > 0.9
    assert float(there[given < 0.1].float().mean()) < 0.1


def test_those_whom_the_text_does_not_mention_are_not_fitted_to() -> None:
    others = [Sighting(one.frame, one.evidence, not one.visible, told=False) for one in sightings()]
    assert fit([*sightings(), *others]) == fit(sightings())


def test_one_layers_heads_can_be_fitted_alone_and_all_heads_alike() -> None:
    first, second, even = fit(sightings(), [0]), fit(sightings(), [1]), fit(sightings(), even=True)
    assert (first.layers, second.layers, even.layers) == ((0,), (1,), (0, 1))
    assert len({weight for row in even.weights for weight in row}) == 1
    told = {one.layers: separation(sightings(), scores(sightings(), one))[0] for one in (first, second, even)}
    assert told[(0,)] < 0.65 < told[(0, 1)] < 0.95 < told[(1,)]


def test_separation_counts_pairs_over_all_frames_and_within_one() -> None:
    one = torch.zeros(1, 1)
    seen = [Sighting(0, one, True, True), Sighting(0, one, False, True), Sighting(1, one, False, True)]
    assert separation(seen, torch.tensor([0.5, 0.4, 0.9])) == (0.5, 1.0)
    assert separation(seen, torch.tensor([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_what_is_measured_is_what_the_model_scores(sketch: SketchModel) -> None:
    by_words = collect(sketch, 1, 3, "names")
    found = by_words["all"]
    assert [one.visible for one in by_words["name"]] == [one.visible for one in found]
    assert not torch.equal(by_words["name"][0].evidence, found[0].evidence)
    [alone] = collect(sketch, 1, 3, "names", ["all"]).values()
    assert all(one.evidence.equal(other.evidence) for one, other in zip(alone, found, strict=True))
    even, own = (
        separation(found, scores(found, Scorer(tuple(range(10)), 8))),
        separation(found, scores(found, sketch.scorer)),
    )
    assert len({one.frame for one in found}) == 12
    assert own[0] > max(0.6, even[0])
