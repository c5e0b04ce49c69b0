"""The cast as a story told of it: who is called what, of which gender, and who was spoken of last.

The bank keeps entities and prompts; recency and the pronouns that somebody takes are read again from its latest
prompts. This module decides nothing about identity.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from memreel.agent.discourse import read
from memreel.agent.lexicon import Gender
from memreel.agent.matching import Profile, profile_of
from memreel.agent.mention import Told
from memreel.agent.names import is_name, share_name
from memreel.agent.referents import Referent
from memreel.memory.records import BankState, CastMember, Entity

MEMORY_OF_PROMPTS = 8
"""Earlier prompts that are read again for recency and pronouns."""


@dataclass(frozen=True)
class Known:
    """A cast member with what the story told of it: its profile and when it was last mentioned (larger is later)."""

    member: CastMember
    profile: Profile
    last: tuple[int, int]

    @property
    def global_id(self) -> int:
        """The cast member's ID."""
        return self.member["global_id"]


def known_cast(bank: BankState) -> list[Known]:
    """Return the cast with profiles, pronoun evidence and recency, read from the bank's records."""
    names = Told(names=names_of(bank))
    genders: dict[int, Gender] = {}
    last: dict[int, tuple[int, int]] = {}
    for prompt_id in sorted(map(int, bank["prompts"]))[-MEMORY_OF_PROMPTS:]:
        record = bank["prompts"][str(prompt_id)]
        discourse = read(record["text"], names)
        for order, entity in enumerate(record["entities"]):
            global_id = entity["global_id"]
            told = next((r for r in discourse.referents if _is_told(r, entity)), None)
            last[global_id] = (prompt_id, told.last if told else order)
            if told is not None and told.gender:
                genders[global_id] = told.gender
            for waiting in discourse.open:
                if told is None and waiting.gender and waiting.number == 1 and entity["kind"] == "character":
                    genders.setdefault(global_id, waiting.gender)
    return [
        Known(member, profile_of(member, genders.get(int(key))), last.get(int(key), (0, 0)))
        for key, member in bank["cast"].items()
    ]


def _is_told(referent: Referent, entity: Entity) -> bool:
    if referent.name and is_name(entity["entity"]):
        return share_name(referent.name, entity["entity"])
    return referent.entity == entity["entity"] and set(entity["attrs"]) >= set(referent.attrs[:1])


def told_of(bank: BankState, cast: list[Known]) -> Told:
    """Return what a story told so far, for the reading of its next prompt."""
    characters, things = (
        {noun for known in cast if known.member["kind"] == kind for noun in known.profile.nouns}
        for kind in ("character", "object")
    )
    return Told(
        names_of(bank),
        _genders_of(cast),
        frozenset(characters - things),
        frozenset(things - characters),
        _nouns_of(cast),
    )


def names_of(bank: BankState) -> frozenset[str]:
    """Return every proper name in the cast."""
    return frozenset(
        name for member in bank["cast"].values() for name in (member["name"], *member["all_entities"]) if is_name(name)
    )


def _genders_of(cast: list[Known]) -> frozenset[tuple[str, Gender]]:
    """Return the gender of every name and noun of the cast that stands for one gender only."""
    told: dict[str, set[Gender | None]] = {}
    for known in cast:
        if known.member["kind"] == "character":
            for called in {*known.profile.names, *known.profile.nouns}:
                told.setdefault(called, set()).add(known.profile.gender)
    return frozenset(
        (called, gender) for called, genders in told.items() if len(genders) == 1 for gender in genders if gender
    )


def _nouns_of(cast: list[Known]) -> frozenset[tuple[str, str]]:
    """Return (name, noun) of what the named ones are and nobody else is: "Bart", "terrier"."""
    characters = [known for known in cast if known.member["kind"] == "character"]
    told = Counter(noun for known in characters for noun in {*known.profile.nouns})
    return frozenset(
        (name, noun)
        for known in characters
        for name in known.profile.names
        for noun in known.profile.nouns
        if told[noun] == 1
    )
