"""Retrieval: what a new prompt starts with, and what wins a slot afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from memreel.configs import schema
from memreel.configs.schema import MemoryConfig
from memreel.memory.bank import Bank
from memreel.memory.frames import FrameStore
from memreel.memory.records import empty_bank
from memreel.memory.retrieval import RETRIEVALS, Retrieval, fill

MakeFilm = Callable[..., Any]


def test_every_configurable_strategy_exists() -> None:
    assert set(RETRIEVALS) == set(get_args(schema.Retrieval))


def test_each_gets_its_own_best_frame_though_another_seems_to_show_both(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia and Tom talk.", shoot.MIA, shoot.TOM)
    shoot.evict(5, 1, Mia=0.9)
    shoot.evict(6, 2, Mia=0.6, Tom=0.6)
    shoot.evict(7, 3, Tom=0.7)
    shoot.evict(8, 4, Mia=0.3)
    memory = shoot.begin("Mia and Tom again.", shoot.MIA, shoot.TOM)
    assert memory == ["p1_c1_f0", "p1_c3_f0", "p1_c2_f0"]


def test_in_a_crowd_the_frame_that_covers_most_comes_first_then_the_better_score(film: MakeFilm) -> None:
    shoot = film(slots=2)
    shoot.begin("Mia, Tom and Ava talk.", shoot.MIA, shoot.TOM, shoot.AVA)
    shoot.evict(5, 1, Mia=0.9)
    shoot.evict(6, 2, Mia=0.3, Tom=0.3)
    shoot.evict(7, 3, Ava=0.7)
    shoot.evict(8, 4, Mia=0.6)
    memory = shoot.begin("Mia, Tom and Ava again.", shoot.MIA, shoot.TOM, shoot.AVA)
    assert memory == ["p1_c2_f0", "p1_c3_f0"]


def test_everyone_is_covered_before_anyone_twice(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia, Tom and Ava.", shoot.MIA, shoot.TOM, shoot.AVA)
    shoot.evict(5, 1, Mia=0.9)
    shoot.evict(6, 2, Mia=0.8)
    shoot.evict(7, 3, Mia=0.85)
    shoot.evict(8, 4, Tom=0.3)
    shoot.evict(9, 5, Ava=0.4)
    memory = shoot.begin("All three sit down.", shoot.MIA, shoot.TOM, shoot.AVA)
    assert memory == ["p1_c1_f0", "p1_c5_f0", "p1_c4_f0"]


def test_an_entity_absent_for_several_prompts_gets_its_own_frames_back(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia, a woman with red hair, walks in.", shoot.MIA)
    for chunk_id in (1, 2, 3):
        shoot.evict(chunk_id, chunk_id, Mia=0.5 + chunk_id / 10)
    for text in ("Tom sits alone.", "Tom reads.", "Tom sleeps."):
        shoot.begin(text, shoot.TOM)
        for chunk_id in (1, 2, 3):
            shoot.evict(10 * shoot.prompt_id + chunk_id, chunk_id, Tom=0.9)
    assert shoot.begin("Mia comes back.", shoot.MIA) == ["p1_c3_f0", "p1_c2_f0", "p1_c1_f0"]


def test_who_is_only_mentioned_claims_no_slot(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia and Tom talk.", shoot.MIA, shoot.TOM)
    for chunk_id in (1, 2, 3):
        shoot.evict(chunk_id + 4, chunk_id, Mia=0.9)
        shoot.evict(chunk_id + 8, chunk_id + 4, Tom=0.5)
    assert shoot.begin("Tom waits for Mia.", shoot.MIA, shoot.TOM)[:2] == ["p1_c3_f0", "p1_c7_f0"]
    away = {**shoot.MIA, "presence": "mentioned"}
    memory = shoot.begin("Tom thinks of Mia.", away, shoot.TOM)
    assert memory == ["p1_c7_f0", "p1_c6_f0", "p1_c5_f0"]
    shoot.evict(20, 1, born_prompt_id=2, Mia=0.95)
    assert shoot.state["memory"] == memory, "nor does a frame of hers win one from a prompt that goes on"
    assert shoot.begin("Mia is back.", {**shoot.MIA, "presence": "enters"})[0] == "p2_c1_f0"


def test_who_leaves_claims_no_slot_from_those_who_stay_or_come(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia and Tom talk.", shoot.MIA, shoot.TOM)
    for chunk_id in (1, 2, 3):
        shoot.evict(chunk_id + 4, chunk_id, Mia=0.9)
        shoot.evict(chunk_id + 8, chunk_id + 4, Tom=0.5)
    gone = {**shoot.MIA, "presence": "leaves"}
    memory = shoot.begin("Mia leaves. Tom stays.", gone, shoot.TOM)
    assert memory == ["p1_c7_f0", "p1_c6_f0", "p1_c5_f0"]
    shoot.evict(20, 4, born_prompt_id=1, Mia=0.95)
    assert shoot.state["memory"] == memory, "nor does a frame of hers win one"
    assert shoot.begin("Mia comes for her hat and goes.", gone)[0] == "p1_c4_f0", "with nobody else she has them all"


def test_slots_to_spare_go_to_whom_the_window_does_not_show(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia and Tom talk.", shoot.MIA, shoot.TOM)
    for chunk_id in (1, 2, 3):
        shoot.evict(chunk_id + 4, chunk_id, Mia=0.9)
        shoot.evict(chunk_id + 8, chunk_id + 4, Tom=0.5)
    shoot.begin("Mia reads.", shoot.MIA)
    assert shoot.begin("Mia reads on. Tom is back.", shoot.MIA, shoot.TOM) == ["p1_c7_f0", "p1_c3_f0", "p1_c6_f0"]
    shoot.begin("Mia leaves.", {**shoot.MIA, "presence": "leaves"}, shoot.TOM)
    assert shoot.begin("Tom waits. Mia is back.", shoot.MIA, shoot.TOM) == ["p1_c3_f0", "p1_c7_f0", "p1_c2_f0"]


def test_with_everybody_away_the_similar_prompt_lends_no_frame_of_theirs(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia reads a letter at the window.", shoot.MIA)
    shoot.evict(5, 1, Mia=0.9)
    shoot.evict(6, 2, scenery=0.9)
    memory = shoot.begin("A letter for Mia lies at the window.", {**shoot.MIA, "presence": "mentioned"})
    assert memory == []
    shoot = film(presence=0.5)
    shoot.begin("A window, a desk, a letter, and Mia and Tom.", shoot.MIA, shoot.TOM)
    shoot.evict(5, 1, Mia=0.9)
    shoot.evict(6, 2, scenery=0.9)
    assert shoot.begin("A letter for Mia lies there.", {**shoot.MIA, "presence": "mentioned"}) == ["p1_c2_f0"]


def test_of_nearly_equal_frames_the_one_alone_and_described_is_taken(film: MakeFilm) -> None:
    shoot = film(slots=1, frames_per_entity=9)
    nameless = {**shoot.MIA, "attrs": []}
    shoot.begin("Mia, red hair, walks.", shoot.MIA)
    shoot.evict(5, 1, Mia=0.70)
    shoot.begin("Mia walks.", nameless)
    shoot.evict(6, 1, Mia=0.72)
    assert shoot.begin("Mia, red hair, and Tom.", shoot.MIA, shoot.TOM) != []
    shoot.evict(7, 1, Mia=0.72, Tom=0.70)
    assert shoot.begin("Mia.", nameless) == ["p1_c1_f0"]
    shoot.evict(8, 1, Mia=0.9)
    assert shoot.begin("Mia.", nameless) == ["p4_c1_f0"], "a plainly better frame wins all the same"


def test_a_blind_strategy_has_no_taste(film: MakeFilm) -> None:
    shoot = film(strategy="recency", slots=1)
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(2000, 1)
    shoot.begin("Mia and Tom.", {**shoot.MIA, "attrs": []}, shoot.TOM)
    shoot.evict(2001, 1)
    assert shoot.begin("Mia.", shoot.MIA) == ["p2_c1_f2"]


def test_what_the_sink_shows_anyway_is_taken_last(film: MakeFilm) -> None:
    shoot = film(slots=1)
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(0, 1, Mia=0.8)
    shoot.evict(4, 5, Mia=0.6)
    assert shoot.begin("Mia again.", shoot.MIA) == ["p1_c5_f0"]


def test_without_a_known_id_the_most_similar_earlier_prompt_lends_its_memory(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia strolls along the beach as waves roll in.", shoot.MIA)
    shoot.evict(4, 1, Mia=0.9)
    shoot.begin("Tom cooks soup in a busy restaurant kitchen.", shoot.TOM)
    shoot.evict(5, 1, Tom=0.5)
    shoot.evict(6, 2, Tom=0.6)
    shoot.begin("Mia reads in a quiet library.", shoot.MIA)
    shoot.evict(7, 1, Mia=0.8)
    memory = shoot.begin("Ava, a cook, stirs a pot in the kitchen of a restaurant.", shoot.AVA)
    assert memory == ["p2_c1_f0", "p2_c2_f0"]


def test_only_earlier_prompts_are_asked_and_the_most_similar_comes_first(film: MakeFilm) -> None:
    shoot = film()
    for text in ("A dog runs on the beach.", "A man bakes bread.", "A chef cooks soup.", "A chef cooks soup at night."):
        shoot.begin(text)
    assert shoot.bank.similar_prompts(shoot.state, 3) == [2, 1]
    assert shoot.bank.similar_prompts(shoot.state, 4) == [3, 2, 1]
    assert shoot.bank.similar_prompts(shoot.state, 1) == []


def test_a_similar_prompt_without_frames_is_passed_over(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia walks on the beach.", shoot.MIA)
    shoot.evict(4, 1, Mia=0.9)
    shoot.begin("Tom cooks in a kitchen.", shoot.TOM)
    shoot.state["memory"] = []  # nothing of Tom was kept
    assert shoot.begin("Ava cooks in a kitchen.", shoot.AVA) == ["p1_c1_f0"]


def test_an_empty_landscape_finds_the_similar_landscape(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("An empty street at dawn, rain on the stones.")
    shoot.evict(4, 1, scenery=0.4)
    shoot.evict(5, 2, scenery=0.6)
    shoot.begin("Mia dances in a bright ballroom.", shoot.MIA)
    for chunk_id in (1, 2, 3):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.9)
    assert shoot.begin("A quiet city road in the early morning, wet pavement.") == ["p1_c1_f0", "p1_c2_f0"]


def test_a_memory_that_equals_the_last_one_is_set_again(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia walks.", shoot.MIA)
    for chunk_id in (1, 2, 3):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.9 - chunk_id / 10)
    first = shoot.begin("Mia runs.", shoot.MIA)
    second = shoot.begin("Mia rests.", shoot.MIA)
    assert first == second == ["p1_c1_f0", "p1_c2_f0", "p1_c3_f0"]
    assert [frame.frame_id for frame in shoot.bank.frames(shoot.state)] == second


def test_semantic_retrieval_follows_the_text_and_not_the_ids(film: MakeFilm) -> None:
    shoot = film(retrieval="semantic")
    shoot.begin("Mia strolls along the beach as waves roll in.", shoot.MIA)
    shoot.evict(4, 1, Mia=0.9)
    shoot.begin("Tom cooks soup in a busy restaurant kitchen.", shoot.TOM)
    shoot.evict(5, 1, Tom=0.5)
    assert shoot.begin("Mia cooks in the restaurant kitchen.", shoot.MIA) == ["p2_c1_f0"]


def test_no_retrieval_leaves_the_memory_empty_while_frames_are_archived(film: MakeFilm) -> None:
    shoot = film(retrieval="none")
    shoot.begin("Mia.", shoot.MIA)
    assert shoot.evict(4, 1, Mia=0.9) == "p1_c1_f0"
    assert shoot.state["memory"] == []
    assert shoot.begin("Mia again.", shoot.MIA) == []


class TestCompetition:
    def test_a_better_frame_takes_the_slot_of_the_worst(self, film: MakeFilm) -> None:
        shoot = film()
        shoot.begin("Mia.", shoot.MIA)
        for chunk_id, score in enumerate((0.5, 0.3, 0.7), start=1):
            shoot.evict(10 + chunk_id, chunk_id, Mia=score)
        shoot.evict(14, 4, Mia=0.6)
        assert shoot.state["memory"] == ["p1_c1_f0", "p1_c4_f0", "p1_c3_f0"]
        shoot.evict(15, 5, Mia=0.4)
        assert shoot.state["memory"] == ["p1_c1_f0", "p1_c4_f0", "p1_c3_f0"]

    def test_the_only_frame_of_an_entity_stays(self, film: MakeFilm) -> None:
        shoot = film()
        shoot.begin("Mia and Tom.", shoot.MIA, shoot.TOM)
        shoot.evict(11, 1, Tom=0.25)
        for chunk_id in range(2, 9):
            shoot.evict(10 + chunk_id, chunk_id, Mia=0.8 + chunk_id / 100)
        assert shoot.state["memory"][0] == "p1_c1_f0"
        assert shoot.state["memory"][1:] == ["p1_c8_f0", "p1_c7_f0"]

    def test_a_late_entrant_wins_a_slot_even_with_a_low_score(self, film: MakeFilm) -> None:
        shoot = film()
        shoot.begin("Mia waits; later Tom joins her.", shoot.MIA, shoot.TOM)
        for chunk_id in (1, 2, 3):
            shoot.evict(10 + chunk_id, chunk_id, Mia=0.9, Tom=0.05)
        shoot.evict(14, 4, Tom=0.3)
        assert "p1_c4_f0" in shoot.state["memory"]

    def test_a_chunk_of_the_prompt_before_competes_only_with_someone_in_common(self, film: MakeFilm) -> None:
        shoot = film()
        shoot.begin("Mia and Tom.", shoot.MIA, shoot.TOM)
        shoot.begin("Tom stays alone.", shoot.TOM)
        assert shoot.evict(11, 12, born_prompt_id=1, Mia=0.9) == "p1_c12_f0", "archived all the same"
        assert shoot.state["memory"] == []
        shoot.evict(12, 13, born_prompt_id=1, Mia=0.9, Tom=0.8)
        assert shoot.state["memory"] == ["p1_c13_f0"]

    def test_frames_lent_by_a_similar_prompt_make_way_for_the_prompts_own(self, film: MakeFilm) -> None:
        shoot = film()
        shoot.begin("Mia on the beach.", shoot.MIA)
        for chunk_id in (1, 2, 3):
            shoot.evict(10 + chunk_id, chunk_id, Mia=0.9)
        assert len(shoot.begin("An empty beach.")) == 3
        for chunk_id in (1, 2, 3):
            shoot.evict(20 + chunk_id, chunk_id, scenery=0.3)
        assert sorted(shoot.state["memory"]) == ["p2_c1_f0", "p2_c2_f0", "p2_c3_f0"]

    def test_no_slots_means_no_memory(self, film: MakeFilm) -> None:
        shoot = film(slots=0)
        shoot.begin("Mia.", shoot.MIA)
        assert shoot.evict(11, 1, Mia=0.9) == "p1_c1_f0"
        assert shoot.state["memory"] == []

    @pytest.mark.parametrize("strategy", ["recency", "random"])
    def test_blind_strategies_keep_their_own_order(self, film: MakeFilm, strategy: str) -> None:
        shoot = film(strategy=strategy)
        shoot.begin("Mia and Tom.", shoot.MIA, shoot.TOM)
        for chunk_id in range(1, 12):
            shoot.evict(chunk_id - 1, chunk_id, Mia=0.9)
        names = set(shoot.state["memory"])
        if strategy == "recency":
            assert names == {"p1_c9_f2", "p1_c10_f2", "p1_c11_f2"}
        else:
            scoring = shoot.bank._scoring
            best = {i: scoring.score(_chunk(i), ["x"]).max() for i in range(11)}
            top = sorted(best, key=lambda i: best[i])[-3:]
            assert {name.split("_")[1] for name in names} == {f"c{i + 1}" for i in top}


def _chunk(index: int) -> Any:
    class OnlyItsPlace:
        latents = [None] * 3

    chunk = OnlyItsPlace()
    chunk.index = index  # type: ignore[attr-defined]
    return chunk


def pairs(shoot: Any) -> Any:
    """Four prompts, two kept frames each, by two people."""
    for number, who in enumerate((shoot.MIA, shoot.TOM, shoot.MIA, shoot.TOM)):
        shoot.begin(f"{who['entity']} walks, {number}.", who)
        for chunk_id in (1, 2):
            shoot.evict(number * 4 + chunk_id, chunk_id, **{who["entity"]: 0.9 - number / 10})
    return shoot


def test_recency_starts_with_the_newest_frames_and_each_new_one_pushes_out_the_oldest(film: MakeFilm) -> None:
    shoot = pairs(film(retrieval="recency", frames_per_entity=64))
    assert shoot.begin("Ava reads.", shoot.AVA) == ["p3_c2_f0", "p4_c1_f0", "p4_c2_f0"]
    shoot.evict(20, 1, Ava=0.1)
    assert shoot.state["memory"] == ["p4_c1_f0", "p4_c2_f0", "p5_c1_f0"]


def test_first_keeps_the_frames_after_the_sink_for_the_whole_video(film: MakeFilm) -> None:
    shoot = film(retrieval="first", frames_per_entity=64)
    shoot.begin("Mia walks.", shoot.MIA)
    for index in range(5):
        shoot.evict(index, index + 1, Mia=0.5 + index / 10)
    assert shoot.state["memory"] == ["p1_c1_f0", "p1_c2_f0", "p1_c3_f0"]
    assert shoot.begin("Tom waits.", shoot.TOM) == ["p1_c2_f0", "p1_c3_f0", "p1_c4_f0"]
    shoot.evict(6, 1, Tom=0.9)
    assert shoot.state["memory"] == ["p1_c2_f0", "p1_c3_f0", "p1_c4_f0"]


def test_random_draws_by_seed_and_prompt_and_not_by_who_is_asked_for(film: MakeFilm) -> None:
    drawn = []
    for seed, text in ((1, "Mia."), (1, "Somebody else."), (2, "Mia.")):
        shoot = pairs(film(retrieval="random", frames_per_entity=64, seed=seed))
        drawn.append(tuple(shoot.begin(text, shoot.MIA)))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 3


def test_a_caller_can_bring_a_retrieval_of_its_own(
    tmp_path: Path, model: Any, embed: Any, paint: Callable[..., Any]
) -> None:
    own = Retrieval(lambda request: ["p1_c2_f0"][: request.slots], fill)
    bank = Bank(MemoryConfig(), model, FrameStore(tmp_path / "t", tmp_path / "p"), embed, 0, own)
    mia = {"entity": "Mia", "kind": "character", "attrs": [], "global_id": 1}
    state = bank.register(empty_bank(), 1, "Mia walks.", [mia])
    for chunk_id in (1, 2, 3):
        state, _ = bank.admit(state, paint(chunk_id, Mia=0.9 - chunk_id / 10), 1, chunk_id, 1)
    state = bank.register(state, 2, "Mia waits.", [mia])
    assert bank.retrieve(state, 2)["memory"] == ["p1_c2_f0"]
