"""What is made of the coreference network's scores: who is meant by a word, by several, by a pronoun."""

from __future__ import annotations

import torch

from memreel.agent.chains import DOUBT, Heard, chains
from memreel.agent.pages import words_of


def heard(text: str, members: int, links: dict[tuple[int, int], float], several: tuple[int, ...] = ()) -> list[Heard]:
    """Decide with all words but "and" a character each; ``links`` are scores of (word, column), all others -9."""
    words = words_of(text)
    kinds = torch.tensor([[0.9, 0.1, 0.0] if word.text in ("and", "two") else [0.1, 0.9, 0.0] for word in words])
    pairs = torch.full((len(words), members + len(words)), -9.0)
    for (word, column), score in links.items():
        pairs[word, column] = score
    return chains(words, members, kinds, torch.tensor([i in several for i in range(len(words))]), pairs)


def told(found: list[Heard]) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(one.word.text, one.group, one.members) for one in found]


def test_a_word_is_whom_it_is_likeliest_or_new() -> None:
    found = heard("Mia Tom woman", 2, {(0, 0): 3.0, (0, 1): 1.0, (2, 0): 1.0, (2, 3): 2.0})
    assert told(found) == [("Mia", 0, (0,)), ("Tom", 1, ()), ("woman", 1, ())]


def test_a_pronoun_is_never_somebody_new() -> None:
    assert told(heard("She waits", 1, {(0, 0): DOUBT + 1})) == [("She", 0, (0,)), ("waits", 1, ())]
    assert told(heard("She waits", 1, {(0, 0): DOUBT - 1})) == [("waits", 0, ())]


def test_several_are_each_of_them() -> None:
    found = heard("They Mia both", 3, {(0, 0): 2.0, (0, 2): 1.0, (1, 0): 4.0, (2, 3): 1.0}, several=(0, 2))
    assert told(found) == [("They", 0, (0,)), ("They", 1, (2,)), ("Mia", 0, (0,)), ("both", 0, (0,)), ("both", 1, (2,))]


def test_of_a_new_crowd_others_may_be_told_one_by_one() -> None:
    found = heard("sisters Lin and Wen", 0, {(1, 0): 5.0, (3, 0): 5.0}, several=(0,))
    assert [(one.group, one.among) for one in found] == [(0, None), (1, 0), (2, 0)]


def test_several_who_are_counted_are_so_many_and_told_apart_in_order() -> None:
    links = {(2, 1): 2.0, (3, 1): 2.0, (4, 1): 3.0, (5, 2): 4.0}
    found = heard("two men one other they tall", 0, links, several=(1, 4))
    assert [(one.word.text, one.group, one.counted) for one in found] == [
        ("men", 0, True),
        ("men", 1, True),
        ("one", 0, False),
        ("other", 1, False),
        ("they", 0, False),
        ("they", 1, False),
        ("tall", 0, False),
    ]


def test_he_is_none_of_those_who_are_told_of_together() -> None:
    found = heard("two men he", 0, {(2, 1): 2.0}, several=(1,))
    assert [one.word.text for one in found] == ["men", "men"]
