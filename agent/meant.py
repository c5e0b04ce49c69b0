"""Whom a prompt means, mention by mention, and what it says of them: how they are called, their looks, their pronoun.

Words and cast member of each are collected by `memreel.agent.hearing`, what grammar says of the words comes from
`memreel.agent.mentions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from memreel.agent.dictionary import may_be_verb, singular
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import Profile
from memreel.agent.mention import Mention
from memreel.agent.names import gender_of_name, is_name
from memreel.agent.pages import PRONOUNS, SAID_OF, Word, singular_of, words_of
from memreel.agent.reading import ParsedEntity
from memreel.agent.referents import Referent
from memreel.memory.records import CastMember, Kind


@dataclass
class Meant:
    """One whom a prompt may mean: the cast member that it is, its words and what grammar says of each.

    ``profile`` is the cast member's. ``first`` is where it is first told of, ``last`` behind where it is last;
    ``several``: first as one word for several ("dancers"), ``divided``: of whom some are told of by themselves;
    ``counted``: one of several ("two dancers"), ``apart``: where it is first told of by itself; ``seen`` is how its
    mentions say that it is there.
    """

    kind: Kind
    member: CastMember | None
    profile: Profile | None = None
    first: int | None = None
    last: int = 0
    several: bool = False
    divided: bool = False
    counted: bool = False
    apart: int | None = None
    words: list[Word] = field(default_factory=list)
    said: list[Mention] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def entity_of(one: Meant, meant: Sequence[Meant], prompt: str) -> ParsedEntity:
    """Return whom a prompt means as an entity: how it is called there, what is said of its look, whom it is."""
    member = one.member
    kinds = [said.kind_of for said in one.said if said.kind_of]
    referent = Referent(one.kind, kinds[-1] if kinds else "person", features=[*one.features])
    for said in one.said:
        if said.role in ("character", "object"):
            name, told_as = said.name, said.descriptions
            others = [them for them in meant if them is not one]
            if any(_has_word_of(them, name) for them in others) and not _has_word_of(one, name):
                name = ""
            if any(said is other for them in others for other in them.said):  # of two: to each what has its words
                told_as = [told for told in told_as if _has_word_of(one, told.rsplit(" ", 1)[-1])]
            if len(name) > len(referent.name):
                referent.name = name
            referent.descriptions += [told for told in told_as if told not in referent.descriptions]
            referent.plural, referent.surface = said.plural and not one.counted, said.surface
        for attr in said.attrs if said.role != "feature" else ():
            if not (one.counted and said.plural) or _is_of(attr, one, meant, prompt):
                _describe(referent, attr)
    for word in one.words:
        if word.text.lower() in PRONOUNS or _covered(word.text, referent):
            continue
        name = _name_at(word, prompt)
        if name and not referent.name:
            referent.name = name
        elif not name:
            low = word.text.lower()
            referent.descriptions.append(singular(low) if low.endswith("s") or one.counted else low)
    referent.seen = one.seen
    told = bool(referent.name or referent.descriptions)
    pronouns = Counter(SAID_OF[low] for word in one.words if (low := word.text.lower()) in SAID_OF)
    spoken: ParsedEntity = {
        "entity": referent.entity if told else member["name"] if member else one.words[0].text,
        "kind": one.kind,
        "attrs": referent.attrs,
        "same_as": None if member is None else member["global_id"],
        "new": member is None,
        "presence": referent.presence,
    }
    if pronouns:
        spoken["pronoun"] = pronouns.most_common(1)[0][0]
    return spoken


def _has_word_of(one: Meant, called: str) -> bool:
    own = {singular(word.text.lower()) for word in one.words}
    return not own.isdisjoint(map(singular, called.lower().split()))


def _is_of(attr: str, one: Meant, meant: Sequence[Meant], prompt: str) -> bool:
    """Tell whether what is said of several is this one's: said of all, or behind the word that tells it apart."""
    told = sorted(other.apart for other in meant if other.counted and other.apart is not None)
    at = prompt.lower().find(attr.rsplit(" ", 1)[-1])
    behind = [place for place in told if place < at]
    return not behind or behind[-1] == one.apart


def _covered(word: str, referent: Referent) -> bool:
    plain = singular_of(word)
    told = [*referent.name.split(), *(word for told in referent.descriptions for word in told.split())]
    return any(singular_of(one) == plain for one in [*told, referent.surface.rsplit(" ", 1)[-1]])


def _name_at(word: Word, prompt: str) -> str:
    """Return the proper name that ends in a mention's word, or "" if it is none."""
    if not is_name(word.text) or (_begins(word, prompt) and lexicon().is_listed(word.text.lower())):
        return ""
    start = word.start
    for other in reversed(words_of(prompt[: word.start])):
        if not is_name(other.text) or prompt[other.end : start] != " ":
            break
        if _begins(other, prompt) and may_be_verb(other.text.lower()) and gender_of_name(other.text) is None:
            break  # "Tell Mia"
        start = other.start
    return prompt[start : word.end]


def _begins(word: Word, prompt: str) -> bool:
    """Tell whether a word begins a sentence or what somebody says, so that a capital letter means nothing."""
    before = prompt[: word.start].rstrip(" ")
    return not before or before[-1] in ".!?:;\"'“‘"


def _describe(referent: Referent, attr: str) -> None:
    """Sort what is said into adjectives and features (phrases that end in a noun worn or borne)."""
    words = lexicon()
    last = attr.rsplit(" ", 1)[-1]
    worn = attr not in words.listed["adjectives"] and words.noun_class(last) in ("garment", "body")
    worn = worn and (last in words.covers or " " in attr or words.is_listed(last))
    place = referent.features if worn else referent.adjectives
    if attr not in place:
        place.append(attr)
