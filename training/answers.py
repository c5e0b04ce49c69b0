"""Marked stories as the pages that the coreference network reads, with the answers.

Every prompt of a story (`memreel.benchmarks.marked`) becomes a page: beside the cast that the prompts before it told
of, with some strangers among it. Stories may be told with other names.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from memreel.agent.coreference import KINDS
from memreel.agent.pages import (
    MEMBERS,
    PRONOUNS,
    SAID_OF,
    Member,
    Page,
    Word,
    introduced,
    page_of,
    singular_of,
    words_of,
)
from memreel.benchmarks.marked import MARK, Mark, Record, Told, groups_of, told_of
from memreel.model.minilm import weights_folder

if TYPE_CHECKING:
    from memreel.memory.records import Pronoun

REMEMBERED, RENAMED = 0.85, 0.5
"""Share of pages with the prompts before, and of stories told with other names."""
PLURALS = {"men": "man", "women": "woman", "children": "child", "gentlemen": "gentleman", "ladies": "lady"}
CERTAIN = 0.75
"""Share of a name's pronouns from which it is of their gender."""
FORGOTTEN = 0.15
"""How often it is not known by which pronoun a cast member was told of."""


@dataclass(frozen=True)
class Story:
    """A story: whom it is about, by label "character" or "object", and its prompts."""

    kinds: dict[str, str]
    told: list[Told]


@dataclass
class Example:
    """A page, and for each of its words its kind, how many it means and its antecedents (columns of the scores)."""

    page: Page
    kinds: list[int]
    several: list[bool]
    antecedents: list[list[int]] = field(default_factory=list)


def story_of(record: Record) -> Story:
    """Return a marked story as it is written down."""
    groups = groups_of(record)
    kinds = {label: "object" if group == "objects" else "character" for label, group in groups.items()}
    return Story(kinds, [told_of(text) for text in record["told"]])


def names_of(records: Sequence[Record]) -> dict[str, Pronoun]:
    """Return the names in marked stories, each with the gender that nearly all of its owners' pronouns have.

    A name is marked as somebody's who has one, has a capital letter, and is nowhere written without, or behind an
    article.
    """
    texts = [MARK.sub("", text) for record in records for text in record["told"]]
    plain = {word for text in texts for word in text.split()}
    plain |= {word.lower() for text in texts for word in re.findall(r"\b[Tt]he (\w+)", text)}  # "the Swede"
    said: dict[str, list[Pronoun]] = {}
    for record in records:
        own = dict[str, list[str]]()
        for word, label in re.findall(r"(\w+)(?:['’]s)?\{(\w+)\}", " ".join(record["told"])):
            own.setdefault(label, []).append(word)
        groups = groups_of(record)
        for label, words in own.items():
            genders = [SAID_OF[word.lower()] for word in words if word.lower() in SAID_OF]
            for name in words if groups.get(label) == "named" else ():
                if name[:1].isupper() and len(name) > 2 and name.lower() not in plain:
                    said.setdefault(name, []).extend(genders)
    mostly = {name: Counter(genders).most_common(1)[0] for name, genders in sorted(said.items()) if genders}
    return {name: gender for name, (gender, times) in mostly.items() if times > CERTAIN * len(said[name])}


def renamed(record: Record, names: Mapping[str, Pronoun], chance: random.Random) -> Record:
    """Return a marked story whose named characters have other names of their gender."""
    told = "\n".join(record["told"])
    for name in dict.fromkeys(re.findall(r"([A-Z]\w+)(?:['’]s)?\{\w+\}", told)):
        others = [word for word, gender in names.items() if gender == names.get(name) and word not in told]
        if others:
            told = re.sub(rf"\b{name}\b", chance.choice(others), told)
    return {**record, "told": told.split("\n")}


def examples_of(tokenizer: Any, story: Story, others: Sequence[Member], chance: random.Random) -> list[Example]:
    """Return a story's prompts, each beside the cast that those before it told of, and some of ``others`` among it."""
    found = []
    forms: dict[str, list[str]] = {}
    first: dict[str, tuple[str, int]] = {}
    order: list[str] = []
    said: dict[str, Counter[Pronoun]] = {}
    for number, told in enumerate(story.told):
        recent = order[:MEMBERS]
        cast = [
            Member(
                introduced(sorted(forms[label], key=str.islower), *first[label]),  # names first
                frozenset(singular_of(form.rsplit(" ", 1)[-1]) for form in forms[label]),
                story.kinds[label],  # type: ignore[arg-type]
                _most(said.get(label)) if chance.random() >= FORGOTTEN else None,
            )
            for label in recent
        ]
        labels: list[str | None] = [*recent]
        for other in chance.sample(list(others), min(len(others), chance.choice((0, 0, 1, 3, 8)))):
            place = chance.randint(len(cast) // 2, len(cast))
            cast.insert(place, other)
            labels.insert(place, None)
        labels = labels[:MEMBERS]
        before = [past.text for past in story.told[:number]] if chance.random() < REMEMBERED else []
        page, words = page_of(tokenizer, told.text, cast[:MEMBERS], before)
        found.append(_example(page, words, told, story, labels))
        for label, pronoun in _pronouns(told):
            said.setdefault(label, Counter())[pronoun] += 1
        spoken = list(dict.fromkeys(label for mark in reversed(told.marks) for label in mark.labels))
        order = [*spoken, *(label for label in order if label not in spoken)]
        for mark in told.marks:
            form = next(word.text for word in words_of(told.text) if word.start == mark.start)
            if len(mark.labels) == 1 and form.lower() not in PRONOUNS:
                forms.setdefault(mark.labels[0], [])
                if form not in forms[mark.labels[0]]:
                    forms[mark.labels[0]].append(form)
        for mark in sorted(told.marks, key=lambda mark: len(mark.labels)):  # by itself, if it is
            for label in mark.labels:
                if not forms.setdefault(label, []):
                    forms[label] += _one_of(told, mark)
                first.setdefault(label, (told.text, mark.start))
    return found


def _one_of(told: Told, mark: Mark) -> list[str]:
    """Return what one of several is called: "cowboy" of "two cowboys"; nothing of a word that is no such plural."""
    word = next(word.text.lower() for word in words_of(told.text) if word.start == mark.start)
    one = PLURALS.get(word, singular_of(word))
    return [] if one == word or word in PRONOUNS else [one]


def _pronouns(told: Told) -> Iterator[tuple[str, Pronoun]]:
    """Yield whom a prompt tells of by "he", "she" or "it", or a form of it."""
    words = {word.start: word.text.lower() for word in words_of(told.text)}
    for mark in told.marks:
        if len(mark.labels) == 1 and words[mark.start] in SAID_OF:
            yield mark.labels[0], SAID_OF[words[mark.start]]


def _most(said: Counter[Pronoun] | None) -> Pronoun | None:
    return said.most_common(1)[0][0] if said else None


def _example(page: Page, words: Sequence[Word], told: Told, story: Story, labels: Sequence[str | None]) -> Example:
    meant = {mark.start: mark.labels for mark in told.marks}
    example = Example(page, [], [])
    for i, word in enumerate(words):
        mine = meant.get(word.start, ())
        example.kinds.append(KINDS.index(story.kinds[mine[0]]) if mine else 0)
        example.several.append(len(mine) > 1)
        columns = [rank for rank, label in enumerate(labels) if label in mine]
        columns += [len(labels) + j for j in range(i) if set(meant.get(words[j].start, ())) & set(mine)]
        example.antecedents.append(columns)
    return example


def laid_out(stories: Sequence[Story], strangers: Sequence[Member] = (), seed: int = 0) -> list[Example]:
    """Return the pages of stories; see `examples_of`."""
    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    chance = random.Random(seed)
    return [example for story in stories for example in examples_of(tokenizer, story, strangers, chance)]


def everyone(story: Story) -> list[Member]:
    """Return everybody in a story as its prompts introduce them."""
    found: dict[str, Member] = {}
    said: dict[str, Counter[Pronoun]] = {}
    for label, pronoun in chain.from_iterable(map(_pronouns, story.told)):
        said.setdefault(label, Counter())[pronoun] += 1
    for told in story.told:
        for mark in told.marks:
            form = next(word.text for word in words_of(told.text) if word.start == mark.start)
            if len(mark.labels) == 1 and mark.labels[0] not in found and form.lower() not in PRONOUNS:
                kind: Any = story.kinds[mark.labels[0]]
                found[mark.labels[0]] = Member(
                    introduced([form], told.text, mark.start),
                    frozenset([singular_of(form)]),
                    kind,
                    _most(said.get(mark.labels[0])),
                )
    return list(found.values())
