"""Who is who in a prompt: a small network that reads it beside the cast and the prompts before it.

The network is MiniLM (`memreel.model.minilm`), fine-tuned by low-rank updates (Hu et al., LoRA, 2021), with three heads
over words: whether a word is the head of a mention, and of a character or an object; whether it means several; and with
whom it corefers, a cast member, an earlier mention of the prompt or nobody (mention ranking, as in Lee et al.,
End-to-end Neural Coreference Resolution, 2017). It is trained on marked stories (`memreel.training.coreference`). It
knows nothing of banks or of attributes: `memreel.agent.hearing` turns what it finds into entities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from memreel.agent.pages import FEATURES, PRONOUNS, Batch, Member, Word, batch_of, page_of
from memreel.model.minilm import WIDTH, SentenceEncoder, weights_folder
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.memory.records import Kind

WEIGHTS = Path(__file__).parent / "weights" / "coreference.safetensors"
RANK = 16
"""Of the updates of each linear layer."""
KINDS = ("none", "character", "object")
NOTHING = 0.5
"""Chance from which a word is no mention."""
DOUBT = -3.0
"""Score below which even a pronoun means none of those told of."""
NUMBERS = {"three": 3, "four": 4, "five": 5, "all": 8}


@dataclass(frozen=True)
class Heard:
    """A mention: its word, whether of a character or an object, and whom it means.

    Mentions of one ``group`` mean the same; ``members`` is the cast member
    that is, by its order, or nobody. "The two of them" are as many as it means, each with the group that speaks of the
    same in this prompt; if no other word does, that is below zero.
    """

    word: Word
    kind: Kind
    group: int
    members: tuple[int, ...]
    several: bool


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


Evidence = Callable[[Sequence[Word], int], tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]
"""Of words and a number of members: what is added to each pair's score, and which words are no mention.

``[words, members + words]`` and ``[words]``.
"""


def no_evidence(words: Sequence[Word], members: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Add nothing."""
    return np.zeros((len(words), members + len(words)), np.float32), np.zeros(len(words), np.bool_)


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
            evidence: what else speaks for a word's meaning a member or the same as an earlier word, or nobody.
        """
        page, words = page_of(self.tokenizer, text, members, before)
        if not words:
            return []
        heads, pairs = (part[0] for part in self.network(batch_of([page])))
        kinds = heads[:, : len(KINDS)].softmax(-1)
        known, silent = evidence(words, len(members))
        kinds[torch.from_numpy(silent), 0] = 1
        return _decided(words, len(members), kinds, heads[:, -1] > 0, pairs + torch.from_numpy(known))


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
                    heard.append(Heard(word, kind, group, mine, several=True))
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
        heard.append(Heard(word, kind, group, member_of(group), several=bool(several[i])))
    return heard


@on_model_thread
@cache
def listener() -> Listener:
    """Return this process's listener, loading it at first use."""
    return Listener()
