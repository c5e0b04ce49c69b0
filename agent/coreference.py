"""Who is who in a prompt: a small network that reads it beside the cast and the prompts before it.

The network is MiniLM (`memreel.model.minilm`), fine-tuned by low-rank updates (Hu et al., LoRA, 2021), with three heads
over words: whether a word is the head of a mention, and of a character or an object; whether it means several; and with
whom it corefers, a cast member, an earlier mention of the prompt or nobody (mention ranking, as in Lee et al.,
End-to-end Neural Coreference Resolution, 2017). It is trained on marked stories (`memreel.training.coreference`). It
knows nothing of banks or of attributes: `memreel.agent.hearing` turns what it finds into entities.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from memreel.model.minilm import WIDTH, SentenceEncoder, weights_folder
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.memory.records import Kind

WEIGHTS = Path(__file__).parent / "weights" / "coreference.safetensors"
WORD = re.compile(r"[^\W_]+")
CLS, SEP = 101, 102
RANK = 16
"""Of the updates of each linear layer."""
LONGEST, MEMBER, EARLIER, CURRENT = 512, 28, 72, 200
"""Most word pieces of a page, of a cast member on it, of a prompt before and of the prompt."""
MEMBERS, PROMPTS = 10, 2
"""Most cast members that are read, the ones spoken of last, and most prompts before."""
PRONOUNS = frozenset(
    {"i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "himself", "she", "her", "hers", "herself"}
    | {"it", "its", "itself", "they", "them", "their", "theirs", "themselves", "both", "one", "ones", "other", "others"}
)
KINDS = ("none", "character", "object")
FEATURES = 9
NOTHING = 0.5
"""Chance from which a word is no mention."""
DOUBT = -3.0
"""Score below which even a pronoun means none of those told of."""
NUMBERS = {"three": 3, "four": 4, "five": 5, "all": 8}


class Word(NamedTuple):
    """A word, and where it stands in its text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Member:
    """A cast member as the network reads it: how it is called and first told of, and the last words of its names."""

    told: str
    called: frozenset[str]
    kind: Kind


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


@dataclass(frozen=True)
class Heard:
    """A mention: its word, whether of a character or an object, and whom it means.

    ``chance`` is the network's that it is one. Mentions of one ``group`` mean the same; ``members`` is the cast member
    that is, by its order, or nobody. "The two of them" are as many as it means, each with the group that speaks of the
    same in this prompt; if no other word does, that is below zero.
    """

    word: Word
    kind: Kind
    chance: float
    group: int
    members: tuple[int, ...]
    several: bool


def words_of(text: str) -> list[Word]:
    """Return the words of a text; what follows an apostrophe is a word by itself."""
    return [Word(found.group(), found.start(), found.end()) for found in WORD.finditer(text)]


def singular_of(word: str) -> str:
    """Return a word in lower case without a plural's ending, to compare it."""
    low = word.lower()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith("ss") else low


class LowRank(nn.Module):
    """A linear layer with a low-rank update of its weight."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        """Update ``linear``, which stays as it is."""
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / math.sqrt(linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project ``[..., in]`` to ``[..., out]``."""
        found: torch.Tensor = self.linear(x) + x @ self.down.t() @ self.up.t()
        return found

    def merged(self) -> nn.Linear:
        """Return the layer with the update in its weight."""
        self.linear.weight.data += self.up @ self.down
        return self.linear


class Coreference(nn.Module):
    """The network; see the module."""

    def __init__(self, encoder: SentenceEncoder, rank: int = RANK) -> None:
        """Put updates beside every linear layer of an encoder's own model, and heads behind it."""
        super().__init__()
        self.bert = encoder.model.requires_grad_(False)
        for layer in self.bert.encoder.layer:
            for holder in (layer.attention.self, layer.attention.output, layer.intermediate, layer.output):
                for name, child in list(holder.named_children()):
                    if isinstance(child, nn.Linear):
                        setattr(holder, name, LowRank(child, rank))
        self.part = nn.Embedding(4, WIDTH)
        nn.init.zeros_(self.part.weight)
        self.mention = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, len(KINDS) + 1))
        self.nobody = nn.Sequential(nn.Linear(WIDTH, WIDTH // 2), nn.GELU(), nn.Linear(WIDTH // 2, 1))
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.both, self.told = nn.Linear(WIDTH, WIDTH), nn.Linear(FEATURES, WIDTH)
        self.pair = nn.Linear(WIDTH, 1)

    def own(self) -> dict[str, torch.Tensor]:
        """Return what was trained: everything but the encoder's own weights."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith("bert.") or name.rsplit(".", 1)[-1] in ("down", "up")
        }

    def merge(self) -> None:
        """Put the updates into the layers' weights."""
        for layer in self.bert.encoder.layer:
            for holder in (layer.attention.self, layer.attention.output, layer.intermediate, layer.output):
                for name, child in list(holder.named_children()):
                    if isinstance(child, LowRank):
                        setattr(holder, name, child.merged())

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores of pages.

        Returns:
            Logits of kinds and of meaning several, ``[pages, words, 4]``; and of coreference less those of meaning
            nobody before, ``[pages, words, members + words]``, of which a word's with itself and later ones mean
            nothing.
        """
        embedded = self.bert.embeddings.word_embeddings(batch.ids) + self.part(batch.parts)
        states = self.bert(inputs_embeds=embedded, attention_mask=batch.mask).last_hidden_state
        others = batch.spans @ states
        word = others[:, batch.members :]
        hidden = self.left(word).unsqueeze(2) + self.right(others).unsqueeze(1) + self.told(batch.features)
        hidden = F.gelu(hidden + self.both(word.unsqueeze(2) * others.unsqueeze(1)))
        return self.mention(word), self.pair(hidden).squeeze(-1) - self.nobody(word)


def page_of(tokenizer: Any, text: str, members: Sequence[Member], before: Sequence[str]) -> tuple[Page, list[Word]]:
    """Lay out a prompt behind its cast and the prompts before it; return it with the words that are on it.

    Args:
        tokenizer: MiniLM's.
        text: the prompt; what does not fit is cut off.
        members: the cast, who was spoken of last first; at most `MEMBERS`.
        before: prompts before it, the latest last; at most `PROMPTS` are read, if there is room.
    """
    found = tokenizer.encode(text, add_special_tokens=False)
    told = [tokenizer.encode(member.told, add_special_tokens=False).ids[:MEMBER] for member in members]
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
        found[:, :here, 3] = np.arange(here) / MEMBERS
        found[:, 0, 4] = 1
    place = np.arange(count)
    found[:, here:, 1] = plain[:, None] == plain[None]
    found[:, here:, 5] = np.clip(sentence[:, None] - sentence[None], 0, 4) / 4
    found[:, here:, 6] = np.clip(place[:, None] - place[None], 0, 12) / 12
    found[:, :, 7] = np.array([word.text[:1].isupper() for word in words])[:, None]
    found[:, :, 8] = np.array([word in PRONOUNS for word in plain])[:, None]
    return found


Evidence = Callable[[Sequence[Word], int], npt.NDArray[np.float32]]
"""Of words and a number of members: what is added to each pair's score, ``[words, members + words]``."""


def no_evidence(words: Sequence[Word], members: int) -> npt.NDArray[np.float32]:
    """Add nothing."""
    return np.zeros((len(words), members + len(words)), np.float32)


class Listener:
    """The network with its tokenizer, ready to read."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """Load both.

        Raises:
            ModelError: the package of MiniLM is missing.
        """
        encoder = SentenceEncoder(weights_folder())
        self.tokenizer = encoder.tokenizer
        self.tokenizer.no_truncation()
        own = {name: value.float() for name, value in load_file(weights).items()}
        rank = next(len(value) for name, value in own.items() if name.endswith(".down"))
        self.network = Coreference(encoder, rank)
        self.network.load_state_dict(own, strict=False)
        self.network.merge()
        self.network.eval().requires_grad_(False)

    @on_model_thread
    @torch.inference_mode()
    def hear(
        self, text: str, members: Sequence[Member], before: Sequence[str], evidence: Evidence = no_evidence
    ) -> list[Heard]:
        """Return the mentions of a prompt in order.

        Args:
            text: the prompt.
            members: the cast, at most `MEMBERS` of it, who was spoken of last first.
            before: the prompts before, the latest last.
            evidence: what else speaks for a word's meaning a member or the same as an earlier word.
        """
        page, words = page_of(self.tokenizer, text, members, before)
        if not words:
            return []
        heads, pairs = (part[0] for part in self.network(batch_of([page])))
        kinds = heads[:, : len(KINDS)].softmax(-1)
        known = torch.from_numpy(evidence(words, len(members)))
        return _decided(words, len(members), kinds, heads[:, -1] > 0, pairs + known)


def _decided(
    words: Sequence[Word], members: int, kinds: torch.Tensor, several: torch.Tensor, pairs: torch.Tensor
) -> list[Heard]:
    """Decide word by word what is a mention and whom it means; see `Heard`.

    A pronoun means somebody who was told of before, whoever is likeliest; one that nobody fits at all is left out.
    """
    heard = list[Heard]()
    group_of: dict[int, int] = {}  # of a member's column, and of a word's
    crowds = set[int]()  # columns of words for several who are told of one by one, if at all: "two sisters, Lin and …"
    groups = 0

    def member_of(group: int) -> tuple[int, ...]:
        return tuple(column for column in range(members) if group_of.get(column) == group)

    for i, word in enumerate(words):
        chances = kinds[i].tolist()
        if chances[0] >= NOTHING:
            continue
        kind: Kind = "character" if chances[1] >= chances[2] else "object"
        columns = [*range(members), *(column for column in group_of if column >= members)]
        columns = [column for column in columns if several[i] or column not in crowds]
        columns.sort(key=lambda column: float(pairs[i, column]), reverse=True)
        meant = [column for column in columns if pairs[i, column] > 0]
        back = word.text.lower() in PRONOUNS
        if several[i]:
            count = next(
                (NUMBERS[near.text.lower()] for near in words[max(0, i - 2) : i + 1] if near.text.lower() in NUMBERS), 2
            )
            whom = dict.fromkeys(group_of.get(column, -1 - column) for column in meant)
            if back and len(whom) < 2:
                likely = dict.fromkeys(
                    group_of.get(column, -1 - column) for column in columns if pairs[i, column] > DOUBT
                )
                whom = dict.fromkeys([*likely][:count])
            if len(whom) > 1:
                for group in whom:
                    mine = member_of(group) if group >= 0 else (-1 - group,)
                    heard.append(Heard(word, kind, 1 - chances[0], group, mine, several=True))
                continue
        best = next(iter(meant), None)
        if best is None and back:
            best = next((column for column in columns if pairs[i, column] > DOUBT), None)
            if best is None:
                continue
        if best is None or best not in group_of:
            if best is not None:
                group_of[best] = groups
            group, groups = groups, groups + 1
        else:
            group = group_of[best]
        group_of[members + i] = group
        if several[i]:
            crowds.add(members + i)
        heard.append(Heard(word, kind, 1 - chances[0], group, member_of(group), several=bool(several[i])))
    return heard


@on_model_thread
@cache
def listener() -> Listener:
    """Return this process's listener, loading it at first use."""
    return Listener()
