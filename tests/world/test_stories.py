"""Stories: a cast and a schedule that hang together, and words that say what can be seen and where."""

from __future__ import annotations

import re
from random import Random

import pytest

from memreel.agent.enrich import enrich
from memreel.memory.records import CastMember, Entity, Kind
from memreel.world import palette
from memreel.world.draw import WIDTH
from memreel.world.sentences import attributes, enrich_clause, head
from memreel.world.stories import FIGURES, Being, Story, make_story, pose_at


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    random = Random(11)
    return [make_story(random) for _ in range(150)]


@pytest.fixture(scope="module")
def unseen() -> list[Story]:
    """Stories with names and colour words that training never uses."""
    random = Random(12)
    return [make_story(random, held_out="both") for _ in range(80)]


def found(word: str, text: str) -> list[int]:
    """Return where a whole word stands in a text."""
    return [match.start() for match in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def test_a_seed_tells_the_same_story_again() -> None:
    one, again, other = (make_story(Random(seed)) for seed in (5, 5, 6))
    assert one == again
    assert one != other


def test_held_out_names_and_colour_words_are_not_in_the_training_pools() -> None:
    trained = {*palette.FEMALE_NAMES, *palette.MALE_NAMES, *palette.PET_NAMES}
    assert len(trained) == len(palette.FEMALE_NAMES) + len(palette.MALE_NAMES) + len(palette.PET_NAMES)
    assert not trained & {name for names in palette.HELD_OUT_NAMES.values() for name in names}
    said = {word for table in (palette.COLOUR_WORDS, palette.HAIR_WORDS) for words in table.values() for word in words}
    assert not said & {word for words in palette.HELD_OUT_COLOUR_WORDS.values() for word in words}


def test_training_stories_never_say_a_held_out_name_or_colour_word(stories: list[Story]) -> None:
    names = [name for pool in palette.HELD_OUT_NAMES.values() for name in pool]
    words = [word for pool in palette.HELD_OUT_COLOUR_WORDS.values() for word in pool]
    for story in stories:
        for scene in story.scenes:
            for told in (scene.text, scene.enriched):
                assert not [word for word in names + words if found(word, told)], told


def test_held_out_stories_use_held_out_names_alone(unseen: list[Story]) -> None:
    trained = {*palette.FEMALE_NAMES, *palette.MALE_NAMES, *palette.PET_NAMES}
    beings = [being for story in unseen for being in story.beings.values()]
    names = {being.name for being in beings if being.name}
    assert len(names) > 15
    assert not names & trained
    assert any(word in being.words.get("top", "") for being in beings for word in ("crimson", "sapphire", "jade"))


def test_nobody_in_a_story_can_be_mistaken_for_another(stories: list[Story]) -> None:
    for story in stories:
        beings = list(story.beings.values())
        handles = [being.name or being.role or being.look.kind for being in beings]
        assert len(handles) == len(set(handles))
        assert any(not being.is_object for being in beings)
        assert all(being.look.kind in (*FIGURES, *palette.OBJECTS) for being in beings)


def test_a_first_mention_states_every_attribute(stories: list[Story]) -> None:
    first = 0
    for story in stories:
        met: set[int] = set()
        for scene in story.scenes:
            for key, is_described in scene.mentions.items():
                told = scene.text.casefold()
                if is_described:
                    missing = [a for a in attributes(story.beings[key]) if not found(a.casefold(), told)]
                    assert not missing, (missing, scene.text)
                if key not in met:
                    assert is_described, scene.text
                    first += 1
            met |= set(scene.mentions)
    assert first > 400


def test_later_mentions_leave_the_look_to_memory_most_of_the_time(stories: list[Story]) -> None:
    later: list[bool] = []
    for story in stories:
        met: set[int] = set()
        for scene in story.scenes:
            later += [is_described for key, is_described in scene.mentions.items() if key in met]
            met |= set(scene.mentions)
    assert len(later) > 400
    assert sum(later) / len(later) < 0.2


def test_a_text_mentions_figures_from_left_to_right(stories: list[Story], unseen: list[Story]) -> None:
    checked = 0
    for story in [*stories, *unseen]:
        for scene in story.scenes:
            assert [spot.x for spot in scene.spots] == sorted(spot.x for spot in scene.spots)
            called = [being.name or being.role for spot in scene.spots if (being := story.beings[spot.key])]
            places = [found(name, scene.text)[0] for name in called if name and found(name, scene.text)]
            assert places == sorted(places), scene.text
            checked += len(places) > 1
    assert checked > 100


def test_everyone_in_a_scene_is_spoken_of(stories: list[Story]) -> None:
    for story in stories:
        for scene in story.scenes:
            assert set(scene.mentions) == set(scene.present())
            assert scene.text[0].isupper()
            assert scene.text.endswith(".")
            assert scene.enriched.startswith(scene.text)
            assert not re.search(r",,| ,|\.\.|  | \.", scene.enriched), scene.enriched


def test_an_undescribed_being_has_its_clause_in_the_enriched_text(stories: list[Story]) -> None:
    clauses = 0
    for story in stories:
        for scene in story.scenes:
            for key, is_described in scene.mentions.items():
                clause = enrich_clause(story.beings[key])
                assert (clause in scene.enriched) == (not is_described), scene.enriched
                clauses += not is_described
    assert clauses > 200


def as_the_agent_writes_it(being: Being, prompt: str) -> str:
    name = head(being)
    kind: Kind = "object" if being.is_object else "character"
    entity: Entity = {"entity": name, "kind": kind, "attrs": [], "global_id": 1}
    member: CastMember = {
        "global_id": 1,
        "kind": kind,
        "name": name,
        "all_entities": [name],
        "all_attrs": attributes(being),
        "instances": [],
    }
    return enrich(prompt, [entity], {"1": member})


def test_clauses_have_the_form_in_which_the_agent_puts_looks_back(stories: list[Story], unseen: list[Story]) -> None:
    beings = [being for story in [*stories[:40], *unseen[:20]] for being in story.beings.values()]
    assert {being.look.kind for being in beings} == {*FIGURES, *palette.OBJECTS}
    for being in beings:
        prompt = f"{head(being)} is back."
        assert as_the_agent_writes_it(being, prompt) == f"{prompt} {enrich_clause(being)}"


def test_who_stays_starts_where_it_stood_and_newcomers_walk_in_from_outside(stories: list[Story]) -> None:
    stayed = entered = untold = 0
    for story in stories:
        for before, scene in zip(story.scenes, story.scenes[1:], strict=False):
            was = {spot.key: spot.x for spot in before.spots}
            for spot in scene.spots:
                if not scene.cut and spot.key in was:
                    assert spot.start == was[spot.key]
                    stayed += 1
                elif 0 <= spot.start <= WIDTH:
                    assert not spot.enters
                    assert scene.cut or story.beings[spot.key].is_object
                elif spot.enters:
                    assert (spot.start < 0) == (spot.enters == "left")
                    entered += 1
                else:
                    untold += 1
            gone = {leaver.key for leaver in scene.exits}
            assert not gone & set(scene.present())
            assert gone <= set(was)
            assert scene.cut == (scene.place != before.place)
    assert stayed > 50
    assert entered > 50
    assert 0.1 < untold / (untold + entered) < 0.4


def test_somebody_walks_to_its_spot_then_acts_there() -> None:
    poses = [pose_at(-34.0, 60.0, "wave", 0.0, t / 4) for t in range(24)]
    walked = [pose.x for pose in poses]
    assert walked == sorted(walked)
    assert walked[0] == -34.0
    assert walked[-1] == 60.0
    for pose in poses:
        assert (pose.arm > 0) <= (pose.x == 60.0)
        assert (pose.stride > 0) == (pose.x < 60.0)
    assert max(pose.arm for pose in poses) > 0.6


def test_once_settled_everyone_present_is_wholly_visible_and_the_leavers_are_gone(stories: list[Story]) -> None:
    for story in stories:
        for number, scene in enumerate(story.scenes):
            settled = story.settled(number)
            assert story.visible(number, settled) == set(scene.present())
            walking = [spot for spot in scene.spots if spot.start < -30 or spot.start > WIDTH + 30]
            assert not story.visible(number, 0.0) & {spot.key for spot in walking}
            from_exits = len(story.rows(number, 0.0)) - len(story.rows(number, settled + 0.1))
            assert (from_exits > 0) == bool(scene.exits)
