"""What a word denotes: the class of a noun, whether an adjective can be seen, which pronoun a name takes.

Listed words are looked up in ``lexicon.yaml``. Every other word is classified by a linear probe over the frozen
sentence encoder, fitted by ridge regression to the same lists, so the lists are examples and not an inventory. The
fitted probes are shipped as ``lexicon.npz``; ``python -m memreel.agent.lexicon`` makes them anew.

This module knows single words only: no grammar, no cast. Parts of speech are `memreel.agent.dictionary`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml

from memreel.agent.dictionary import LONGEST_WORD, is_in_dictionary, might_be_verb
from memreel.agent.first_names import first_names
from memreel.errors import MemreelError

FOLDER = Path(__file__).parent
WORDS = FOLDER / "lexicon.yaml"
PROBES = FOLDER / "lexicon.npz"
RIDGE = 0.3
"""Regularisation of the probes; 0.1 to 1 give the same leave-one-out accuracy."""
MOST_TITLES = 4
"""Words of a name that may be titles."""
LEAD = 0.08
"""By how much a noun's class must lead those of another role; what is less clear is better no entity at all."""
PERSON = 0.2
"""The same for people, whose place in the space is wide ("career" lies near it), and things of no dictionary."""
SURE = 0.5
"""The same where the word's parts need not be looked at: "barbershop" is a shop."""
TITLE = 0.5
"""The same for a word before a name, where first names look like people: "Inspector Lavoie", "Zadie Okonjo"."""
ROLES = {
    "person": "character",
    "animal": "character",
    "being": "character",
    "portable": "object",
    "vehicle": "object",
    "garment": "worn",
    "body": "worn",
}
"""What a class is in a story; every other class is scenery."""

ABSTRACT_ENDINGS = ("ness", "ment", "tion", "sion", "ity", "ship", "hood", "ance", "ence", "ism", "ing")
"""Endings of unlisted nouns that name no thing and nobody."""

Gender = Literal["female", "male"]
CARRIERS = {"nouns": "a {}", "adjectives": "{}", "verbs": "to {} it"}
"""The phrase in which a word of each probe is embedded."""


class Lexicon:
    """The word lists and the probes fitted to them."""

    def __init__(self, words: Mapping[str, Any], probes: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Index the lists of ``lexicon.yaml``; ``probes`` maps a list's name to its ``[385, classes]`` weights."""
        self.words = words
        self.probes = probes
        self.listed: dict[str, dict[str, str]] = {
            table: {
                word: label for label, members in reversed(words[table].items()) for word in map(str.lower, members)
            }
            for table in CARRIERS
        }
        self.covers: dict[str, str] = {noun: place for place, nouns in words["worn_on"].items() for noun in nouns}
        self.covers.update({mark: mark for mark in words["marks"]})
        self.bodily: dict[str, str] = words["bodily_adjectives"]
        self._gendered: dict[str, Gender] = {
            word: label for label, members in words["gender"].items() for word in members
        }

    def group(self, name: str) -> frozenset[str]:
        """Return one of the flat word groups (``wearing``, ``bearing``, ``measures``, ``locative``, ``arriving``)."""
        return self._groups[name]

    @cached_property
    def _groups(self) -> dict[str, frozenset[str]]:
        return {
            name: frozenset(members)
            for name, members in self.words.items()
            if isinstance(members, list) and isinstance(members[0], str)
        }

    def titles_in(self, name: str) -> list[str]:
        """Return what a name's titles say that somebody is: "doctor" of "Dr. Chen", "captain" of "Captain Flint"."""
        front = name.lower().split()[:-1][:MOST_TITLES]
        titles: dict[str, str] = self.words["titles"]
        return [titles.get(word, word) for word in front if self._is_title(word)]

    def is_only_title(self, name: str) -> bool:
        """Tell whether a name only says what somebody is, as one is called by those who know: "Father", "Captain"."""
        return all(self._is_title(word) for word in name.lower().split())

    def without_titles(self, name: str) -> list[str]:
        """Return the words of a name, in lower case, that are no titles: "chen" of "Captain Chen"."""
        words = name.lower().split()
        titles = min(MOST_TITLES, len(words) - 1)
        return [
            word for i, word in enumerate(words) if i >= titles or not (self._is_title(word) or self._is_epithet(word))
        ]

    def _is_epithet(self, word: str) -> bool:
        return word in self.group("name_epithets")

    def _is_title(self, word: str) -> bool:
        if word in self.words["titles"] or self.listed["nouns"].get(word) == "person":
            return True
        label, _, lead = self._probe("nouns", word)
        return label == "person" and lead >= TITLE and word not in first_names() and is_in_dictionary(word)

    def reciprocals(self, kin: str) -> frozenset[str]:
        """Return what somebody is to their "sister", "father", "pupil" …: nothing for nouns that are no such tie."""
        found = [other for one, other in self.words["kin"] if kin in one]
        found += [one for one, other in self.words["kin"] if kin in other]
        return frozenset(noun for members in found for noun in members)

    def is_generic(self, noun: str) -> bool:
        """Tell whether the noun can stand for almost anyone of its kind ("man", "animal")."""
        return any(noun in members for members in self.words["generic"].values())

    def is_listed(self, noun: str) -> bool:
        """Tell whether the noun stands in the lists themselves."""
        return noun in self.listed["nouns"]

    def noun_class(self, noun: str) -> str:
        """Return the class of a noun or compound: person, animal, being, portable, vehicle, garment, … or "unsure".

        A compound that is not listed has the class of its last word.
        """
        noun = noun.lower()
        table = self.listed["nouns"]
        for form in (noun, noun.rsplit(" ", 1)[-1]):
            if form in table:
                return table[form]
            if form.endswith("s") and form[:-1] in table:
                return table[form[:-1]]
            if f"{form}s" in table:
                return table[f"{form}s"]
        last = noun.rsplit(" ", 1)[-1]
        if "-" in last and (tail := last.rsplit("-", 1)[-1]) in table:
            return table[tail]
        for ending in ("woman", "man", "girl", "boy"):
            if last.endswith(ending):
                return "person"
        if last.endswith(ABSTRACT_ENDINGS):
            return "abstract"
        label, _, lead = self._probe("nouns", last)
        if lead < SURE and (tail := self._closed_compound(last)):
            return table[tail]
        if self._is_doer(last) and label == "person":
            return label if lead >= LEAD else "unsure"
        if lead < PERSON and (label == "person" or (label == "portable" and not is_in_dictionary(last))):
            return "unsure"
        return label if lead >= LEAD else "unsure"

    def _is_doer(self, noun: str) -> bool:
        """Tell whether a noun is made from a verb for who does it: "heckler"."""
        return noun.endswith(("er", "or")) and any(might_be_verb(stem) for stem in (noun[:-1], noun[:-2]))

    def _closed_compound(self, noun: str) -> str:
        """Return the listed noun that a compound written as one word ends in: "shop" of "barbershop"."""
        for cut in range(3, len(noun) - 3):
            if noun[cut:] in self.listed["nouns"] and noun[cut - 1] != "s" and is_in_dictionary(noun[:cut]):
                return noun[cut:]
        return ""

    def adjective_class(self, adjective: str) -> str:
        """Return colour, size, age, look (seen) or unseen."""
        adjective = adjective.lower()
        if adjective in self.listed["adjectives"]:
            return self.listed["adjectives"][adjective]
        if "-" in adjective:
            stem, tail = adjective.rsplit("-", 1)
            if tail in self.bodily or tail in ("colored", "coloured", "covered", "rimmed", "clad"):
                return "look"
            if self.listed["adjectives"].get(tail) == "colour":
                return "colour"
            if self.listed["adjectives"].get(stem) in ("colour", "look"):
                return "look"
        return self._probe("adjectives", adjective)[0]

    def is_handling(self, verb: str) -> bool:
        """Tell whether a verb says what one does to a thing with one's hands or mouth, so that its object is one."""
        verb = verb.lower()
        listed = self.listed["verbs"].get(verb)
        return (listed or self._probe("verbs", verb)[0]) == "handling" if verb else False

    def is_young(self, age: str) -> bool:
        """Tell whether an adjective of age says young."""
        return age.lower() in self.words["young"]

    def age_of(self, nouns: Sequence[str]) -> str | None:
        """Return the age that nouns imply ("old" for a grandmother, "young" for a girl), or none."""
        lasts = {noun.rsplit(" ", 1)[-1] for noun in nouns}
        if lasts & self.group("old_people"):
            return "old"
        return "young" if lasts & self.group("young_people") else None

    def colour(self, words: Sequence[str]) -> str | None:
        """Return the first colour among lower-case words, hyphened ones included."""
        table = self.listed["adjectives"]
        for word in words:
            for part in (word, *word.split("-")):
                if table.get(part) == "colour":
                    return part
        return None

    def same_colour(self, one: str, two: str) -> bool:
        """Tell whether two colour words name about the same colour ("crimson", "red")."""
        return any({one, two} <= set(family) for family in self.words["colour_families"])

    def gender_of_noun(self, noun: str) -> Gender | None:
        """Return the gender that a noun states ("mother", "policewoman"), or none."""
        last = noun.lower().rsplit(" ", 1)[-1]
        if last in self._gendered:
            return self._gendered[last]
        if last.endswith("woman"):
            return "female"
        if last.endswith("man") and last != "human":
            return "male"
        if self.reciprocals(last):  # "grandson", "stepmother"
            return next((self._gendered[word] for word in self._gendered if last.endswith(word)), None)
        return None

    def _probe(self, table: str, word: str) -> tuple[str, float, float]:
        return _classify(self, table, word[:LONGEST_WORD])

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@lru_cache(maxsize=8192)
def _classify(lexicon: Lexicon, table: str, word: str) -> tuple[str, float, float]:
    """Return the best class of an unlisted word, its lead over the second, and over the best of another role."""
    from memreel.model.minilm import sentence_encoder

    embedding = sentence_encoder().embed([CARRIERS[table].format(word)])[0]
    scores = np.append(embedding, 1.0) @ lexicon.probes[table]
    labels = list(lexicon.words[table])
    order = np.argsort(-scores)
    best = labels[order[0]]
    rival = next((i for i in order if ROLES.get(labels[i]) != ROLES.get(best)), order[1])
    return best, float(scores[order[0]] - scores[order[1]]), float(scores[order[0]] - scores[rival])


def fit(words: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """Fit a ridge regression from a word's embedding (and a constant 1) to its class, one for each list."""
    from memreel.model.minilm import sentence_encoder

    probes: dict[str, npt.NDArray[np.float32]] = {}
    for table, carrier in CARRIERS.items():
        labels = list(words[table])
        examples = [
            (carrier.format(word.lower()), labels.index(label)) for label in labels for word in words[table][label]
        ]
        embeddings = sentence_encoder().embed([text for text, _ in examples])
        inputs = np.concatenate([embeddings, np.ones((len(examples), 1), np.float32)], axis=1)
        targets = np.eye(len(labels), dtype=np.float32)[[label for _, label in examples]]
        gram = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1], dtype=np.float32)
        probes[table] = np.linalg.solve(gram, inputs.T @ targets).astype(np.float32)
    return probes


def digest(path: Path = WORDS) -> str:
    """Return the SHA-256 of the word lists, by which shipped probes are known to belong to them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(path: Path = PROBES) -> None:
    """Fit the probes to ``lexicon.yaml`` and write them beside it."""
    probes: dict[str, Any] = dict(fit(_read_words()))
    np.savez_compressed(path, digest=np.array(digest()), **probes)


def _read_words() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    words: dict[str, Any] = yaml.load(WORDS.read_text("utf-8"), Loader=loader)
    return words


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return the shipped lexicon.

    Raises:
        MemreelError: the probes do not belong to the word lists.
    """
    with np.load(PROBES) as file:
        probes = {name: file[name] for name in CARRIERS}
        made_for = str(file["digest"])
    if made_for != digest():
        raise MemreelError(f"{PROBES.name} was not made from {WORDS.name}: run python -m memreel.agent.lexicon")
    return Lexicon(_read_words(), probes)


if __name__ == "__main__":
    build()
