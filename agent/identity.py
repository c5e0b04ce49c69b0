"""Who of the cast a referent is: what decides it in the text, before `matching` compares what is left.

A name decides; so does a description that fits. "The pilot", "her sister", "the red-haired woman" may be somebody of
whom only a name and deeds were told, and a new name somebody who had none. Pronouns and groups are the analyst's.
"""

from __future__ import annotations

from memreel.agent.known import Known
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import GOOD_ENOUGH, Profile, contradict, contradict_looks, fit, profile
from memreel.agent.names import is_short_for
from memreel.agent.referents import Referent
from memreel.memory.records import BankState

AKIN = 0.5
"""Likeness of two nouns from which a definite one can stand for the other's thing ("the taxi", "the car")."""
SYNONYMS = 0.7
"""The same of two words for what somebody is ("the surgeon", "a doctor"); "nurse" and "doctor" have 0.66."""
BEFITTING = 0.2
"""Likeness of a role and a prompt from which the role can be that of somebody named there ("the pilot": a biplane)."""
BEFITTING_ONLY = 0.1
"""The same where nobody else can be meant."""


def _profile(referent: Referent) -> Profile:
    forms = [referent.name, *referent.descriptions] if referent.name else [referent.entity, *referent.descriptions[1:]]
    attrs = [*referent.adjectives, *referent.features]
    return profile(referent.kind, [form for form in forms if form], attrs, referent.gender)


def decide(referent: Referent, cast: list[Known], taken: set[int]) -> int | None:
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
        others = [known for _, _, known in scored]
        found = _by_short_name(referent, others)
        return found if found is not None else _by_calling(referent, others)
    if best < GOOD_ENOUGH:
        return None
    if referent.first == "indefinite" and not referent.weak and (best < 1.0 or _is_anybody(referent, known)):
        return None
    return known.global_id


def guess(referent: Referent, cast: list[Known], taken: set[int], bank: BankState, owner: int | None) -> int | None:
    """Return whom a description means that fits nobody by its words, if one of those left over is likely enough.

    Args:
        referent: one that `decide` could not place.
        cast: everybody known.
        taken: those whom the prompt surely speaks of elsewhere.
        bank: whose prompts tell what everybody did.
        owner: whose sister or hat it is.
    """
    left = [known for known in cast if known.global_id not in taken and known.global_id != owner]
    if referent.newcomer or referent.name:
        return None
    if referent.kind == "object":
        return _by_meaning(referent, left)
    if referent.owner is not None:
        found = _by_kin(referent, left, next((known for known in cast if known.global_id == owner), None))
        return found if found is not None else _by_role(referent, left, bank)
    if any(fit(_profile(referent), known.profile) >= GOOD_ENOUGH for known in left):
        return None
    found = _by_elimination(referent, left)
    if found is None:
        found = _by_synonym(referent, left)
    return found if found is not None else _by_role(referent, left, bank)


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
        and not (lexicon().age_of(one.profile.nouns) == "young" and _is_role(referent.entity))
    ]
    return people[0].global_id if len(people) == 1 else None


def _by_short_name(referent: Referent, known: list[Known]) -> int | None:
    """Return whom a bare new name is short for ("Bea" for Beatriz), if that can be one member only."""
    if referent.attrs or referent.plural or referent.possessed:
        return None
    possible = [one for one in known if any(is_short_for(referent.name, name) for name in one.profile.names)]
    agreeing = [one for one in possible if not _disagree(referent, one)]
    return agreeing[0].global_id if len(agreeing) == 1 else None


def _by_calling(referent: Referent, known: list[Known]) -> int | None:
    """Return who gets a name by being spoken to: the only nameless person of the latest prompts."""
    if not referent.called_out:
        return None
    gender = lexicon().gender_of_name(referent.name)
    latest = max((one.last[0] for one in known), default=0)
    people = [
        one
        for one in known
        if one.last[0] >= latest - 1
        and one.member["kind"] == "character"
        and not one.profile.names
        and {lexicon().noun_class(noun) for noun in one.profile.nouns} == {"person"}
    ]
    fitting = [one for one in people if None in (gender, one.profile.gender) or one.profile.gender == gender]
    return fitting[0].global_id if len(fitting) == 1 else None


def _by_kin(referent: Referent, known: list[Known], owner: Known | None) -> int | None:
    """Return who "his sister" is, if nobody was called so: whose brother he is, or who shares his surname."""
    if owner is None or referent.plural or referent.kind != "character" or not referent.descriptions:
        return None
    kin = referent.descriptions[0].rsplit(" ", 1)[-1]
    reciprocal = lexicon().reciprocals(kin)
    possible = [
        one
        for one in known
        if one.member["kind"] == "character"
        and not _disagree(referent, one)
        and not contradict_looks(_profile(referent), one.profile)
    ]
    if not {noun.rsplit(" ", 1)[-1] for noun in owner.profile.nouns}.isdisjoint(reciprocal):
        related = [one for one in possible if reciprocal.isdisjoint(lasts := _lasts(one)) or kin in lasts]
        named = [one for one in related if one.profile.names]
        return max(named, key=lambda one: one.last).global_id if named else None
    family = [one for one in possible if reciprocal and _surnames(one) & _surnames(owner)]
    return family[0].global_id if len(family) == 1 else None


def _lasts(known: Known) -> set[str]:
    return {noun.rsplit(" ", 1)[-1] for noun in known.profile.nouns}


def _surnames(known: Known) -> set[str]:
    return {parts[-1].lower() for name in known.profile.names if len(parts := name.split()) > 1}


def _by_synonym(referent: Referent, known: list[Known]) -> int | None:
    """Return who was called nearly so: "the surgeon" is the doctor, "the dog" the terrier."""
    words = lexicon()
    if referent.first != "definite" or referent.plural or referent.arriving or not referent.descriptions:
        return None
    mine = referent.descriptions[0]
    if words.is_generic(mine) or words.reciprocals(mine):
        return None
    best, found = SYNONYMS, None
    for one in known:
        if one.member["kind"] != "character" or _disagree(referent, one):
            continue
        if contradict_looks(_profile(referent), one.profile):
            continue
        roles = [noun for noun in one.profile.nouns if words.noun_class(noun) == referent.kind_of]
        likeness = max((words.likeness(mine, noun) for noun in roles if not words.is_generic(noun)), default=0.0)
        if likeness >= best:
            best, found = likeness, one.global_id
    return found


def _by_role(referent: Referent, known: list[Known], bank: BankState) -> int | None:
    """Return which named person "the pilot" is, of whom only deeds were told: the one whose deeds are most like it.

    Somebody who was said to be something else is not meant, nor does it mean who comes with the place ("the waiter").
    """
    words = lexicon()
    plain = referent.first == "definite" and not (referent.name or referent.plural)
    if referent.possessed and (referent.owner is None or not _is_role(referent.entity)):
        return None  # a brother whom nobody was told to be
    if (
        not plain
        or referent.arriving
        or any(words.listed["adjectives"].get(attr) not in ("age", "size") for attr in referent.attrs)
        or referent.other
        or referent.kind_of not in ("person", "being")
    ):
        return None
    if referent.entity.rsplit(" ", 1)[-1] in words.group("of_places"):
        return None
    latest = max((one.last[0] for one in known), default=0)
    reciprocal = words.reciprocals(referent.entity) - {referent.entity}
    possible: list[tuple[float, int]] = []
    for one in known:
        if not one.profile.names or one.member["kind"] != "character" or _disagree(referent, one):
            continue
        if one.last[0] < latest - 4 or any(_is_role(noun) for noun in one.profile.nouns):
            continue
        if contradict_looks(_profile(referent), one.profile) or reciprocal & _lasts(one):
            continue
        deeds = [
            record["text"]
            for record in bank["prompts"].values()
            if any(entity["global_id"] == one.global_id for entity in record["entities"])
        ]
        possible.append((max((words.befits(referent.entity, deed) for deed in deeds), default=0.0), one.global_id))
    likeness, found = max(possible, default=(0.0, None))
    only = len(possible) == 1 and not referent.possessed
    return found if likeness >= (BEFITTING_ONLY if only else BEFITTING) else None


def _is_role(noun: str) -> bool:
    """Tell whether a noun says what somebody does, rather than an age, a kin or an honour ("woman", "uncle", "Sir")."""
    words = lexicon()
    last = noun.rsplit(" ", 1)[-1]
    return not (words.is_generic(last) or words.reciprocals(last) or last in words.group("callings"))


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
