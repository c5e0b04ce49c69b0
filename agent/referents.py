"""Referents: the characters and objects of one prompt with all it says of them, and the pronouns left open.

`discourse` makes them from mentions; the analyst ties them to the cast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from memreel.agent.lexicon import Gender
from memreel.agent.matching import Profile, profile
from memreel.memory.records import Kind, Presence


@dataclass
class Referent:
    """One character or object of a prompt.

    ``descriptions`` are compounds ("food critic"), the first being what it is called; ``adjectives`` what is said of it
    directly ("young", "red"), ``features`` what it has or wears ("red hair"). ``first`` is the form of its first
    mention; ``last`` the position of its last one. ``owner`` is whose brother or hat it is, where that is told;
    ``known_as`` are the nouns that earlier prompts have for it alone.
    """

    kind: Kind
    kind_of: str
    name: str = ""
    surface: str = ""
    descriptions: list[str] = field(default_factory=list)
    adjectives: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    gender: Gender | None = None
    plural: bool = False
    number: int | None = None
    first: Literal["name", "definite", "indefinite"] = "indefinite"
    newcomer: bool = False
    other: bool = False
    earliest: bool = False
    arriving: bool = False
    weak: bool = False
    possessed: bool = False
    owner: Referent | Open | None = None
    called_out: bool = False
    known_as: frozenset[str] = frozenset()
    clause: int = 0
    position: int = 0
    last: int = 0
    sentence: int = 0
    subject: bool = False
    seen: list[str] = field(default_factory=list)

    @property
    def presence(self) -> Presence:
        """Whether it is there, comes, goes, or is only spoken of."""
        return presence_of(self.seen)

    @property
    def entity(self) -> str:
        """The surface form for the records: the name, else the noun phrase without article and adjectives."""
        if self.plural and self.surface and not self.name:
            return self.surface
        return self.name or (self.descriptions[0] if self.descriptions else self.kind_of)

    @property
    def profile(self) -> Profile:
        """What of it decides identity."""
        forms = [self.name, *self.descriptions] if self.name else [self.entity, *self.descriptions[1:]]
        return profile(self.kind, [form for form in forms if form], [*self.adjectives, *self.features], self.gender)

    @property
    def attrs(self) -> list[str]:
        """The visual attributes as short phrases.

        Of somebody with a name (or a second description), what they are is one of them: "young woman", "dog".
        """
        spare = self.descriptions if self.name else self.descriptions[1:]
        if spare and self.kind_of == "person":
            said = [" ".join([*self.adjectives, spare[-1]]), *spare[:-1]]
        else:
            said = [*spare, *self.adjectives]
        return [*said, *(feature for feature in self.features if feature not in said)]


@dataclass
class Open:
    """A pronoun or plural that nothing in the prompt explains; ``number`` is how many it stands for.

    ``name``: what the prompt says that they are called. ``subject``: it acts in its clause, number ``clause``.

    ``perhaps``: the one person in the prompt for whom a "they" may stand if nobody knows more.
    """

    position: int
    pronoun: str
    gender: Gender | None
    number: int
    attrs: list[str] = field(default_factory=list)
    perhaps: Referent | None = None
    name: str = ""
    subject: bool = False
    clause: int = 0
    seen: list[str] = field(default_factory=list)


@dataclass
class Discourse:
    """What a prompt speaks of, in order of first mention."""

    referents: list[Referent]
    open: list[Open]
    place: str = ""


def presence_of(seen: Sequence[str]) -> Presence:
    """Sum up how somebody's mentions say that they are there ("" for nothing special)."""
    for move in reversed(seen):
        if move in ("enters", "leaves"):
            return "enters" if move == "enters" else "leaves"
    return "mentioned" if seen and all(how == "mentioned" for how in seen) else "present"
