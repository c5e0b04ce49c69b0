"""Whom a description or a new name means that no words of the cast decide: a small ranker of antecedents.

"The hacker", "his grandmother", "the bride", a bare "Mei": each is paired with everybody who is left over and could be
meant, and a logistic model of a few dozen features says how likely the pair is one. There are three models: for roles
("the pilot"), for bare new names, and for things ("the weapon", a revolver). Their weights (``antecedents.yaml``) are
fitted to labelled stories by ``python -m memreel.benchmarks.antecedents``. What a pair must not contradict (kind,
gender, colours, ages) is no feature: such pairs are never asked about. Sure readings are `identity`'s and come first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from memreel.agent.known import Known
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import Profile, contradict, contradict_looks
from memreel.agent.referents import Referent
from memreel.memory.records import BankState

WEIGHTS = Path(__file__).with_suffix(".yaml")
LIKELY = 0.5
"""Probability from which a pair is taken to be one."""
SYNONYMS = 0.68
"""Likeness of two roles that one person may have ("the surgeon", "a doctor"); "nurse" and "doctor" have 0.66."""
LONGEST_GAP = 5
"""Prompts after which somebody is as far away as ever."""

Features = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A referent and a cast member who may be one, with the model that is asked and what it looks at."""

    referent: Referent
    known: Known
    model: str
    features: Features

    @property
    def probability(self) -> float:
        """How likely they are one."""
        weights = _weights()[self.model]
        logit = sum(weights.get(name, 0.0) * value for name, value in self.features.items())
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


@lru_cache(maxsize=1)
def _weights() -> Mapping[str, Mapping[str, float]]:
    read: Mapping[str, Mapping[str, float]] = yaml.safe_load(WEIGHTS.read_text("utf-8"))
    return read


def pairs(
    undecided: Sequence[Referent],
    cast: Sequence[Known],
    taken: Collection[int],
    bank: BankState,
    owner_of: Callable[[Referent], int | None],
) -> list[Pair]:
    """Return the pairs of referents and cast members that may be one.

    Args:
        undecided: the prompt's referents whose words decide nothing.
        cast: everybody known.
        taken: those whom the prompt speaks of elsewhere.
        bank: whose prompts tell what everybody did.
        owner_of: whose sister or hat a referent is.
    """
    found: list[Pair] = []
    for referent in undecided:
        model = model_for(referent)
        if model is None:
            continue
        owner = next((known for known in cast if known.global_id == owner_of(referent)), None)
        left = [
            known
            for known in cast
            if known.global_id not in taken and known is not owner and _is_possible(referent, known, model)
        ]
        rivals = sum(_is_rival(referent, one) for one in undecided)
        latest = max((known.last[0] for known in cast), default=0)
        describe = {"role": _of_role, "name": _of_name, "thing": _of_thing}[model]
        rows = [describe(referent, known, owner, bank) for known in left]
        for known, features in zip(left, rows, strict=True):
            gap = min(latest - known.last[0], LONGEST_GAP)
            features |= {
                "bias": 1.0,
                "only one": float(len(left) == 1),
                "many": math.log(len(left)),
                "rivals": float(rivals > 1),
                "gap": gap / LONGEST_GAP,
                "in the latest prompt": float(gap == 0),
                "latest of all": float(known.last == max(one.last for one in left)),
            }
            for name in ("befits", "likeness"):
                if name in features:
                    best = max((row.get(name, 0.0) for row in rows if row is not features), default=0.0)
                    features[f"{name} lead"] = features[name] - best if len(rows) > 1 else 0.0
            found.append(Pair(referent, known, model, features))
    return found


def link(
    undecided: Sequence[Referent],
    cast: Sequence[Known],
    bank: BankState,
    owner_of: Callable[[Referent], int | None],
    resolved: dict[int, int],
) -> None:
    """Resolve the likeliest pairs first, in place: ``resolved`` maps a referent's ``id()`` to a global ID."""
    left = list(undecided)
    while left:
        asked = pairs(left, cast, {*resolved.values()}, bank, owner_of)
        best = max(asked, key=lambda pair: pair.probability, default=None)
        if best is None or best.probability < LIKELY:
            return
        resolved[id(best.referent)] = best.known.global_id
        left = [referent for referent in left if referent is not best.referent]


def model_for(referent: Referent) -> str | None:
    """Return the model that knows of such a referent, or none if nobody known can be meant."""
    if referent.newcomer or referent.plural or referent.other or referent.weak:
        return None
    if referent.kind == "object":
        said = referent.first == "definite" and not referent.name and referent.descriptions
        return "thing" if said and not referent.possessed else None
    if referent.name:
        return "name"
    return "role" if referent.first == "definite" and referent.descriptions else None


def _is_rival(referent: Referent, other: Referent) -> bool:
    return other.kind == referent.kind and not other.plural and not other.newcomer


def is_role(noun: str) -> bool:
    """Tell whether a noun says what somebody does, rather than an age, a kin or an honour ("woman", "uncle", "Sir")."""
    words = lexicon()
    last = noun.rsplit(" ", 1)[-1]
    return not (words.is_generic(last) or words.reciprocals(last) or last in words.group("callings"))


def _is_possible(referent: Referent, known: Known, model: str) -> bool:
    """Tell whether nothing that was told says that a member is somebody or something else."""
    words, mine = lexicon(), referent.profile
    if model == "thing":
        return known.member["kind"] == "object" and not contradict_looks(mine, known.profile)
    if known.member["kind"] != "character" or disagree(referent, known) or contradict_looks(mine, known.profile):
        return False
    if model == "name" and known.profile.names:
        return False
    kinds = _kinds(known.profile)
    if model == "role" and referent.kind_of == "animal":
        first = [name.split()[0].lower() for name in known.profile.names]
        if _is_unlike(referent.descriptions[0], known.profile.nouns):
            return False
        if not kinds and not words.listed["names"].keys().isdisjoint(first):
            return False  # "Mia" is no cat, if nobody said so
    roles = [noun for noun in known.profile.nouns if words.noun_class(noun) == "person" and is_role(noun)]
    asked = model == "role" and referent.kind_of == "person" and is_role(referent.descriptions[0])
    if asked and roles and max(words.likeness(referent.descriptions[0], role) for role in roles) < SYNONYMS:
        return False  # a nurse is no doctor
    return (
        not kinds
        or referent.kind_of in kinds
        or (model == "role" and referent.kind_of != "person" and kinds == {"being"})
    )


def _is_unlike(called: str, nouns: Sequence[str]) -> bool:
    """Tell whether a noun and others have words for the same thing, but none in common: "cat" and "terrier"."""
    same = lexicon().words["same_thing"]
    mine = [family for family in same if called.rsplit(" ", 1)[-1] in family]
    theirs = [family for family in same for noun in nouns if noun.rsplit(" ", 1)[-1] in family]
    return bool(mine and theirs) and not any(family in theirs for family in mine)


def disagree(referent: Referent, known: Known) -> bool:
    """Tell whether a referent has another gender than a member, as far as both were told."""
    stated = referent.gender or lexicon().gender_of_noun(referent.entity)
    return bool(stated and known.profile.gender and stated != known.profile.gender)


def _kinds(told: Profile) -> set[str]:
    return {kind for noun in told.nouns if (kind := lexicon().noun_class(noun)) in ("person", "animal", "being")}


def _of_role(referent: Referent, known: Known, owner: Known | None, bank: BankState) -> Features:
    """Describe a pair of "the pilot", "his grandmother", "the old woman" and a member."""
    words = lexicon()
    called = referent.descriptions[0]
    last = called.rsplit(" ", 1)[-1]
    theirs = [noun for noun in known.profile.nouns if words.noun_class(noun) in ("person", "animal", "being")]
    special = [noun for noun in theirs if not words.is_generic(noun)]
    lasts = {noun.rsplit(" ", 1)[-1] for noun in theirs}
    reciprocal = words.reciprocals(last)
    told_kin = {noun.rsplit(" ", 1)[-1] for noun in owner.profile.nouns} if owner else set()
    role, generic, kin = is_role(called), words.is_generic(called), bool(reciprocal)
    tie = not (role or generic or kin)
    blank, named = not theirs, bool(known.profile.names)
    has_role = any(map(is_role, theirs))
    animal = referent.kind_of != "person"
    likeness = max((words.likeness(called, noun) for noun in special), default=0.0)
    return {
        **_agreement(referent, known),
        "likeness": likeness,
        "likeness over half": max(0.0, likeness - 0.5),
        "acts": float(referent.subject),
        "begins": float(referent.position == 0),
        "befits": max((words.befits(called, deed) for deed in _deeds(known, bank)), default=0.0),
        "role, no role told": float(role and named and not has_role and not animal),
        "role, nameless": float(role and not named),
        "role, only general": float(role and bool(theirs) and not special),
        "role, has role": float(role and has_role),
        "general, has role": float(generic and has_role),
        "general, blank": float(generic and blank),
        "general": float(generic),
        "kin": float(kin),
        "kin, owner is the other side": float(kin and not told_kin.isdisjoint(reciprocal)),
        "kin, is the other side": float(kin and bool((reciprocal - {last}) & lasts)),
        "kin, same surname": float(kin and owner is not None and bool(_surnames(known) & _surnames(owner))),
        "kin, has role": float(kin and has_role),
        "possessed": float(referent.possessed),
        "possessed, kin": float(referent.possessed and kin),
        "possessed, owner unknown": float(referent.possessed and owner is None),
        "comes with places": float(last in words.group("of_places")),
        "comes with places, only general": float(
            last in words.group("of_places") and bool(theirs) and not special and not named
        ),
        "arrives": float(referent.arriving),
        "apposed": float(len(referent.descriptions) > 1),
        "much told": min(3, len(referent.attrs)) / 3,
        "described": float(any(words.listed["adjectives"].get(attr) not in ("age", "size") for attr in referent.attrs)),
        "animal": float(animal),
        "animal, blank": float(animal and blank),
        "animal, human": float(animal and blank and known.profile.gender is not None),
        "animal, a person's name": float(
            animal and blank and named and words.gender_of_name(known.profile.names[0]) is not None
        ),
        "animal, likeness": float(animal) * likeness,
        "animal, more than a person": float(animal) * _more_than_a_person(called, known, bank),
        "tie": float(tie),
        "tie, possessed": float(tie and referent.possessed),
        "tie, only general": float(tie and bool(theirs) and not special),
        "named": float(named),
    }


def _of_name(referent: Referent, known: Known, owner: Known | None, bank: BankState) -> Features:  # noqa: ARG001
    """Describe a pair of a new name and a member without one."""
    words = lexicon()
    nouns = known.profile.nouns
    return {
        **_agreement(referent, known),
        "introduced": float(bool(referent.descriptions)),
        "definite": float(referent.first == "definite"),
        "described": float(bool(referent.adjectives or referent.features)),
        "acts": float(referent.subject),
        "first": float(referent.position == 0),
        "arrives": float(referent.arriving),
        "called out": float(referent.called_out),
        "possessed": float(referent.possessed),
        "has role": float(any(map(is_role, nouns))),
        "only general": float(all(map(words.is_generic, nouns))),
        "told once": float(len(known.member["instances"]) == 1),
        "comes with places": float(any(noun.rsplit(" ", 1)[-1] in words.group("of_places") for noun in nouns)),
        "animal": float(not _kinds(known.profile) <= {"person"}),
        "befits": max((words.befits(referent.name, deed) for deed in _deeds(known, bank)), default=0.0),
    }


def _of_thing(referent: Referent, known: Known, owner: Known | None, bank: BankState) -> Features:  # noqa: ARG001
    """Describe a pair of "the weapon" and a thing."""
    words = lexicon()
    called = referent.descriptions[0]
    mine = words.noun_class(called)
    return {
        "likeness": max((words.likeness(called, noun) for noun in known.profile.nouns), default=0.0),
        "same class": float(mine in {words.noun_class(noun) for noun in known.profile.nouns}),
        "vehicle": float(mine == "vehicle"),
        "told once": float(len(known.member["instances"]) == 1),
        "described": float(bool(referent.attrs)),
        "contradicts": float(contradict(referent.profile, known.profile)),
    }


def _agreement(referent: Referent, known: Known) -> Features:
    """Describe how gender and age agree, as far as they were told or a first name suggests them."""
    words = lexicon()
    mine = referent.gender or words.gender_of_noun(referent.entity)
    theirs = known.profile.gender
    hinted = theirs is None or mine is None
    mine = mine or (words.gender_of_name(referent.name) if referent.name else None)
    theirs = theirs or (words.gender_of_name(known.profile.names[0]) if known.profile.names else None)
    age = referent.profile.look("age")
    other_age = known.profile.look("age")
    return {
        "gender agrees": float(mine is not None and mine == theirs and not hinted),
        "gender may agree": float(mine is not None and mine == theirs and hinted),
        "gender may differ": float(mine is not None and theirs is not None and mine != theirs),
        "age agrees": float(bool(age and other_age)),
    }


def _more_than_a_person(called: str, known: Known, bank: BankState) -> float:
    """Return by how much somebody's deeds are rather those of a "cat" than of a person."""
    words = lexicon()
    deeds = _deeds(known, bank)
    return max((words.befits(called, deed) - words.befits("person", deed) for deed in deeds), default=0.0)


def _deeds(known: Known, bank: BankState) -> list[str]:
    return [
        record["text"]
        for record in bank["prompts"].values()
        if any(entity["global_id"] == known.global_id for entity in record["entities"])
    ]


def _surnames(known: Known) -> set[str]:
    return {parts[-1].lower() for name in known.profile.names if len(parts := name.split()) > 1}
