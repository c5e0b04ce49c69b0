"""The text for the video model says how the cast looks, in one form, and never contradicts the prompt."""

from __future__ import annotations

import pytest

from memreel.agent.analyst import Analyst
from memreel.agent.enrich import enrich
from memreel.benchmarks.cast import play

MIA = (
    "Mia, a young woman with red hair, a blue sweater and a green hat, walks into the library carrying a red notebook."
)


def last_enriched(*prompts: str) -> str:
    """Return the enriched text of a story's last prompt."""
    bank, told = play(Analyst(), prompts)
    return enrich(prompts[-1], told[-1], bank["cast"])


def test_a_bare_name_gets_its_looks_back() -> None:
    prompt = "Mia walks back into the library."
    assert last_enriched(MIA, prompt) == f"{prompt} Mia: red hair, blue sweater, green hat."


def test_an_object_gets_its_colour_back() -> None:
    assert last_enriched(MIA, "The notebook lies open.") == "The notebook lies open. Notebook: red."


def test_a_described_entity_is_left_alone() -> None:
    assert last_enriched(MIA) == MIA


def test_a_pronoun_is_explained_by_name() -> None:
    assert last_enriched(MIA, "She waves.") == "She waves. Mia: red hair, blue sweater, green hat."


def test_what_the_prompt_says_is_neither_repeated_nor_contradicted() -> None:
    told = last_enriched(MIA, "Mia, in a white coat, returns.")
    assert told == "Mia, in a white coat, returns. Mia: red hair, green hat."


def test_of_two_looks_at_one_place_the_later_counts() -> None:
    told = last_enriched(MIA, "Mia, in a white coat, returns.", "Mia waves.")
    assert told == "Mia waves. Mia: red hair, white coat, green hat.", "and the order is always the same"


@pytest.mark.parametrize("how", ["walks out", "says goodbye and walks off", "leaves"])
def test_who_leaves_is_described_after_who_comes(how: str) -> None:
    prompt = f"Tom {how}. Mia returns."
    told = last_enriched(MIA, "Tom, a man with black hair, enters.", prompt)
    assert told == f"{prompt} Mia: red hair, blue sweater, green hat. Tom: black hair."


def test_who_goes_out_into_something_is_still_to_be_seen() -> None:
    told = last_enriched(MIA, "Tom, a man with black hair, enters.", "Tom walks out into the rain. Mia returns.")
    assert told.endswith("Tom: black hair. Mia: red hair, blue sweater, green hat.")


def test_every_undescribed_entity_gets_one_clause() -> None:
    told = last_enriched(MIA, "Tom, a man with black hair, enters.", "Mia hands Tom the notebook.")
    assert told.endswith("notebook. Mia: red hair, blue sweater, green hat. Tom: black hair. Notebook: red.")


def test_a_prompt_without_full_stop_gets_one() -> None:
    assert last_enriched(MIA, "Mia waves").startswith("Mia waves. Mia: ")


@pytest.mark.parametrize("prompt", ["", "一只猫。", "Nobody is here."])
def test_without_known_entities_the_text_stays(prompt: str) -> None:
    assert enrich(prompt, [], {}) == prompt


def test_somebody_of_whom_only_the_kind_is_known_is_called_that() -> None:
    assert last_enriched("Tom, an old man, enters.", "Tom waves.") == "Tom waves. Tom: old man."
