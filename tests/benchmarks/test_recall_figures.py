"""RecallBench on painted videos: every figure says what is true of them, and moves when its own fault is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memreel.benchmarks.recallbench.accuracy import reader_accuracy
from memreel.benchmarks.recallbench.cases import commonest
from memreel.benchmarks.recallbench.figures import interval
from memreel.benchmarks.recallbench.judges import WorldReader
from memreel.benchmarks.recallbench.scripts import make_scripts
from memreel.benchmarks.recallbench.sight import match

Measure = Callable[..., dict[str, Any]]
PAIRS, SOLO, OBJECT = 9, 0, 11
"""Numbers of a script with two people in each prompt, of one with one, and of one with an object put away."""


def means(figures: dict[str, Any]) -> dict[str, float]:
    return {name: value["mean"] for name, value in figures.items() if isinstance(value, dict) and "mean" in value}


@pytest.fixture(scope="module")
def truth(measured: Measure) -> dict[str, float]:
    return means(measured("oracle", PAIRS, SOLO))


def test_the_reader_is_right_on_painted_truth_although_places_are_off() -> None:
    accuracy = reader_accuracy(make_scripts(12), WorldReader())
    assert set(accuracy) == {"hair", "top", "hat", "colour", "all", "nobody_else"}
    assert min(value["mean"] for value in accuracy.values()) >= 0.98


def test_with_the_right_frames_brought_back_everything_is_right(truth: dict[str, float]) -> None:
    ones = ("recall", "recall_hair", "recall_top", "recall_hat", "first_mention", "persistence", "covered", "matched")
    assert {name: truth[name] for name in ones} == dict.fromkeys(ones, 1.0)
    zeros = ("wrong_person", "missing", "duplicates", "strangers", "swaps", "flicker")
    assert {name: round(truth[name], 2) for name in zeros} == dict.fromkeys(zeros, 0.0)


def test_without_memory_who_returns_is_wrong_and_who_is_new_is_right(measured: Measure) -> None:
    figures = means(measured("none@gold", PAIRS, SOLO))
    assert figures["recall"] == figures["covered"] == 0.0
    assert figures["first_mention"] == 1.0


def test_words_put_back_do_for_memory_where_the_model_follows_them(measured: Measure) -> None:
    assert means(measured("none@gold+enrich", PAIRS))["recall"] == 1.0


def test_identity_brings_back_whom_recency_does_not(measured: Measure) -> None:
    identity, recency = (means(measured(f"{name}@gold", PAIRS)) for name in ("identity", "recency"))
    assert identity["recall"] == identity["covered"] == 1.0
    assert recency["recall"] < 1.0


def test_the_frames_of_the_same_story_with_other_looks_are_followed(measured: Measure) -> None:
    altered = means(measured("identity@gold@altered", SOLO))
    assert altered["recall"] == 0.0
    assert altered["follows_lent"] == 1.0


def test_another_scripts_frames_bring_nobody_back(measured: Measure) -> None:
    assert means(measured("identity@gold@wrong", SOLO))["recall"] == 0.0


def test_attention_finds_who_returns_alone_but_not_beside_those_who_are_in_more_frames(measured: Measure) -> None:
    assert means(measured("attention@gold", OBJECT))["covered"] == 1.0
    assert means(measured("attention@gold", PAIRS))["covered"] < 1.0


def test_people_in_each_others_places_are_swaps_and_wrong_persons(measured: Measure) -> None:
    figures = means(measured("oracle", PAIRS, swap=True))
    assert figures["swaps"] > 0.9
    assert figures["recall"] == 0.0
    assert figures["wrong_person"] > 0.5


def test_somebody_painted_as_another_is_a_wrong_person(measured: Measure) -> None:
    figures = means(measured("none@gold", PAIRS, other=True))
    assert figures["wrong_person"] == 1.0
    assert figures["first_mention"] == 1.0


def test_the_same_person_twice_is_a_duplicate_and_a_stranger(measured: Measure) -> None:
    figures = means(measured("oracle", SOLO, clone=True))
    assert figures["duplicates"] > 0.4
    assert figures["strangers"] == figures["duplicates"]
    assert figures["recall"] == 1.0


def test_who_is_not_there_is_missing_and_not_recalled(measured: Measure) -> None:
    figures = means(measured("oracle", PAIRS, drop=True))
    assert figures["recall"] == 0.0
    assert figures["wrong_person"] == 0.0
    assert figures["missing"] > 0.4


def test_looks_that_change_inside_a_prompt_lower_persistence(measured: Measure) -> None:
    assert means(measured("oracle", SOLO, restless=True))["persistence"] <= 0.5


def test_flicker_is_the_second_difference_and_lowers_no_recall(measured: Measure, truth: dict[str, float]) -> None:
    figures = means(measured("oracle", SOLO, flicker=0.01))
    assert figures["flicker"] == pytest.approx(0.04, rel=0.2)  # +a, -a, +a: a second difference of 4 a
    assert truth["flicker"] < 0.01
    assert figures["recall"] == 1.0
    assert figures["smoothness"] > means(measured("oracle", SOLO))["smoothness"]  # a jump is less in what flickers


def test_a_video_that_keeps_its_own_places_is_read_as_well(measured: Measure) -> None:
    figures = means(measured("oracle", PAIRS, shift=9.0))
    assert figures["recall"] == figures["first_mention"] == 1.0


def test_people_are_matched_to_places_in_order_and_strangers_left_over() -> None:
    assert match([50, 140], [58, 130]) == [0, 1]
    assert match([50, 140], [132]) == [None, 0]
    assert match([96], [20, 100, 180]) == [1]
    assert match([50, 140], []) == [None, None]
    assert match([], [30]) == []
    assert match([30], [170]) == [None]


def test_the_commonest_reading_decides_and_seldom_seen_is_not_seen() -> None:
    mia, tom = {"hair": "red"}, {"hair": "black"}
    assert commonest([mia, tom, mia]) == mia
    assert commonest([None, None, mia]) is None
    assert commonest([None]) is None


def test_an_interval_covers_the_mean_and_counts_scripts_not_cases() -> None:
    few = interval([(number, float(number % 2)) for number in range(10)])
    copied = interval([(number, float(number % 2)) for number in range(10) for _ in range(20)])
    many = interval([(number, float(number % 2)) for number in range(400)])
    assert few
    assert copied
    assert many
    assert few["mean"] == copied["mean"] == many["mean"] == 0.5
    assert (few["low"], few["high"]) == (copied["low"], copied["high"])
    assert few["low"] < many["low"] < 0.5 < many["high"] < few["high"]
    assert interval([]) is None
