"""The cast: what is appended, what is kept once, and what a member is called."""

from __future__ import annotations

import pytest

from memreel.errors import UserError
from memreel.memory.cast import best_name, register
from memreel.memory.records import BankState, Entity, empty_bank


def entity(surface: str, global_id: int, *attrs: str) -> Entity:
    return {"entity": surface, "kind": "character", "attrs": list(attrs), "global_id": global_id}


def story(*prompts: tuple[str, list[Entity]]) -> BankState:
    bank = empty_bank()
    for prompt_id, (text, entities) in enumerate(prompts, start=1):
        bank = register(bank, prompt_id, text, entities)
    return bank


def test_attributes_are_appended_in_order_and_without_repeats() -> None:
    bank = story(
        ("Mia has red hair.", [entity("Mia", 1, "red hair", "blue sweater")]),
        ("Mia puts on a hat.", [entity("Mia", 1, "a Blue  sweater", "green hat")]),
        ("Mia waves.", [entity("Mia", 1)]),
    )
    assert bank["cast"]["1"]["all_attrs"] == ["red hair", "blue sweater", "green hat"]


def test_every_appearance_is_recorded_with_its_own_wording() -> None:
    bank = story(
        ("A woman in a coat.", [entity("a woman", 1, "coat")]),
        ("An empty street.", []),
        ("Mia comes back.", [entity("Mia", 1)]),
    )
    assert bank["cast"]["1"]["instances"] == [
        {"prompt_id": 1, "entity": "a woman", "attrs": ["coat"]},
        {"prompt_id": 3, "entity": "Mia", "attrs": []},
    ]
    assert bank["cast"]["1"]["all_entities"] == ["a woman", "Mia"]
    assert [record["text"] for record in bank["prompts"].values()] == [
        "A woman in a coat.",
        "An empty street.",
        "Mia comes back.",
    ]


def test_a_proper_name_replaces_a_description_and_stays() -> None:
    bank = story(("A young woman waits.", [entity("a young woman", 1)]))
    assert bank["cast"]["1"]["name"] == "young woman"
    bank = register(bank, 2, "Mia sits down.", [entity("Mia", 1)])
    assert bank["cast"]["1"]["name"] == "Mia"
    bank = register(bank, 3, "The woman sleeps.", [entity("the woman", 1)])
    assert bank["cast"]["1"]["name"] == "Mia"


@pytest.mark.parametrize(
    ("wordings", "name"),
    [
        ([("she", "She runs."), ("the red notebook", "the red notebook")], "red notebook"),
        ([("Officer", "An officer nods."), ("Lena Ortiz", "Lena Ortiz")], "Lena Ortiz"),
        ([("the chef", "The chef"), ("Ludwig van Beek", "Ludwig van Beek")], "Ludwig van Beek"),
        ([("Mia", "Mia"), ("Mia Chen", "Mia Chen")], "Mia"),
        ([("another man", "Another man enters."), ("he", "He sits.")], "man"),
        ([("The Archivist", "The Archivist"), ("Dr. O'Neil", "Dr. O'Neil")], "Dr. O'Neil"),
        ([("一位女士", "一位女士走进来")], "一位女士"),
        ([("the", "the")], "the"),
    ],
)
def test_the_best_name_is_chosen(wordings: list[tuple[str, str]], name: str) -> None:
    assert best_name(wordings) == name


def test_two_entities_of_a_prompt_may_not_share_an_id() -> None:
    with pytest.raises(UserError, match=r"prompt 1 gives global ID 1 to both 'Mia' and 'Tom'"):
        story(("Mia and Tom.", [entity("Mia", 1), entity("Tom", 1)]))


def test_ids_count_from_one() -> None:
    with pytest.raises(UserError, match=r"prompt 1: 'Mia' has global ID 0"):
        story(("Mia.", [entity("Mia", 0)]))


def test_registering_a_prompt_again_replaces_its_wording_and_keeps_the_attributes() -> None:
    bank = story(("Mia, red hair.", [entity("Mia", 1, "red hair")]))
    bank = register(bank, 1, "Mia, black hair.", [entity("Mia", 1, "black hair")])
    assert bank["cast"]["1"]["instances"] == [{"prompt_id": 1, "entity": "Mia", "attrs": ["black hair"]}]
    assert bank["cast"]["1"]["all_attrs"] == ["red hair", "black hair"]
