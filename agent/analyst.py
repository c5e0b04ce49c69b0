"""The analyst: reads prompts by grammar, word classes and the cast, without any LLM.

It takes a prompt's referents from `discourse`, ties pronouns and descriptions to the cast where the text decides it
("Mia", "she", "the two of them", "another man"), and leaves the rest to `matching`. It keeps nothing between prompts;
the history it needs (who was mentioned last, which pronoun someone takes) it reads again from the bank's prompts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memreel.agent.antecedents import link
from memreel.agent.dictionary import LONGEST_WORD
from memreel.agent.discourse import read
from memreel.agent.identity import decide
from memreel.agent.known import Known, known_cast, told_of
from memreel.agent.lexicon import Gender, lexicon
from memreel.agent.matching import assign
from memreel.agent.reading import (
    LONGEST_ATTRIBUTE,
    LONGEST_ENTITY,
    LONGEST_PLACE,
    MOST_ATTRIBUTES,
    MOST_ENTITIES,
    Candidates,
    ParsedEntity,
    Reading,
    with_presence,
)
from memreel.agent.referents import Discourse, Open, Referent, presence_of
from memreel.agent.tagging import split
from memreel.memory.records import BankState, Entity, Kind, Presence

if TYPE_CHECKING:
    from memreel.agent.llm import Chat


@dataclass
class SureReadings:
    """A prompt's discourse with what its words decide.

    ``resolved`` maps a referent's ``id()`` to a global ID (groups have negative keys); ``grouped`` are the members that
    "the two women" stands for, by position, ``alone`` all other referents.
    """

    cast: list[Known]
    discourse: Discourse
    resolved: dict[int, int] = field(default_factory=dict)
    grouped: list[tuple[int, Known]] = field(default_factory=list)
    alone: list[Referent] = field(default_factory=list)

    @property
    def undecided(self) -> list[Referent]:
        """The referents that may be anybody."""
        return [referent for referent in self.alone if id(referent) not in self.resolved]

    def owner_of(self, referent: Referent) -> int | None:
        """Return whose sister or hat a referent is, as far as the prompt and the latest ones tell."""
        if isinstance(referent.owner, Open):
            found = _antecedents(referent.owner, self.cast, set(self.resolved.values()), 0)
            return found[0].global_id if len(found) == 1 else None
        return self.resolved.get(id(referent.owner))


def sure_readings(prompt: str, bank: BankState) -> SureReadings:
    """Read a prompt and resolve what its words decide, names first: whoever is named is nobody else's "the pilot"."""
    cast = known_cast(bank)
    sure = SureReadings(cast, read(prompt, told_of(bank, cast)))
    for referent in sorted(sure.discourse.referents, key=lambda r: (r.weak, not r.name, r.position)):
        taken = {*sure.resolved.values()}
        if group := _group(referent, cast, taken):
            for known in group:
                if known.global_id not in taken:
                    sure.resolved[-1 - len(sure.resolved)] = known.global_id
                    sure.grouped.append((referent.position, known))
            continue
        sure.alone.append(referent)
        same = decide(referent, cast, taken)
        if same is not None:
            sure.resolved[id(referent)] = same
    return sure


class Analyst:
    """Reads prompts without a chat model."""

    name = "analyst"
    chat: Chat | None = None

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:  # noqa: ARG002
        """Read a prompt's entities."""
        notes = _unread(prompt)
        sure = sure_readings(prompt, bank)
        cast, discourse, resolved = sure.cast, sure.discourse, sure.resolved
        link(sure.undecided, cast, bank, sure.owner_of, resolved)
        entities = [
            (position, _parsed(known.member["name"], known.member["kind"], [], known.global_id))
            for position, known in sure.grouped
        ]
        for referent in sure.alone:
            same = resolved.get(id(referent))
            if referent.weak and same is None:
                continue
            new = referent.newcomer or (same is None and referent.first != "definite")
            parsed = _parsed(referent.entity, referent.kind, referent.attrs, same, new, referent.presence)
            entities.append((referent.position, parsed))
        for waiting in sorted(discourse.open, key=lambda w: w.number):
            if waiting.perhaps is not None and not _has_gender(resolved.get(id(waiting.perhaps)), cast):
                continue  # "they" of one person
            if _is_named_next(waiting, sure.alone, resolved, cast):
                continue  # "The bird nips her finger, and Hua laughs."
            here = sum(entity["kind"] == "character" for _, entity in entities)
            if waiting.pronoun == "them":  # not who acts: "Pia sets down two glasses in front of them"
                here -= sum(r.subject and r.clause == waiting.clause and not r.weak for r in sure.alone)
            for known in _antecedents(waiting, cast, set(resolved.values()), here):
                resolved[-1 - len(resolved)] = known.global_id
                parsed = _parsed(
                    waiting.name or known.member["name"],
                    known.member["kind"],
                    waiting.attrs,
                    known.global_id,
                    presence=presence_of(waiting.seen),
                )
                entities.append((waiting.position, parsed))
        entities.sort(key=lambda item: item[0])
        if len(entities) > MOST_ENTITIES:
            notes.append(f"{len(entities)} entities; the first {MOST_ENTITIES} were kept")
        if any(len(referent.entity) > LONGEST_ENTITY for referent in discourse.referents):
            notes.append(f"names and descriptions were cut to {LONGEST_ENTITY} characters")
        kept = [entity for _, entity in entities[:MOST_ENTITIES]]
        return Reading(kept, self.name, discourse.place[:LONGEST_PLACE], notes)

    def match(
        self,
        prompt: str,  # noqa: ARG002
        parsed: list[ParsedEntity],
        bank: BankState,
        candidates: Candidates,
    ) -> list[Entity]:
        """Give every parsed entity a global ID."""
        recent = sorted(known_cast(bank), key=lambda known: known.last, reverse=True)
        return with_presence(parsed, assign(parsed, bank, candidates, [known.global_id for known in recent]))


def _unread(prompt: str) -> list[str]:
    """Say what of a prompt is in a script whose words the analyst does not know."""
    foreign = sum(letter.isalpha() and not unicodedata.name(letter, "LATIN").startswith("LATIN") for letter in prompt)
    notes = [f"{foreign} letters are not Latin; the analyst reads English"] if foreign else []
    longest = max(map(len, prompt.split()), default=0)
    if longest > LONGEST_WORD and any(len(word) > LONGEST_WORD for sentence in split(prompt) for word in sentence):
        notes.append(f"words of more than {LONGEST_WORD} letters were left out")
    return notes


def _is_named_next(waiting: Open, referents: list[Referent], resolved: dict[int, int], cast: list[Known]) -> bool:
    """Tell whether a pronoun that does not act is who was spoken of last, and is named in a later clause."""
    if waiting.subject or waiting.number != 1 or waiting.gender is None:
        return False
    latest = [known for known in cast if _gender(known) == waiting.gender]
    last = max(latest, key=lambda known: known.last).global_id if latest else None
    return any(
        resolved.get(id(referent)) == last and referent.name and referent.clause > waiting.clause
        for referent in referents
        if last is not None and referent.position > waiting.position
    )


def _group(referent: Referent, cast: list[Known], taken: set[int]) -> list[Known]:
    """Return the recent cast members that "the two women" stands for, or nothing."""
    if not (referent.plural and referent.first == "definite" and referent.kind == "character"):
        return []
    words = lexicon()
    called = referent.descriptions[0]
    gender = words.gender_of_noun(called)
    everyone = [known for known in cast if known.member["kind"] == "character"]
    people = [
        known
        for known in sorted(everyone, key=lambda known: known.last, reverse=True)
        if known.global_id not in taken
        and _is_kind(known, referent.kind_of)
        and (gender is None or _gender(known) in (gender, None))
    ]
    if referent.number is None:  # "the sisters look at each other, and Wen weeps": Wen is one of them
        people = [known for known in everyone if _is_kind(known, referent.kind_of)]
    same = [known for known in people if called in known.profile.nouns]
    if referent.number is None:
        alone = len(same) > 1 and not any(referent.entity in known.profile.nouns for known in people)
        return sorted(same, key=lambda known: known.global_id) if alone else []
    if len(same) >= referent.number:
        people = same
    elif any(referent.entity in known.profile.nouns for known in people):
        return []  # they came as one entity: "two dancers"
    elif same and len(people) < referent.number:  # "the two penguins": one was called so, the others not otherwise
        people = same + [
            known
            for known in sorted(cast, key=lambda known: known.last, reverse=True)
            if known not in same and known.profile.names and known.global_id not in taken
        ]
    chosen = people[: referent.number] if len(people) >= referent.number else []
    return sorted(chosen, key=lambda known: known.global_id)


def _is_kind(known: Known, kind_of: str) -> bool:
    """Tell whether a member is a person, an animal or a being, as far as its nouns say; a bare name is a person."""
    kinds = {lexicon().noun_class(noun) for noun in known.profile.nouns}
    return kind_of in kinds if kinds else kind_of == "person"


def _has_gender(global_id: int | None, cast: list[Known]) -> bool:
    return any(known.global_id == global_id and _gender(known) for known in cast)


def _gender(known: Known) -> Gender | None:
    """Return a member's gender: as the story told it, else as its name suggests."""
    if known.profile.gender or not known.profile.names:
        return known.profile.gender
    return lexicon().gender_of_name(known.profile.names[0])


def _antecedents(waiting: Open, cast: list[Known], taken: set[int], here: int) -> list[Known]:
    """Return who an unexplained pronoun stands for: the most recently mentioned who can be meant."""
    recent = sorted(
        (known for known in cast if known.global_id not in taken), key=lambda known: known.last, reverse=True
    )
    if waiting.pronoun in ("it", "its"):
        return [
            known
            for known in recent
            if known.member["kind"] == "object" or (known.profile.gender is None and not _is_kind(known, "person"))
        ][:1]
    people = [known for known in recent if known.member["kind"] == "character"]
    people.sort(key=lambda known: not _is_kind(known, "person"))
    if waiting.gender is not None:
        sure = [known for known in people if _gender(known) == waiting.gender]
        unknown = [known for known in people if known.profile.gender is None]  # what a name suggests is but a hint
        return (sure or [known for known in unknown if _gender(known) is None] or unknown)[:1]
    return sorted(people[: max(0, waiting.number - here)], key=lambda known: known.global_id)


def _parsed(
    entity: str, kind: Kind, attrs: list[str], same: int | None, new: bool = False, presence: Presence = "present"
) -> ParsedEntity:
    return {
        "entity": entity[:LONGEST_ENTITY],
        "kind": kind,
        "attrs": [attr for attr in attrs if len(attr) <= LONGEST_ATTRIBUTE][:MOST_ATTRIBUTES],
        "same_as": same,
        "new": new,
        "presence": presence,
    }
