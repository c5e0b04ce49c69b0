"""Whether two names may be one person's."""

from __future__ import annotations

import pytest

from memreel.agent.names import gender_of_name, is_short_for, share_name


@pytest.mark.parametrize(
    ("one", "two"),
    [("Chen", "Dr. Chen"), ("Anna", "Anna Maria"), ("Lady Ashby", "Eleanor Ashby"), ("Brother Benedict", "Benedict")],
)
def test_a_part_or_a_title_is_the_same_name(one: str, two: str) -> None:
    assert share_name(one, two)
    assert share_name(two, one)


@pytest.mark.parametrize(
    ("one", "two"),
    [("Ines Castellan", "Mateo Castellan"), ("Rosalind Vane", "Percy Vane"), ("Mr. Hakim", "Mrs. Hakim")],
)
def test_a_surname_may_be_two_peoples(one: str, two: str) -> None:
    assert not share_name(one, two)
    assert not share_name(two, one)


@pytest.mark.parametrize(
    ("short", "long"),
    [("Bea", "Beatriz"), ("Winnie", "Winifred"), ("Eddie", "Edward"), ("Cathy", "Catherine"), ("Bill", "William")],
)
def test_pet_names_are_short_for_names(short: str, long: str) -> None:
    assert is_short_for(short, long)
    assert is_short_for(long, short)


@pytest.mark.parametrize(("one", "two"), [("Ann", "Anna"), ("Lucy", "Lucas"), ("Marie", "Marcus"), ("Mia", "Tom")])
def test_like_names_are_two(one: str, two: str) -> None:
    assert not is_short_for(one, two)
    assert not is_short_for(two, one)


def test_first_names_tell_a_gender_and_surnames_do_not() -> None:
    told = {name: gender_of_name(name) for name in ("Mia", "Captain Omar Reyes", "Nkechi", "Captain Otto", "Xyzzy")}
    assert told == {"Mia": "she", "Captain Omar Reyes": "he", "Nkechi": "she", "Captain Otto": None, "Xyzzy": None}
