"""Referents: a character or an object of one prompt with all that it says of it, in the words of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memreel.memory.records import Kind, Presence


@dataclass
class Referent:
    """One character or object of a prompt.

    ``descriptions`` are compounds ("food critic"), the first being what it is called, ``kind_of`` the noun class;
    ``adjectives`` what is said of it directly ("young", "red"), ``features`` what it has or wears ("red hair").
    ``surface`` is what several are called as one ("two dancers"); ``seen`` how its mentions say that it is there.
    """

    kind: Kind
    kind_of: str
    name: str = ""
    surface: str = ""
    descriptions: list[str] = field(default_factory=list)
    adjectives: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    plural: bool = False
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


def presence_of(seen: Sequence[str]) -> Presence:
    """Sum up how somebody's mentions say that they are there ("" for nothing special)."""
    for move in reversed(seen):
        if move in ("enters", "leaves"):
            return "enters" if move == "enters" else "leaves"
    return "mentioned" if seen and all(how == "mentioned" for how in seen) else "present"
