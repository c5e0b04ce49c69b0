"""RecallBench's scripts: what they promise about who returns, what is said, and that a seed repeats them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import pytest

from memreel.benchmarks.recallbench.cases import Watcher
from memreel.benchmarks.recallbench.scripts import (
    ARCHETYPES,
    FULL,
    GAPS,
    QUICK,
    BenchScript,
    looks,
    make_script,
    make_scripts,
    twin,
)
from memreel.model.protocol import VideoSpec
from memreel.script import check_prompts
from memreel.world import palette

SPEC = VideoSpec(192, 112, 16, 1, 1, 1)


@pytest.fixture(scope="module")
def full() -> list[BenchScript]:
    return make_scripts(FULL)


def test_a_number_and_a_seed_give_the_same_script_again(full: list[BenchScript]) -> None:
    assert make_script(17) == full[17]
    assert make_script(17, seed=1).prompts != full[17].prompts
    assert len({tuple(script.prompts) for script in full}) == FULL >= 200


def test_any_twenty_scripts_are_a_fair_share_of_the_cells(full: list[BenchScript]) -> None:
    quick = full[:QUICK]
    assert Counter(script.archetype for script in quick) == dict.fromkeys(ARCHETYPES, 4)
    assert set(Counter(script.gap for script in quick).values()) <= {6, 7, 8}
    assert {(s.moves, s.beside) for s in quick} == {(a, b) for a in (True, False) for b in (True, False)}
    cells = Counter((s.archetype, s.gap, s.moves, s.beside) for s in full)
    assert len(cells) == 60
    assert set(cells.values()) == {FULL // 60}


def test_scripts_have_six_prompts_that_memreel_takes(full: list[BenchScript]) -> None:
    for script in full:
        assert len(check_prompts(script.prompts, "script")) == 6


def test_every_cell_has_a_return_after_its_gap_that_only_memory_can_tell(full: list[BenchScript]) -> None:
    for script in full:
        watcher = Watcher(script, SPEC, 8)
        back = {
            watcher.part(number, key) for number, scene in enumerate(script.story.scenes, 1) for key in scene.present()
        }
        assert ("return", script.gap) in back, (script.number, script.archetype, back)
    gaps = Counter(script.gap for script in full)
    assert set(gaps) == set(GAPS)


def test_looks_are_stated_at_the_first_mention_only(full: list[BenchScript]) -> None:
    for script in full:
        met: set[int] = set()
        for scene in script.story.scenes:
            for key, described in scene.mentions.items():
                being = script.story.beings[key]
                assert described == (key not in met)
                if described:
                    assert all(word in scene.text for word in being.words.values()), scene.text
                elif being.look.kind in palette.PEOPLE:
                    fresh = [k for k in scene.mentions if k not in met]
                    elsewhere = {word for k in fresh for word in script.story.beings[k].words.values()}
                    said = [word for word in being.words.values() if word in scene.text]
                    assert not [word for word in said if not any(word in other for other in elsewhere)], scene.text
            met |= set(scene.mentions)


def test_look_alikes_differ_in_one_attribute_and_others_in_two_or_more(full: list[BenchScript]) -> None:
    for script in full:
        people = [b for b in script.story.beings.values() if b.look.kind in palette.PEOPLE]
        apart = [
            sum(looks(one.look)[name] != value for name, value in looks(other.look).items())
            for one, other in combinations(people, 2)
        ]
        assert Counter(apart)[1] == (script.archetype == "lookalike")
        assert 0 not in apart
    groups = {len([b for b in s.story.beings.values() if b.look.hair]) for s in full if s.archetype == "substitution"}
    assert groups <= {3, 4, 5}


def test_the_place_changes_before_a_return_where_the_cell_says_so_and_never_elsewhere(full: list[BenchScript]) -> None:
    for script in full:
        places = {scene.place for scene in script.story.scenes}
        assert (len(places) > 1) == script.moves


def test_held_out_scripts_take_names_that_training_never_sees() -> None:
    trained = {*palette.FEMALE_NAMES, *palette.MALE_NAMES, *palette.PET_NAMES}
    beings = [b for s in make_scripts(30, held_out="both") for b in s.story.beings.values()]
    assert len({b.name for b in beings if b.name}) > 10
    assert not {b.name for b in beings} & trained


def test_a_twin_has_the_same_names_and_schedule_and_looks_another_way_throughout(full: list[BenchScript]) -> None:
    for script in full[:20]:
        other = twin(script)
        assert other == twin(script)
        for key, being in script.story.beings.items():
            twinned = other.story.beings[key]
            assert (twinned.name, twinned.role, twinned.noun) == (being.name, being.role, being.noun)
            assert all(looks(twinned.look)[name] != value for name, value in looks(being.look).items())
        assert [s.spots for s in other.story.scenes] == [s.spots for s in script.story.scenes]


def test_the_schedule_is_json_and_says_who_is_where(full: list[BenchScript]) -> None:
    script = full[1]
    told = json.loads(json.dumps(script.schedule()))
    assert [scene["prompt"] for scene in told["scenes"]] == script.prompts
    assert told["archetype"] == "object"
    holders = [scene["holds"] for scene in told["scenes"]]
    assert sum(bool(held) for held in holders) >= 2
    assert all(str(key) in told["cast"] for scene in told["scenes"] for key in scene["present"])
