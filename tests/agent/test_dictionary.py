"""What a word may be by itself: verbs that are nouns too, words that nobody has learnt, singulars."""

from __future__ import annotations

import pytest

from memreel.agent import dictionary
from memreel.agent.dictionary import LONGEST_WORD


def test_a_word_that_is_mostly_a_noun_may_be_a_verb() -> None:
    assert dictionary.may_be_verb("watches")
    assert not dictionary.may_be_verb("trips")
    assert dictionary.might_be_verb("trips")
    assert not dictionary.might_be_verb("lighthouse")


def test_words_are_told_from_names_and_inventions() -> None:
    assert dictionary.is_word("river")
    assert not dictionary.is_word("tico")
    assert dictionary.is_in_dictionary("river")
    assert not dictionary.is_in_dictionary("zorblax")
    assert dictionary.is_noun("river")
    assert not dictionary.is_noun("beautiful")
    assert dictionary.may_be_function_word("never")
    assert not dictionary.may_be_function_word("river")


@pytest.mark.parametrize(
    ("noun", "one"), [("children", "child"), ("puppies", "puppy"), ("ties", "tie"), ("dog", "dog")]
)
def test_a_noun_has_a_singular(noun: str, one: str) -> None:
    assert dictionary.singular(noun) == one


@pytest.mark.parametrize("word", ["", "река", "x" * (LONGEST_WORD + 1)])
def test_what_cannot_be_english_is_no_word_class_at_all(word: str) -> None:
    assert not dictionary.might_be_verb(word)
    assert not dictionary.may_be_function_word(word)
    assert not dictionary.is_in_dictionary(word)
    assert not dictionary.is_noun(word)
    assert dictionary.singular(word) == word
