"""From what the network hears in a prompt to entities: how each is called, what is said of its look, whom it is.

The network (`memreel.agent.coreference`) says which words speak of whom; grammar (`memreel.agent.mentions`) says what
stands around those words: names, adjectives, clothes, who enters and leaves. An entity has all its mentions' words
(`memreel.agent.meant`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from unicodedata import category

import numpy as np
import numpy.typing as npt

from memreel.agent.chains import Heard
from memreel.agent.coreference import listener
from memreel.agent.dictionary import starts_latin
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import are_unlike, contradict_looks, profile, profile_of
from memreel.agent.meant import Meant, entity_of
from memreel.agent.mention import Mention, Told
from memreel.agent.mentions import Grammar
from memreel.agent.names import gender_of_name, is_name, is_short_for, share_name
from memreel.agent.pages import (
    MEMBERS,
    SAID_OF,
    Member,
    Word,
    introduced,
    singular_of,
    words_of,
)
from memreel.agent.reading import ParsedEntity
from memreel.memory.records import BankState, CastMember, Kind, Pronoun

NEVER, UNLIKELY, LIKELY, SURE = -20.0, -8.0, 4.0, 12.0
"""Added to the score of a pair that grammar or first names rule out, make unlikely or likely, or hardly leave open."""
PART = 700
"""Letters of a prompt that the network reads at once."""


def cast_of(bank: BankState, prompt: str) -> list[CastMember]:
    """Return the cast that a prompt is read beside, who was spoken of last first: the latest, and whom it names."""
    order = dict.fromkeys(
        entity["global_id"]
        for number in sorted(map(int, bank["prompts"]), reverse=True)
        for entity in reversed(bank["prompts"][str(number)]["entities"])
    )
    cast = [bank["cast"][str(global_id)] for global_id in order if str(global_id) in bank["cast"]]
    cast += [member for member in bank["cast"].values() if member["global_id"] not in order]
    if len(cast) <= MEMBERS:
        return cast
    here = {singular_of(word.text) for word in words_of(prompt)}
    named = [member for member in cast if not here.isdisjoint(_called(member))]
    kept = {member["global_id"] for member in [*named[: MEMBERS // 2], *cast][:MEMBERS]}
    return [member for member in cast if member["global_id"] in kept][:MEMBERS]


def _forms(member: CastMember) -> list[str]:
    """Return the last words of all that a member is called."""
    told = profile_of(member)
    return list(dict.fromkeys(form.rsplit(" ", 1)[-1] for form in (*told.names, *told.nouns)))


def _called(member: CastMember) -> frozenset[str]:
    return frozenset(map(singular_of, _forms(member)))


def as_told(member: CastMember, bank: BankState) -> Member:
    """Return a cast member as the network reads it."""
    forms = _forms(member)
    first = member["instances"][0] if member["instances"] else None
    record = bank["prompts"].get(str(first["prompt_id"])) if first else None
    text, start = (record["text"] if record else ", ".join([*forms, *member["all_attrs"][:4]])), 0
    if first is not None:
        here = {singular_of(word.text): word.start for word in reversed(words_of(text))}
        said = (singular_of(told.rsplit(" ", 1)[-1]) for told in (first["entity"], *first["attrs"]))
        start = next((here[word] for word in said if word in here), 0)
    return Member(
        introduced(forms, text, start), frozenset(map(singular_of, forms)), member["kind"], _pronoun_of(member, bank)
    )


def _gender_of(member: CastMember, bank: BankState) -> Pronoun | None:
    """Return "he" or "she" of a cast member: as prompts told of it, or else by its first name."""
    said = _pronoun_of(member, bank)
    return said or (gender_of_name(member["name"]) if is_name(member["name"]) else None)


def _gender_at(word: Word, mention: Mention | None) -> Pronoun | None:
    """Return the gender of whom a word names."""
    return gender_of_name(mention.name) if mention is not None and word.text in mention.name.split() else None


def _pronoun_of(member: CastMember, bank: BankState) -> Pronoun | None:
    """Return the pronoun that most prompts have for a cast member, if any has one."""
    said = Counter(
        entity["pronoun"]
        for told in bank["prompts"].values()
        for entity in told["entities"]
        if entity["global_id"] == member["global_id"] and "pronoun" in entity
    )
    return said.most_common(1)[0][0] if said else None


def told_of(bank: BankState) -> Told:
    """Return what a story told so far, as far as it helps grammar."""
    told = [(member["kind"], profile_of(member)) for member in bank["cast"].values()]
    characters, things = (
        frozenset(noun for kind, profile in told if kind == wanted for noun in profile.nouns)
        for wanted in ("character", "object")
    )
    return Told(
        frozenset(name for _, profile in told for name in profile.names), characters - things, things - characters
    )


def hear(prompt: str, bank: BankState) -> tuple[list[ParsedEntity], str]:
    """Return a prompt's entities in order of first mention, and where it plays ("" if it does not say)."""
    grammar = Grammar(prompt, told_of(bank))
    told = grammar.read()
    listening = _Listening(prompt, bank, grammar)
    meant = listening.listen()
    for mention in told:
        whose = _whose(mention, grammar, meant) if mention.role == "feature" else None
        if whose is not None:
            whose.features += [attr for attr in mention.attrs if attr not in whose.features]
    entities = [entity_of(one, meant, prompt) for one in meant]
    _find_unread(entities, bank)
    return entities, grammar.place()


def _find_unread(entities: Sequence[ParsedEntity], bank: BankState) -> None:
    """Give those who are new to the network, but go by the name of a cast member for whom it had no room, that ID."""
    taken = {entity["same_as"] for entity in entities}
    for entity in entities:
        for member in bank["cast"].values() if entity["same_as"] is None and is_name(entity["entity"]) else ():
            if member["global_id"] not in taken and entity["entity"] in (member["name"], *member["all_entities"]):
                entity["same_as"], entity["new"] = member["global_id"], False
                taken.add(member["global_id"])
                break


class _Listening:
    """Listens to a prompt, part after part where it is long; who is new in a part is known in the next."""

    def __init__(self, prompt: str, bank: BankState, grammar: Grammar) -> None:
        self.prompt = prompt
        self.at, self.silent, self.is_in_list = grammar.by_word(), grammar.silent(), grammar.is_in_list
        cast = cast_of(bank, prompt)
        self.read = [as_told(member, bank) for member in cast]
        self.meant = [Meant(member["kind"], member, profile_of(member)) for member in cast]
        self.genders = [_gender_of(member, bank) for member in cast]
        self.before = [bank["prompts"][str(number)]["text"] for number in sorted(map(int, bank["prompts"]))]

    def listen(self) -> list[Meant]:
        """Return whom the prompt means, in order of first mention."""
        for start, part in parts_of(self.prompt):
            order = sorted(range(len(self.meant)), key=lambda known: -self.meant[known].last)[:MEMBERS]
            read = [self.read[known] for known in order]
            heard = listener().hear(_latin(part), read, self.before, partial(self._evidence, order, start))
            known_as: dict[int, int] = {}
            for one in heard:
                if one.members:
                    known_as[one.group] = order[one.members[0]]
                elif one.group not in known_as:
                    known_as[one.group] = len(self.meant)
                    self.meant.append(Meant(one.kind, None))
                    self.read.append(Member("", frozenset(), one.kind))
                    self.genders.append(None)
                self._take(known_as[one.group], one, start)
                if one.among is not None:
                    self.meant[known_as[one.among]].divided = True
            self.before.append(part)
        found = [one for one in self.meant if one.first is not None]
        kept = [one for one in found if one.member is not None or not one.divided]
        return sorted(kept, key=lambda one: one.first or 0)  # "Brothers, Eero and Aapo," are told of one by one

    def _evidence(
        self, order: Sequence[int], start: int, words: Sequence[Word], members: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Say what grammar knows better than a network: names and looks that are others', and who is said to be new."""
        found = np.zeros((len(words), members + len(words)), np.float32)
        here = [self.at.get(start + word.start) for word in words]
        genders = [_gender_at(word, mention) for word, mention in zip(words, here, strict=True)]
        for i, mention in enumerate(here):
            said = SAID_OF.get(words[i].text.lower())
            if said in ("he", "she"):
                known_as = [*(self.genders[one] for one in order), *genders[:i]]
                found[i, [gender not in (None, said) for gender in known_as] + [False] * (len(words) - i)] = UNLIKELY
            if mention is None or mention.role == "feature":
                continue
            known = [self.meant[one] for one in order]
            found[i, :members] += [_agreement(mention, one) for one in known]
            fitting = (column for column in range(members) if found[i, column] >= 0)
            so_called = [column for column in fitting if _is_called(mention, known[column])]
            if mention.definite and not mention.plural and len(so_called) == 1:  # "the robot", where there is but one
                found[i, so_called] += LIKELY / 2
            apart = NEVER if self.is_in_list(mention) else UNLIKELY
            for j in range(i):
                other = here[j]
                if other is mention:
                    found[i, members + j] += LIKELY
                elif other is not None and mention.name and mention.name == other.name:
                    found[i, members + j] = SURE
                elif other is not None and _are_apart(mention, other):
                    found[i, members + j] = apart
        return found, np.array([start + word.start in self.silent for word in words], np.bool_)

    def _take(self, known: int, heard: Heard, start: int) -> None:
        """Note a mention of somebody."""
        one, place = self.meant[known], start + heard.word.start
        mention = self.at.get(place)
        if one.first is None:
            one.first, one.counted = place, heard.counted
            one.several = heard.several and not heard.counted and one.member is None
            if one.member is None:
                word = heard.word.text
                self.read[known] = Member(
                    introduced([word], self.prompt, place), frozenset([singular_of(word)]), heard.kind
                )
        one.last = place + 1
        if one.apart is None and not heard.several:
            one.apart = place
        if mention is not None and not any(said is mention for said in one.said):
            one.seen.append(mention.presence)
        if not heard.several or heard.counted or one.several:
            one.words.append(Word(heard.word.text, place, place + len(heard.word.text)))
            if mention is not None and not any(said is mention for said in one.said):
                one.said.append(mention)


def _agreement(mention: Mention, one: Meant) -> float:
    """Return what a mention's words say for or against its being somebody known."""
    theirs = one.profile
    if mention.role == "pronoun" or one.member is None or theirs is None:
        return 0.0
    if mention.newcomer:
        return NEVER
    if mention.name and theirs.names and not lexicon().is_only_title(mention.name):
        same = any(share_name(mention.name, name) or is_short_for(mention.name, name) for name in theirs.names)
        return SURE if same else NEVER
    kind: Kind = "character" if mention.role == "character" else "object"
    mine = profile(kind, [*mention.descriptions], mention.attrs, mention.gender)
    if kind != one.kind or mention.name:
        return 0.0
    if are_unlike(mine.nouns, theirs.nouns):
        return NEVER if mention.kind_of == "animal" else UNLIKELY
    if contradict_looks(mine, theirs):
        return UNLIKELY
    if mine.gender and theirs.gender and mine.gender != theirs.gender:
        return UNLIKELY
    shared = set(mention.attrs) & set(one.member["all_attrs"])
    if not _is_called(mention, one) or not shared:
        return 0.0
    if theirs.names and not mention.definite:
        return 0.0  # Mia is hardly called "a woman with red hair" after she was named
    told = len(shared) > 1 or any(" " in look for look in shared)  # "a wizard in a pointed hat", prompt after prompt
    return SURE if told and not mention.definite else LIKELY


def _is_called(mention: Mention, one: Meant) -> bool:
    """Tell whether somebody known has been called by a mention's noun."""
    called = {told.rsplit(" ", 1)[-1] for told in mention.descriptions}
    theirs = one.profile.nouns if one.profile is not None else ()
    return not called.isdisjoint(noun.rsplit(" ", 1)[-1] for noun in theirs)


def _are_apart(mention: Mention, other: Mention) -> bool:
    """Tell whether two mentions of a prompt cannot mean the same: other names, or one that is said to be new."""
    if mention.name and other.name and not any(map(lexicon().is_only_title, (mention.name, other.name))):
        return not (share_name(mention.name, other.name) or is_short_for(mention.name, other.name))
    listed = not (mention.definite or mention.name or mention.plural or other.plural)
    return mention.newcomer or (listed and mention.role == other.role == "character")


def _latin(text: str) -> str:
    """Return a text with blanks for what the network knows nothing of: letters of other scripts, pictures."""

    def is_foreign(letter: str) -> bool:
        return (letter.isalpha() and not starts_latin(letter)) or category(letter) in ("So", "Sk", "Cf")

    return "".join(" " if is_foreign(letter) else letter for letter in text)


def parts_of(prompt: str) -> Iterator[tuple[int, str]]:
    """Yield a prompt in parts that the network can read, whole sentences if possible, each with where it begins."""
    begun = 0
    while len(prompt) - begun > PART:
        end = max(prompt.rfind(mark, begun + PART // 3, begun + PART) for mark in (". ", "! ", "? ", "\n"))
        end = end if end >= 0 else prompt.rfind(" ", begun + PART // 3, begun + PART)
        end = end + 1 if end >= 0 else begun + PART
        yield begun, prompt[begun:end]
        begun = end
    yield begun, prompt[begun:]


def _whose(mention: Mention, grammar: Grammar, meant: Sequence[Meant]) -> Meant | None:
    """Return whose a feature is: of whom its owner's words speak, or the pronoun in front of it."""
    if mention.owner is not None:
        return next((one for one in meant if any(said is mention.owner for said in one.said)), None)
    if mention.pronoun:
        start = grammar.start_of(grammar.phrases[mention.position].start)
        return next((one for one in meant if any(word.start == start for word in one.words)), None)
    return None
