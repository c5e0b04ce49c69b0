"""The analyst: reads prompts by grammar, word classes and the cast, without any LLM.

It takes a prompt's referents from `discourse`, ties pronouns and descriptions to the cast where the text decides it
("Mia", "she", "the two of them", "another man"), and leaves the rest to `matching`. It keeps nothing between prompts;
the history it needs (who was mentioned last, which pronoun someone takes) it reads again from the bank's prompts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memreel.agent.discourse import Open, Referent, is_short_for, presence_of, read, share_name
from memreel.agent.lexicon import Gender, lexicon
from memreel.agent.matching import GOOD_ENOUGH, Profile, assign, contradict, fit, is_name, profile, profile_of
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
from memreel.memory.records import BankState, CastMember, Entity, Kind, Presence

if TYPE_CHECKING:
    from memreel.agent.llm import Chat

AKIN = 0.5
"""Likeness of two nouns from which a definite one can stand for the other's thing ("the taxi", "the car")."""
BEFITTING = 0.2
"""Likeness of a role and a prompt from which the role can be that of somebody named there ("the pilot": a biplane)."""
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


class Analyst:
    """Reads prompts without a chat model."""

    name = "analyst"
    chat: Chat | None = None

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:  # noqa: ARG002
        """Read a prompt's entities."""
        notes = _unread(prompt)
        cast = known_cast(bank)
        discourse = read(prompt, _names(bank), _genders(cast), _characters(cast))
        resolved: dict[int, int] = {}
        entities: list[tuple[int, ParsedEntity]] = []
        # Names first: they are sure, and whoever is named is nobody else's "the pilot".
        for referent in sorted(discourse.referents, key=lambda r: (r.weak, not r.name, r.position)):
            group = _group(referent, cast, set(resolved.values()))
            for known in group:
                if known.global_id in resolved.values():
                    continue
                resolved[-1 - len(resolved)] = known.global_id
                entities.append(
                    (referent.position, _parsed(known.member["name"], known.member["kind"], [], known.global_id))
                )
            if group:
                continue
            same = _decide(referent, cast, set(resolved.values()), bank)
            if referent.weak and same is None:
                continue
            if same is not None:
                resolved[id(referent)] = same
            new = referent.newcomer or (same is None and referent.first != "definite")
            parsed = _parsed(referent.entity, referent.kind, referent.attrs, same, new, referent.presence)
            entities.append((referent.position, parsed))
        for waiting in sorted(discourse.open, key=lambda w: w.number):
            if waiting.perhaps is not None and not _has_gender(resolved.get(id(waiting.perhaps)), cast):
                continue  # "they" of one person
            here = sum(entity["kind"] == "character" for _, entity in entities)
            for known in _antecedents(waiting, cast, set(resolved.values()), here):
                resolved[-1 - len(resolved)] = known.global_id
                parsed = _parsed(
                    known.member["name"],
                    known.member["kind"],
                    waiting.attrs,
                    known.global_id,
                    presence=presence_of(waiting.seen),
                )
                entities.append((waiting.position, parsed))
        entities.sort(key=lambda item: item[0])
        if len(entities) > MOST_ENTITIES:
            notes.append(f"{len(entities)} entities; the first {MOST_ENTITIES} were kept")
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
    return [f"{foreign} letters are not Latin; the analyst reads English"] if foreign else []


def known_cast(bank: BankState) -> list[Known]:
    """Return the cast with profiles, pronoun evidence and recency, read from the bank's records."""
    names = _names(bank)
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


def _names(bank: BankState) -> frozenset[str]:
    """Return every proper name in the cast."""
    return frozenset(
        name for member in bank["cast"].values() for name in (member["name"], *member["all_entities"]) if is_name(name)
    )


def _genders(cast: list[Known]) -> frozenset[tuple[str, Gender]]:
    """Return the gender of every name and noun of the cast that stands for one gender only."""
    told: dict[str, set[Gender | None]] = {}
    for known in cast:
        if known.member["kind"] == "character":
            for called in {*known.profile.names, *known.profile.nouns}:
                told.setdefault(called, set()).add(known.profile.gender)
    return frozenset(
        (called, gender) for called, genders in told.items() if len(genders) == 1 for gender in genders if gender
    )


def _characters(cast: list[Known]) -> frozenset[str]:
    """Return the nouns that this story calls characters by, whatever else they mean: "the crane"."""
    called = {
        kind: {n for k in cast if k.member["kind"] == kind for n in k.profile.nouns} for kind in ("character", "object")
    }
    return frozenset(called["character"] - called["object"])


def _profile(referent: Referent) -> Profile:
    forms = [referent.name, *referent.descriptions] if referent.name else [referent.entity, *referent.descriptions[1:]]
    attrs = [*referent.adjectives, *referent.features]
    return profile(referent.kind, [form for form in forms if form], attrs, referent.gender)


def _decide(referent: Referent, cast: list[Known], taken: set[int], bank: BankState) -> int | None:
    """Return the cast member that a referent surely is, if there is one.

    A name decides. So does a definite description that fits; an indefinite one ("a man") is somebody known only if it
    repeats a noun that is not just anybody's, and does not arrive just now.
    """
    if referent.newcomer:
        return None
    mine = _profile(referent)
    scored = sorted(
        ((fit(mine, known.profile), known.last, known) for known in cast if known.global_id not in taken),
        key=lambda item: (item[0], item[1]),
        reverse=True,
    )
    if referent.other and sum(score >= GOOD_ENOUGH for score, *_ in scored) > 1:
        here = any(fit(mine, known.profile) >= GOOD_ENOUGH for known in cast if known.global_id in taken)
        if not here:  # "the other woman" is not the one spoken of last
            scored.remove(max((item for item in scored if item[0] >= GOOD_ENOUGH), key=lambda item: item[1]))
    if referent.earliest:
        scored.sort(key=lambda item: (item[0] < GOOD_ENOUGH, item[2].global_id))
    if not scored:
        return None
    best, _, known = scored[0]
    if referent.name and best < 2.0 and referent.first != "definite":
        # A new name is somebody new, unless "Mia, the woman in the red coat" says who, or it is short for one known.
        return _by_short_name(referent, [known for _, _, known in scored])
    if best < GOOD_ENOUGH and referent.kind == "object":
        return _by_meaning(referent, [known for score, _, known in scored if score > -1.0 or not known.profile.names])
    if best < GOOD_ENOUGH:
        others = [known for _, _, known in scored]
        found = _by_elimination(referent, others)
        return found if found is not None else _by_role(referent, others, bank)
    if referent.first == "indefinite" and not referent.weak and (best < 1.0 or _is_anybody(referent, known)):
        return None
    return known.global_id


def _by_elimination(referent: Referent, known: list[Known]) -> int | None:
    """Return whom "the singer" means if nobody was called so: the only one just spoken of as "a woman"."""
    plain = referent.first == "definite" and not (referent.name or referent.plural or referent.possessed)
    if not plain or referent.arriving or referent.kind_of != "person" or len(referent.descriptions) > 1:
        return None
    latest = max((one.last[0] for one in known), default=0)
    people = [
        one
        for one in known
        if one.last[0] == latest
        and not one.profile.names
        and one.profile.nouns
        and all(lexicon().is_generic(noun) and lexicon().noun_class(noun) == "person" for noun in one.profile.nouns)
        and fit(_profile(referent), one.profile) > 0
    ]
    return people[0].global_id if len(people) == 1 else None


def _by_short_name(referent: Referent, known: list[Known]) -> int | None:
    """Return whom a bare new name is short for ("Bea" for Beatriz), if that can be one member only."""
    if referent.attrs or referent.plural or referent.possessed:
        return None
    possible = [one for one in known if any(is_short_for(referent.name, name) for name in one.profile.names)]
    agreeing = [one for one in possible if not _disagree(referent, one)]
    return agreeing[0].global_id if len(agreeing) == 1 else None


def _by_role(referent: Referent, known: list[Known], bank: BankState) -> int | None:
    """Return which named person "the pilot" is, of whom only deeds were told: the one whose deeds are most like it.

    Somebody who was said to be something else is not meant, nor does it mean who comes with the place ("the waiter").
    """
    words = lexicon()
    plain = referent.first == "definite" and not (referent.name or referent.plural or referent.possessed)
    if (
        not plain
        or referent.arriving
        or referent.attrs
        or referent.other
        or referent.kind_of not in ("person", "being")
    ):
        return None
    if referent.entity.rsplit(" ", 1)[-1] in words.group("of_places"):
        return None
    latest = max((one.last[0] for one in known), default=0)
    best, found = BEFITTING, None
    for one in known:
        if not one.profile.names or one.member["kind"] != "character" or _disagree(referent, one):
            continue
        if one.last[0] < latest - 2 or not all(words.is_generic(noun) for noun in one.profile.nouns):
            continue
        deeds = [
            record["text"]
            for record in bank["prompts"].values()
            if any(entity["global_id"] == one.global_id for entity in record["entities"])
        ]
        likeness = max((words.befits(referent.entity, deed) for deed in deeds), default=0.0)
        if likeness >= best:
            best, found = likeness, one.global_id
    return found


def _disagree(referent: Referent, known: Known) -> bool:
    """Tell whether a referent has another gender than a member, as far as both were told."""
    stated = referent.gender or lexicon().gender_of_noun(referent.entity)
    return bool(stated and known.profile.gender and stated != known.profile.gender)


def _by_meaning(referent: Referent, known: list[Known]) -> int | None:
    """Return the thing of the story that a new noun means ("the gun": a revolver), if one is like it."""
    words = lexicon()
    if referent.first != "definite" or referent.plural or referent.possessed or not referent.descriptions:
        return None
    mine = referent.descriptions[0]
    best, found = AKIN, None
    for one in known:
        if one.member["kind"] == "object" and not contradict(_profile(referent), one.profile):
            likeness = max((words.likeness(mine, noun) for noun in one.profile.nouns), default=0.0)
            if likeness >= best:
                best, found = likeness, one.global_id
    return found


def _is_anybody(referent: Referent, known: Known) -> bool:
    """Tell whether an indefinite phrase introduces somebody: "a man enters", a general noun, a named member."""
    words = lexicon()
    if known.profile.names or referent.arriving:
        return True
    return words.is_generic(referent.entity) and not (referent.features or referent.adjectives)


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
