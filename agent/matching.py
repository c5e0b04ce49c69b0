"""From parsed entities to global IDs: how well an entity fits each cast member, and who gets which ID.

Both readers end here. An entity that its reader is sure of keeps its ID; the others are compared with the cast by
name, noun, gender and attributes, with the sentence encoder's candidates as the last resort; whoever fits nobody well
enough is new. No ID is given twice in a prompt, and an ID that is not in the cast is never believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from memreel.agent.dictionary import is_in_dictionary, is_noun, singular
from memreel.agent.lexicon import Gender, Lexicon, lexicon
from memreel.agent.names import is_name, share_name
from memreel.agent.phrases import ANIMATE
from memreel.agent.reading import Candidates, ParsedEntity
from memreel.memory.records import BankState, CastMember, Entity, Kind

GOOD_ENOUGH = 0.6
"""Fit from which an entity is taken to be a cast member; a same noun alone gives 1."""
ALIKE = 0.72
"""Similarity of whole phrases from which the sentence encoder alone may decide ("a kitten", "the small cat")."""


@dataclass(frozen=True)
class Profile:
    """What decides identity: names, nouns, adjectives and features by where they are worn."""

    kind: Kind
    names: tuple[str, ...]
    nouns: tuple[str, ...]
    looks: tuple[tuple[str, str], ...]
    gender: Gender | None

    def look(self, place: str) -> str | None:
        """Return the latest look at a place ("upper": "blue sweater"; "": a colour of all); a noun may tell an age."""
        told = next((text for where, text in reversed(self.looks) if where == place), None)
        return told or (lexicon().age_of(self.nouns) if place == "age" else None)


def profile(kind: Kind, entities: Iterable[str], attrs: Iterable[str], gender: Gender | None = None) -> Profile:
    """Build a profile from surface forms and attributes."""
    words = lexicon()
    names: list[str] = []
    nouns: list[str] = []
    looks: list[tuple[str, str]] = []
    for entity in entities:
        (names if is_name(entity) else nouns).append(entity if is_name(entity) else entity.lower())
        if is_name(entity):
            nouns.extend(words.titles_in(entity))
    for attr in attrs:
        if is_identity(attr, words, kind):
            nouns.append(_noun_of(attr, words))
            if colour := words.colour(attr.split()):
                looks.append(("", colour))
        else:
            looks.append((place_of(attr, words), attr))
    stated = next((g for g in map(words.gender_of_noun, nouns) if g), None)
    return Profile(kind, tuple(names), tuple(nouns), tuple(looks), gender or stated)


def is_identity(attr: str, words: Lexicon, kind: Kind) -> bool:
    """Tell whether an attribute says what somebody is ("young woman", "brown dog") rather than how they look."""
    last = attr.rsplit(" ", 1)[-1].lower()
    if last in words.listed["adjectives"] or last in words.covers:
        return False
    if words.noun_class(last) in ANIMATE and (" " in attr or words.is_listed(last)):
        return True  # and whatever other noun a character is said to be: "acrobat"
    alone = " " not in attr and kind == "character" and is_noun(last)
    known = is_in_dictionary(last) or words.noun_class(last) in ANIMATE
    return alone and known and words.noun_class(last) not in ("garment", "body", "substance")


def _noun_of(attr: str, words: Lexicon) -> str:
    parts = attr.lower().split()
    while len(parts) > 1 and (
        parts[0] in words.listed["adjectives"] or words.colour(parts[:1]) or not is_in_dictionary(parts[0])
    ):
        parts.pop(0)
    return " ".join(parts)


def place_of(attr: str, words: Lexicon) -> str:
    """Return what an attribute is about: where it is worn, "" for a colour of the whole, else its noun."""
    parts = attr.lower().split()
    if parts[-1] in words.covers:
        return words.covers[parts[-1]]
    if words.colour(parts):
        return ""
    kind = words.listed["adjectives"].get(parts[-1])
    return "age" if kind == "age" else attr.lower() if kind else parts[-1]


def profile_of(member: CastMember, gender: Gender | None = None) -> Profile:
    """Build the profile of a cast member."""
    return profile(member["kind"], [member["name"], *member["all_entities"]], member["all_attrs"], gender)


def fit(entity: Profile, member: Profile) -> float:
    """Return how well an entity of a prompt fits a cast member: 1 for a bare same noun, below 0 for a contradiction."""
    words = lexicon()
    if entity.kind != member.kind:
        return -1.0
    if entity.names and member.names:
        return 2.0 if any(share_name(one, two) for one in entity.names for two in member.names) else -1.0
    if entity.gender and member.gender and entity.gender != member.gender:
        return -1.0
    base = _noun_fit(entity, member, words)
    if base < 0:
        return base
    for place, look in entity.looks:
        theirs = member.look(place)
        if theirs is None:
            if words.listed["adjectives"].get(look) in ("size", "age"):
                continue
            base -= 0.25 if place in words.covers.values() and member.kind == "character" else 0.1
            continue
        mine, other = words.colour(look.split()), words.colour(theirs.split())
        if place == "age":
            base += 0.3 if words.is_young(look) == words.is_young(theirs) else -0.9
        elif mine and other and mine != other:
            if not lexicon().same_colour(mine, other):
                base -= 0.9
        elif look.rsplit(" ", 1)[-1] == theirs.rsplit(" ", 1)[-1] or mine:
            base += 0.3
        else:
            base -= 0.2
    return base


def _noun_fit(entity: Profile, member: Profile, words: Lexicon) -> float:
    if not entity.nouns:
        return 0.2 if entity.names else 0.5
    if entity.names and not any(len(noun) for noun in member.nouns):
        return -1.0
    best = -1.0
    for mine in entity.nouns:
        for theirs in member.nouns:
            best = max(best, _alike(mine, theirs, words))
        if not member.nouns and member.names and words.is_generic(mine) and words.noun_class(mine) == "person":
            best = max(best, 0.65 if words.age_of([mine]) else 0.6)  # "the boy" is no priest, if somebody else is left
    if entity.names and not member.names:
        best -= 0.3  # somebody described earlier gets a name: only with agreeing looks
    return best


def _alike(mine: str, theirs: str, words: Lexicon) -> float:
    """Return how well one noun can stand for another: 1 the same, below 0 not at all."""
    if mine == theirs:
        return 1.0
    mine_one, theirs_one = singular(mine.rsplit(" ", 1)[-1]), singular(theirs.rsplit(" ", 1)[-1])
    if (mine.endswith(mine_one)) != (theirs.endswith(theirs_one)):
        return -1.0  # "the flower" is not "the flowers"
    if theirs.endswith(f" {mine}") or mine.endswith(f" {theirs}"):
        return 0.95
    one, two = sorted((mine, theirs), key=len)
    if two.startswith(f"{one} ") and {words.noun_class(one), words.noun_class(two)} <= {*ANIMATE}:
        return 0.9  # "its mother", "the mother bear"
    short, long = sorted((mine_one, theirs_one), key=len)
    if len(short) > 3 and long.endswith(short) and words.noun_class(long) not in ANIMATE:
        return 0.9  # "surfboard" and "board"
    kinds = words.noun_class(mine), words.noun_class(theirs)
    if mine.rsplit(" ", 1)[-1] == theirs.rsplit(" ", 1)[-1]:
        return 0.3  # "security guard" and "palace guard"
    if kinds[0] != kinds[1] and not set(kinds) <= {"animal", "being"}:
        return -1.0
    mine_gender, their_gender = words.gender_of_noun(mine_one), words.gender_of_noun(theirs_one)
    if mine_gender and their_gender and mine_gender != their_gender:
        return -1.0
    if any({mine_one, theirs_one} <= set(family) for family in words.words["same_thing"]):
        return 0.9
    general = words.is_generic(mine) or words.is_generic(mine_one)
    if kinds[0] in ANIMATE and (general or words.is_generic(theirs)):
        return 0.6 if general else 0.45
    return -1.0


def assign(
    parsed: Sequence[ParsedEntity], bank: BankState, candidates: Candidates, recent: Collection[int] = ()
) -> list[Entity]:
    """Return the entities with global IDs, sure ones first, then the best fits, then new ones.

    Args:
        parsed: entities of one prompt.
        bank: the cast they are matched with.
        candidates: the bank's most similar cast members for phrases.
        recent: IDs by recency, latest first, which break ties.
    """
    cast = bank["cast"]
    ids: dict[int, int] = {}
    taken: set[int] = set()
    for i, entity in enumerate(parsed):
        wanted = entity["same_as"]
        if wanted is not None and not entity["new"] and str(wanted) in cast and wanted not in taken:
            ids[i] = wanted
            taken.add(wanted)
    undecided = [
        i for i, entity in enumerate(parsed) if i not in ids and not entity["new"] and entity["same_as"] is None
    ]
    if undecided and cast:
        order = {global_id: rank for rank, global_id in enumerate(recent)}
        for _, i, global_id in sorted(
            _scores(parsed, undecided, bank, candidates), key=lambda s: (-s[0], order.get(s[2], 10**6), s[1])
        ):
            if i not in ids and global_id not in taken:
                ids[i] = global_id
                taken.add(global_id)
    following = max(map(int, cast), default=0) + 1
    entities: list[Entity] = []
    for i, entity in enumerate(parsed):
        if i not in ids:
            ids[i] = following
            following += 1
        entities.append(
            {"entity": entity["entity"], "kind": entity["kind"], "attrs": list(entity["attrs"]), "global_id": ids[i]}
        )
    return entities


def _scores(
    parsed: Sequence[ParsedEntity], undecided: Sequence[int], bank: BankState, candidates: Candidates
) -> list[tuple[float, int, int]]:
    """Return (score, entity, ID) of every pairing that is good enough."""
    profiles = {int(key): profile_of(member) for key, member in bank["cast"].items()}
    phrases = [", ".join([parsed[i]["entity"], *parsed[i]["attrs"]]) for i in undecided]
    found = []
    for i, likenesses in zip(undecided, candidates(phrases), strict=True):
        entity = profile(parsed[i]["kind"], [parsed[i]["entity"]], parsed[i]["attrs"])
        similar = {likeness.global_id: likeness.similarity for likeness in likenesses}
        for global_id, member in profiles.items():
            score = fit(entity, member)
            if score >= GOOD_ENOUGH:
                found.append((score + 0.2 * similar.get(global_id, 0.0), i, global_id))
            elif similar.get(global_id, 0.0) >= ALIKE and not contradict(entity, member):
                found.append((GOOD_ENOUGH * similar[global_id], i, global_id))
    return found


def contradict(entity: Profile, member: Profile) -> bool:
    """Tell whether an entity cannot be a cast member: another kind, name, gender, or colour of the same thing."""
    words = lexicon()
    if entity.kind != member.kind or (entity.gender and member.gender and entity.gender != member.gender):
        return True
    if entity.names and not any(share_name(one, two) for one in entity.names for two in member.names):
        return True
    if {words.noun_class(noun) for noun in entity.nouns}.isdisjoint({words.noun_class(noun) for noun in member.nouns}):
        return True
    return contradict_looks(entity, member)


def contradict_looks(entity: Profile, member: Profile) -> bool:
    """Tell whether an entity has another colour of the same thing, or another age, than a cast member."""
    words = lexicon()
    for place, look in entity.looks:
        theirs = member.look(place)
        mine, other = words.colour(look.split()), words.colour(theirs.split()) if theirs else None
        if mine and other and not lexicon().same_colour(mine, other) and mine != other:
            return True
        if place == "age" and theirs and words.is_young(look) != words.is_young(theirs):
            return True
    return False


def are_unlike(mine: Sequence[str], theirs: Sequence[str]) -> bool:
    """Tell whether nouns have words for the same thing, but none in common with others: "cat" and "terrier"."""
    families = lexicon().words["same_thing"]
    one, two = (
        [family for family in families for noun in nouns if noun.rsplit(" ", 1)[-1] in family]
        for nouns in (mine, theirs)
    )
    return bool(one and two) and not any(family in two for family in one)
