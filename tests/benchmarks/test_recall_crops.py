"""Identity by crops: right on painted truth, worse with every fault of its own, and the published definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from painted import Faults, PaintedModel

from memreel.benchmarks.recall import Plan, make_take
from memreel.benchmarks.recallbench.accuracy import crop_accuracy, painted
from memreel.benchmarks.recallbench.checkpoints import cropper_for
from memreel.benchmarks.recallbench.crops import Album, Colours, Cropper, Features, WorldLocator, assigned, described
from memreel.benchmarks.recallbench.figures import summary
from memreel.benchmarks.recallbench.scripts import make_script, make_scripts
from memreel.benchmarks.recallbench.strategies import parse_variant
from memreel.configs import load_config
from memreel.film.likeness import crop
from memreel.model.protocol import Pictures

PAIRS = 9
"""Number of a script with two people in each prompt."""
Measure = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def cropped() -> Measure:
    """Return the figures of a painted film by crops: ``cropped("oracle", swap=True)``."""
    settings = ["chunks_per_prompt=7", "memory.presence=0.2", "memory.presence_ratio=0.5"]
    config = load_config("sketch", settings)

    @cache
    def taken(variant: str, judge: str, faults: tuple[tuple[str, Any], ...]) -> dict[str, float]:
        model = PaintedModel([make_script(PAIRS)], Faults(**dict(faults)))
        plan = Plan(config, (), judge=judge, crops=("reader", "colours"))
        figures = summary([make_take(plan, PAIRS, parse_variant(variant), model)])
        means = {name: value["mean"] for name, value in figures.items() if isinstance(value, dict) and "mean" in value}
        return means | {f"gap {gap}": value["mean"] for gap, value in figures["by_gap"].items()}

    return lambda variant, judge="reader", **faults: taken(variant, judge, tuple(faults.items()))


def test_crops_are_right_on_painted_truth_although_places_are_off() -> None:
    accuracy = crop_accuracy(make_scripts(12), cropper_for("reader", "colours", "cpu"))
    assert set(accuracy) == {"found", "reidentified", "told_apart"}
    assert min(value["mean"] for value in accuracy.values()) >= 0.98


def test_who_is_brought_back_is_re_identified_and_who_is_not_is_not(cropped: Measure) -> None:
    right, wrong = cropped("oracle"), cropped("none@gold")
    assert right["reidentified"] == right["found"] == 1.0
    assert 0.2 <= right["chance"] <= 0.5
    assert wrong["reidentified"] < right["reidentified"]
    assert wrong["likeness"] < right["likeness"] - 0.1
    assert wrong["found"] == 1.0


def test_somebody_painted_as_another_is_nearer_to_that_one(cropped: Measure) -> None:
    assert cropped("none@gold", other=True)["reidentified"] == 0.0
    assert cropped("oracle", swap=True)["reidentified"] < 1.0, "not 0: who is swapped at first and again is the same"


def test_who_is_not_there_is_not_found_and_compared_with_nobody(cropped: Measure) -> None:
    gone = cropped("oracle", drop=True)
    assert gone["found"] < 0.8
    assert "reidentified" not in gone
    assert "likeness" not in gone


def test_people_who_change_inside_a_prompt_lower_its_consistency(cropped: Measure) -> None:
    assert cropped("oracle", restless=True)["subject_consistency"] < cropped("oracle")["subject_consistency"] <= 1.0


def test_without_a_judge_crops_are_the_main_figure_and_no_look_is_told(cropped: Measure) -> None:
    crops, both = cropped("oracle", "nobody"), cropped("oracle")
    assert {"recall", "first_mention", "wrong_person", "persistence", "swaps", "duplicates"} <= set(both) - set(crops)
    assert crops["reidentified"] == both["reidentified"]
    assert {value for name, value in crops.items() if name.startswith("gap")} == {1.0}
    assert crops["matched"] == both["matched"] == 1.0


def test_the_readers_boxes_hold_the_person_and_nobody_else() -> None:
    story = make_script(PAIRS).story
    t = story.settled(0)
    picture = painted(story, 0, t)
    boxes = WorldLocator().find(picture, story, 0, t)
    assert set(boxes) == set(story.scenes[0].present())
    (one, a), (other, b) = sorted(boxes.items(), key=lambda item: item[1])
    assert a[2] < b[0], "the two do not overlap"
    swapped = type(story)({**story.beings, one: story.beings[other], other: story.beings[one]}, story.scenes)
    again = painted(swapped, 0, t)
    assert not np.array_equal(crop(picture, a), crop(again, a))


class Given:
    """An encoder that returns what it is told, in turn."""

    name = "given"

    def __init__(self, *features: Sequence[float]) -> None:
        self.features = [np.array(feature, dtype=float) / np.linalg.norm(feature) for feature in features]

    def embed(self, pictures: Sequence[Pictures]) -> Features:
        return np.stack([self.features.pop(0) for _ in pictures])

    def embed_text(self, text: str) -> Features | None:
        return np.array([[0.6, 0.8]])


def album(*features: Sequence[float]) -> Album:
    return Album(Cropper(WorldLocator(), Given(*features)), make_script(PAIRS).story)


def test_subject_consistency_and_clip_score_are_as_published() -> None:
    film, black = album((1, 0), (0.6, 0.8), (-1, 0)), np.zeros((112, 192, 3), np.uint8)
    for _ in range(3):
        film.keep(black, 2)
    # second: 0.6 with the first and with the one before; third: -1 and -0.6, which count as 0
    assert film.consistency(2) == pytest.approx((0.6 + 0.0) / 2)
    assert film.clip_score(2, "a prompt") == pytest.approx(2.5 * (0.6 + 1.0 + 0.0) / 3)
    assert film.consistency(1) is None
    assert Album(Cropper(WorldLocator(), Colours()), make_script(PAIRS).story).clip_score(1, "a prompt") is None


def test_two_beings_never_share_a_place_and_the_best_sum_is_taken() -> None:
    left, right, large = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0), (0.0, 0.0, 0.45, 1.0)
    assert assigned({1: [(left, 0.9), (right, 0.8)], 2: [(large, 0.7), (right, 0.1)]}) == {1: right, 2: large}
    assert assigned({1: [(left, 0.9)], 2: [(large, 0.7)]}) == {1: left}
    assert assigned({1: [], 2: [(right, 0.2)]}) == {2: right}
    assert assigned({}) == {}


def test_a_detector_looks_for_what_it_is_and_how_it_looks() -> None:
    beings = make_script(PAIRS).story.beings
    assert described(beings[0]) == "tall woman with dark blue hair and mustard hoodie and blue beanie"
    assert described(make_script(0).story.beings[1]) == "coal-black kitten"
