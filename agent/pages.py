"""What the coreference network reads: a prompt behind its cast and the prompts before it, as word pieces on a page.

A word is what stands between spaces and marks; a member is introduced by what it is called and first told of. Beside
the pieces a page has what needs no reading of pairs: the same word, how far apart, who was spoken of last.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from memreel.memory.records import Kind, Pronoun

WORD = re.compile(r"[^\W_]+")
CLS, SEP = 101, 102
LONGEST, MEMBER, EARLIER, CURRENT = 512, 30, 72, 200
"""Most word pieces of a page, of a cast member on it, of a prompt before and of the prompt."""
MEMBERS, PROMPTS = 10, 2
"""Most cast members that are read, the ones spoken of last, and most prompts before."""
PRONOUNS = frozenset(
    {"i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "himself", "she", "her", "hers", "herself"}
    | {"it", "its", "itself", "they", "them", "their", "theirs", "themselves", "both", "one", "ones", "other", "others"}
)
FORMS: dict[Pronoun, str] = {"he": "he him his himself", "she": "she her hers herself", "it": "it its itself"}
SAID_OF: dict[str, Pronoun] = {form: said for said, forms in FORMS.items() for form in forms.split()}
"""Which pronoun a word is a form of."""
FEATURES, RECENT = 11, 14
"""Numbers that describe a pair; what a member's place in the cast is divided by."""
AROUND = (24, 60)
"""Letters before and behind the word that a member is first called by."""


class Word(NamedTuple):
    """A word, and where it stands in its text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Member:
    """A cast member as the network reads it: how it is called and first told of, and the last words of its names.

    ``pronoun`` is the one that it was told of by most often, if any.
    """

    told: str
    called: frozenset[str]
    kind: Kind
    pronoun: Pronoun | None = None


@dataclass(frozen=True)
class Page:
    """What the network reads: word pieces, the part of each, and where whom stands.

    Parts are the cast, prompts before, the prompt, and words of it with a capital letter, which the pieces do not tell.
    """

    ids: list[int]
    parts: list[int]
    members: list[tuple[int, int]]
    words: list[tuple[int, int]]
    features: npt.NDArray[np.float32]
    """Of each pair of a word and a member or another word, ``[words, members + words, FEATURES]``."""


class Batch(NamedTuple):
    """Pages together, padded to the longest of each: pieces, members and words.

    ``ids``, ``parts`` and ``mask`` are ``[pages, pieces]``; ``spans`` ``[pages, members + words, pieces]`` take the
    mean of the pieces of each member and word; ``features`` are ``[pages, words, members + words, FEATURES]``.
    """

    ids: torch.Tensor
    parts: torch.Tensor
    mask: torch.Tensor
    spans: torch.Tensor
    features: torch.Tensor

    @property
    def members(self) -> int:
        """How many members there are room for."""
        return self.spans.shape[1] - self.features.shape[1]

    def to(self, device: str) -> Batch:
        """Return it on a device."""
        return Batch(*(part.to(device) for part in self))


def batch_of(pages: Sequence[Page]) -> Batch:
    """Put pages together."""
    pieces = max(len(page.ids) for page in pages)
    members, words = max(len(page.members) for page in pages), max(len(page.words) for page in pages)
    ids, parts, mask = (np.zeros((len(pages), pieces), np.int64) for _ in range(3))
    spans = np.zeros((len(pages), members + words, pieces), np.float32)
    features = np.zeros((len(pages), words, members + words, FEATURES), np.float32)
    for row, page in enumerate(pages):
        ids[row, : len(page.ids)], parts[row, : len(page.ids)], mask[row, : len(page.ids)] = page.ids, page.parts, 1
        here = len(page.members)
        for at, (start, end) in enumerate(page.members):
            spans[row, at, start:end] = 1 / (end - start)
        for at, (start, end) in enumerate(page.words):
            spans[row, members + at, start:end] = 1 / (end - start)
        count = len(page.words)
        features[row, :count, :here] = page.features[:, :here]
        features[row, :count, members : members + count] = page.features[:, here:]
    return Batch(*map(torch.from_numpy, (ids, parts, mask, spans, features)))


def words_of(text: str) -> list[Word]:
    """Return the words of a text; what follows an apostrophe is a word by itself."""
    return [Word(found.group(), found.start(), found.end()) for found in WORD.finditer(text)]


def singular_of(word: str) -> str:
    """Return a word in lower case without a plural's ending, to compare it."""
    low = word.lower()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith("ss") else low


def page_of(tokenizer: Any, text: str, members: Sequence[Member], before: Sequence[str]) -> tuple[Page, list[Word]]:
    """Lay out a prompt behind its cast and the prompts before it; return it with the words that are on it.

    Args:
        tokenizer: MiniLM's.
        text: the prompt; what does not fit is cut off.
        members: the cast, who was spoken of last first; at most `MEMBERS`.
        before: prompts before it, the latest last; at most `PROMPTS` are read, if there is room.
    """
    found = tokenizer.encode(text, add_special_tokens=False)
    told = [tokenizer.encode(_said(member), add_special_tokens=False).ids[:MEMBER] for member in members]
    earlier = [tokenizer.encode(prompt, add_special_tokens=False).ids[-EARLIER:] for prompt in before[-PROMPTS:]]
    ids, parts, spans = [CLS], [0], list[tuple[int, int]]()

    def put(pieces: list[int], part: int) -> int:
        begun = len(ids)
        ids.extend([*pieces, SEP])
        parts.extend([part] * (len(pieces) + 1))
        return begun

    room = LONGEST - len(found.ids[:CURRENT]) - sum(len(pieces) + 1 for pieces in told) - 2
    for pieces in told:
        begun = put(pieces, 0)
        spans.append((begun, begun + max(1, len(pieces))))
    while earlier and sum(len(pieces) + 1 for pieces in earlier) > room:
        earlier.pop(0)
    for pieces in earlier:
        put(pieces, 1)
    begun = put(found.ids[:CURRENT], 2)
    offsets = found.offsets[:CURRENT]
    for i, (start, _) in enumerate(offsets):
        if text[start].isupper():
            parts[begun + i] = 3
    words, places = list[Word](), list[tuple[int, int]]()
    for word in words_of(text):
        pieces_of = [i for i, (start, end) in enumerate(offsets) if start < word.end and end > word.start]
        if pieces_of:
            words.append(word)
            places.append((begun + pieces_of[0], begun + pieces_of[-1] + 1))
    return Page(ids, parts, spans, places, _features(text, words, members)), words


def _features(text: str, words: Sequence[Word], members: Sequence[Member]) -> npt.NDArray[np.float32]:
    """Describe pairs by what needs no reading: the same word, how far apart, who was spoken of last."""
    count, here = len(words), len(members)
    found = np.zeros((count, here + count, FEATURES), np.float32)
    if not count:
        return found
    plain = np.array([singular_of(word.text) for word in words])
    ends = [place for place, letter in enumerate(text) if letter in ".!?"]
    sentence = np.array([bisect(ends, word.start) for word in words])
    if here:
        found[:, :here, 0] = 1
        found[:, :here, 1] = [[word in member.called for member in members] for word in plain]
        found[:, :here, 2] = [member.kind == "character" for member in members]
        found[:, :here, 3] = np.arange(here) / RECENT
        found[:, 0, 4] = 1
        for i, word in enumerate(words):
            said = SAID_OF.get(word.text.lower())
            for at, member in enumerate(members if said else ()):
                found[i, at, 9 if member.pronoun == said else 10] = member.pronoun is not None
    place = np.arange(count)
    found[:, here:, 1] = plain[:, None] == plain[None]
    found[:, here:, 5] = np.clip(sentence[:, None] - sentence[None], 0, 4) / 4
    found[:, here:, 6] = np.clip(place[:, None] - place[None], 0, 12) / 12
    found[:, :, 7] = np.array([word.text[:1].isupper() for word in words])[:, None]
    found[:, :, 8] = np.array([word in PRONOUNS for word in plain])[:, None]
    return found


def _said(member: Member) -> str:
    return member.told if member.pronoun is None else f"{member.pronoun}, {member.told}"


def introduced(forms: Sequence[str], text: str, start: int) -> str:
    """Return "Bo, terrier: a scruffy terrier named Bo sleeps by the door".

    Args:
        forms: what it is called, in the order of the story.
        text: the prompt that first tells of it.
        start: where its word begins there.
    """
    before, behind = AROUND
    left = max(0, start - before)
    if left:
        left = text.find(" ", left, start) + 1 or start
    sentence = max(text.rfind(end, left, start) for end in ".!?;")
    left = max(left, sentence + 1)
    right = min(len(text), start + behind)
    if right < len(text):
        right = max(text.rfind(" ", start + 1, right), start)
    return f"{', '.join(forms[:4])}: {text[left:right].strip()}"
