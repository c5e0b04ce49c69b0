"""Which words are names, which are verbs, and which name nobody."""

from __future__ import annotations

import pytest

from memreel.agent.analyst import Analyst
from memreel.agent.mention import NOTHING
from memreel.agent.mentions import Grammar
from memreel.benchmarks.cast import candidates_of
from memreel.memory.records import empty_bank


def entities(text: str) -> list[str]:
    """Return what the analyst finds in a first prompt."""
    return [entity["entity"] for entity in Analyst().parse(text, empty_bank(), candidates_of(empty_bank())).entities]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Igor trips, and the jar shatters.", ["Igor", "jar"]),
        ("The boy and the dog race down the hill.", ["boy", "dog"]),
        ("A man in a brown suit parks a car.", ["man", "car"]),
        ("Ines finds an old deed.", ["Ines", "deed"]),
        ("Ines gives a wave.", ["Ines"]),
        ("A man in black, Vikram, slides down a rope.", ["Vikram", "rope"]),
        ("The baker, whose name is Mirela, waits.", ["Mirela"]),
        ("'Petro Koval,' says the soldier.", ["Petro Koval", "soldier"]),
        ("'Tell Taras to hurry,' says the soldier.", ["Taras", "soldier"]),
        ("'Catch Mia!' shouts the soldier.", ["Mia", "soldier"]),
        ("'Grace, wait!' shouts the soldier.", ["Grace", "soldier"]),
        ("Ann and Tomas exchange a look as the old man begins to play.", ["Ann", "Tomas", "man"]),
        ("The general glares at Mia.", ["general", "Mia"]),
        ("A white whale surfaces and looks at the woman.", ["whale", "woman"]),
        ("The man helps his daughter reel in the line.", ["man", "daughter"]),
        ("A wizard and a dragon in the stone-walled chamber watch the door.", ["wizard", "dragon"]),
        (
            "A wizard and a dragon in the stone-walled chamber watch as a ball floats up.",
            ["wizard", "dragon", "ball"],
        ),
    ],
)
def test_a_verb_is_no_part_of_who_acts(text: str, told: list[str]) -> None:
    assert entities(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Sky crouches on a branch.", ["Sky"]),
        ("Baba Yaga, bent and hook-nosed, watches.", ["Baba Yaga"]),
        ("Ole, who was sweeping the street, bows.", ["Ole"]),
        ("Rosa combs Lucia's dark hair.", ["Rosa", "Lucia"]),
        ("Rosa pins a veil to Lucia's dark hair.", ["Rosa", "veil", "Lucia"]),
        ("O'Brien and D'Angelo wait.", ["O'Brien", "D'Angelo"]),
        ("The Viking lowers his arms.", ["viking"]),
        ("INT. SPACESHIP - NIGHT. VASQUEZ, 40s, leans back in the wide seat.", ["VASQUEZ"]),
        pytest.param(
            "INT. SPACESHIP - NIGHT. VASQUEZ, 40s, leans back in the pilot's seat.",
            ["VASQUEZ"],
            marks=pytest.mark.xfail(strict=True, reason="the network takes the pilot for somebody else"),
        ),
        pytest.param(
            "INT. SPACESHIP - NIGHT. VASQUEZ, 40s, flicks a switch from the pilot's seat.",
            ["VASQUEZ"],
            marks=pytest.mark.xfail(strict=True, reason="a switch told of once is taken for more"),
        ),
    ],
)
def test_names_are_found_wherever_they_stand(text: str, told: list[str]) -> None:
    assert entities(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Mia falls like a tree.", ["Mia"]),
        ("Uncle Morty is pink as a shrimp.", ["Uncle Morty"]),
        ("The chess grandmaster slides his queen across the hall.", ["chess grandmaster"]),
        ("The queen slides across the hall.", ["queen"]),
        ("Mia has just begun her career and starts the long descent.", ["Mia"]),
        ("A frog hops past, its skin a brilliant red.", ["frog"]),
    ],
)
def test_similes_pieces_of_games_and_colours_are_nobody(text: str, told: list[str]) -> None:
    assert entities(text) == told


@pytest.mark.parametrize(
    ("text", "looks"),
    [("Gunnar, bald and scarred, waits.", ["bald", "scarred"]), ("Mia waits. She is bald.", ["bald"])],
)
def test_looks_are_told_behind_a_name_and_of_a_pronoun(text: str, looks: list[str]) -> None:
    assert Analyst().parse(text, empty_bank(), candidates_of(empty_bank())).entities[0]["attrs"] == looks


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("M" * 10_000 + " walks in.", "words of more than 40 letters were left out"),
        (" ".join(f"Zo{chr(97 + i % 26) * 3}" for i in range(16)) + " walks in.", "were cut to 80 characters"),
    ],
)
def test_what_is_left_out_is_noted(text: str, note: str) -> None:
    assert note in Analyst().parse(text, empty_bank(), candidates_of(empty_bank())).notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("In a gym in Accra, a skinny boxer named Kwame skips rope.", [("Accra", []), ("Kwame", ["boxer"])]),
        ("In the forest, Zara, a chef, a girl in a white apron, sings.", [("Zara", ["chef", "girl"])]),
        ("Beside her grandfather, an eagle on a rock shrieks.", [("", ["grandfather"]), ("", ["eagle"])]),
    ],
)
def test_where_a_sentence_begins_is_not_who_it_tells_of(text: str, told: list[tuple[str, list[str]]]) -> None:
    read = [
        (mention.name, mention.descriptions) for mention in Grammar(text, NOTHING).read() if mention.role == "character"
    ]
    assert read == told
