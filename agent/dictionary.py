"""What a word may be by itself: a verb, a noun, a word at all; and what the singular of a noun is.

The answers are those of the Hanover Tagger's English model (BNC basic tags, see `memreel.agent.tagging`), which comes
inside its package. It has a dictionary and guesses other words by their letters: where a question is about what it has
learnt, its likelihoods tell the two apart.

This module knows single words only, not the text that they stand in, which may make them something else, nor what they
denote: that is `memreel.agent.lexicon`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

LONGEST_WORD = 40
"""Longer "words" are no English; the tagger's cost grows with the square of a word's length."""
DICTIONARY = -25.0
"""Log-likelihood that the tagger gives the words of its dictionary; those that it guesses lie below -28."""

_LATIN = re.compile(r"[A-Za-zÀ-ɏḀ-ỿ]")


@lru_cache(maxsize=1)
def tagger() -> Any:
    """Return the Hanover Tagger with its English model, which is read once."""
    from HanTa.HanoverTagger import HanoverTagger

    return HanoverTagger("morphmodel_en.pgz")


def starts_latin(word: str) -> bool:
    """Tell whether a word begins with a Latin letter, as every word does that the tagger can know."""
    return _LATIN.match(word) is not None


def _may_be_english(word: str) -> bool:
    return len(word) <= LONGEST_WORD and starts_latin(word)


@lru_cache(maxsize=8192)
def may_be_verb(word: str) -> bool:
    """Tell whether a word can be a finite verb, however it was tagged ("watches", "stand")."""
    if not _may_be_english(word):
        return False
    return any(mark in ("VVZ", "VVB", "VVD") for mark, _ in tagger().tag_word(word, casesensitive=False))


@lru_cache(maxsize=8192)
def might_be_verb(word: str) -> bool:
    """Tell whether a word can be a verb at all, be it rarely: "trips", "surfaces"."""
    if not _may_be_english(word):
        return False
    if may_be_verb(word):
        return True
    stem = word.removesuffix("s")
    return any(mark in ("VVI", "VVB", "VVZ") for mark, _ in tagger().tag_word(stem, casesensitive=False))


@lru_cache(maxsize=8192)
def may_be_function_word(word: str) -> bool:
    """Tell whether a lower-case word can be an adverb, an article, a preposition or the like: "never", "the", "on"."""
    if not _may_be_english(word):
        return False
    return any(mark in ("AV0", "XX0", "AT0", "PRP", "CJC", "DT0") for mark, _ in tagger().tag_word(word))


@lru_cache(maxsize=8192)
def is_in_dictionary(word: str) -> bool:
    """Tell whether the tagger has learnt a lower-case word as a common noun, rather than guessing what it is."""
    if not _may_be_english(word):
        return False
    return any(mark in ("NN1", "NN0", "NN2") and likely > DICTIONARY for mark, likely in tagger().tag_word(word))


@lru_cache(maxsize=8192)
def is_word(word: str) -> bool:
    """Tell whether the tagger has learnt a lower-case word as anything but a name."""
    if not _may_be_english(word):
        return True
    return any(mark != "NP0" and likely > DICTIONARY for mark, likely in tagger().tag_word(word))


@lru_cache(maxsize=8192)
def is_noun(word: str) -> bool:
    """Tell whether a lower-case word is a noun before it is anything else."""
    if not _may_be_english(word):
        return False
    return next((mark in ("NN1", "NN0") for mark, _ in tagger().tag_word(word)), False)


@lru_cache(maxsize=8192)
def singular(noun: str) -> str:
    """Return the lemma of a lower-case noun: "children" is "child"."""
    if not _may_be_english(noun):
        return noun
    if not any(mark == "NN2" for mark, _ in tagger().tag_word(noun)):
        return noun
    lemma = str(tagger().analyze(noun, pos="NN2")[0]).lower()
    return lemma[:-2] + "y" if lemma.endswith("ie") and len(lemma) > 4 else lemma
