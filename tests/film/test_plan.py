"""Plans: what the rules make of a text, what the YAML says when a field is wrong, what lengths add up to."""

from __future__ import annotations

from pathlib import Path

import pytest

from memreel.errors import UserError
from memreel.film.director import weighed_seconds
from memreel.film.plan import CHUNK_SECONDS, key_frames, parse_plan, plan_yaml, read_plan, scene_count, scene_seconds
from memreel.film.planner import place, plan_by_rules, sentences, share_out

STORY = (
    "In a quiet library, Mia, a young woman with red hair and a blue sweater, waits. Ethan, a man in a yellow "
    "jacket, walks in. On a sunny beach, Ethan looks around. A small brown dog jumps on the beach. Later, Mia waves in "
    "the library."
)


@pytest.mark.parametrize("seconds", [6, 13, 30, 45, 46.3, 60, 127, 600])
def test_scenes_sum_to_what_was_asked_within_a_chunk_and_last_eight_to_ten_seconds(seconds: float) -> None:
    lengths = scene_seconds(seconds, scene_count(seconds))
    assert abs(sum(lengths) - seconds) <= CHUNK_SECONDS
    assert all(length % CHUNK_SECONDS == 0 for length in lengths)
    if seconds >= 30:
        assert all(8 <= length <= 10 for length in lengths)


def test_a_chat_models_uneven_lengths_are_kept_in_proportion_and_sum_up() -> None:
    lengths = weighed_seconds([4, 12, 8, 0.1], 30)
    assert sum(lengths) == 30
    assert lengths[1] > lengths[2] > lengths[0] > 0
    assert lengths[3] >= CHUNK_SECONDS


def test_key_frames_come_every_two_seconds_and_every_fourth_is_an_anchor() -> None:
    frames = key_frames(10, 0.5, 4)
    assert [frame.at for frame in frames] == [0, 2, 4, 6, 8]
    assert [frame.at for frame in frames if frame.anchor] == [0, 8]


def test_a_paragraph_becomes_scenes_with_cast_places_and_transitions() -> None:
    plan = plan_by_rules(sentences(STORY), 45)
    assert [scene.seconds for scene in plan.scenes] == [9.0] * 5
    looks = {character.name: character.attributes for character in plan.characters}
    assert {"red hair", "blue sweater"} <= set(looks["Mia"])
    assert plan.scenes[2].characters == ["Ethan"]
    assert plan.scenes[4].characters == ["Mia"]
    assert [scene.environment for scene in plan.scenes][1:3] == ["quiet library", "sunny beach"]
    assert plan.scenes[4].transition == "crossfade"
    assert len(plan.characters) == 3


def test_who_is_only_mentioned_is_in_the_cast_and_not_in_the_scene() -> None:
    plan = plan_by_rules(["Mia, in a blue sweater, sits in a park.", "Ethan, in a red jacket, thinks of Mia."], 18)
    assert [scene.characters for scene in plan.scenes] == [["Mia"], ["Ethan"]]
    assert [character.name for character in plan.characters] == ["Mia", "Ethan"]


def test_a_beat_that_fills_several_scenes_goes_on_in_a_continuation() -> None:
    plan = plan_by_rules(["Mia dances in a park."], 30)
    assert [scene.transition for scene in plan.scenes] == ["cut", "continuation", "continuation"]
    assert share_out(["a", "b", "c", "d"], 2) == ["a b", "c d"]


def test_a_script_is_planned_a_scene_a_prompt_at_nine_seconds_each() -> None:
    plan = plan_by_rules(["Mia waits in a park.", "Mia waves.", "Mia leaves."], None)
    assert plan.seconds == 27.0
    assert [scene.environment for scene in plan.scenes] == ["park"] * 3


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("She waits in the old snowy forest, alone.", "old snowy forest"),
        ("She smiles.", ""),
        ("On a beach it rains.", "beach"),
    ],
)
def test_where_a_scene_takes_place_is_read_from_its_words(text: str, where: str) -> None:
    assert place(text) == where


def test_the_yaml_of_a_plan_is_the_plan_again(tmp_path: Path) -> None:
    plan = plan_by_rules(sentences(STORY), 45)
    path = tmp_path / "plan.yaml"
    path.write_text(plan_yaml(plan), encoding="utf-8")
    assert read_plan(path) == plan


PLAN = """title: t
characters:
- name: Mia
scenes:
- seconds: 9
  text: Mia waits.
  characters: [Mia]
- seconds: 9
  text: Mia waves.
"""


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("  text: Mia waves.", "  texts: Mia waves.", ["line 9", "scenes.2.texts", "did you mean 'text'?"]),
        ("  text: Mia waves.", "  text: Mia waves.\n  lightning: red", ["line 10", "did you mean 'lighting'?"]),
        ("- seconds: 9\n  text: Mia waits.", "- seconds: long\n  text: Mia waits.", ["line 5", "'long'"]),
        ("  characters: [Mia]", "  characters: [Mya]", ["line 7", "did you mean 'Mia'?"]),
        ("- name: Mia", "- name: Mia\n- name: mia", ["line 4", "twice"]),
        ("  text: Mia waits.", "  text: Mia waits.\n  transition: crossfade", ["line 7", "must be 'cut'"]),
        ("  text: Mia waves.", "  text: Mia waves.\n  key_frames: [{at: 9.5}]", ["line 10", "ends at 9"]),
        ("title: t", "title: [", ["line 3", "not YAML"]),
    ],
)
def test_a_wrong_field_is_named_with_its_line(wrong: str, right: str, says: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_plan(PLAN.replace(wrong, right, 1), "plan.yaml")
    for part in ["plan.yaml", *says]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_idea_and_no_plan_are_refused() -> None:
    with pytest.raises(UserError, match="empty"):
        plan_by_rules(sentences("  \n "), 45)
    with pytest.raises(UserError, match="no such plan"):
        read_plan(Path("nowhere.yaml"))
