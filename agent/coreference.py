"""Who is who in a prompt: a small network that reads it beside the cast and the prompts before it.

The network is MiniLM (`memreel.model.minilm`), fine-tuned but for its embeddings, with three heads over words: whether
a word is the head of a mention, and of a character or an object; whether it means several; and with whom it corefers,
a cast member, an earlier mention of the prompt or nobody (mention ranking, as in Lee et al., End-to-end Neural
Coreference Resolution, 2017). It is trained on marked stories (`memreel.training.coreference`). It knows nothing of
banks or of attributes: `memreel.agent.hearing` turns what it finds into entities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from memreel.agent.chains import Heard, chains
from memreel.agent.pages import FEATURES, Batch, Member, Word, batch_of, page_of
from memreel.errors import ModelError
from memreel.model.minilm import WIDTH, SentenceEncoder, weights_folder
from memreel.model.worker import on_model_thread

WEIGHTS = Path(__file__).parent / "weights" / "coreference.safetensors"
KINDS = ("none", "character", "object")


class Coreference(nn.Module):
    """The network; see the module."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        """Take an encoder's own model, whose layers are to be trained, and put heads behind it."""
        super().__init__()
        self.bert = encoder.model.requires_grad_(False)
        self.bert.encoder.requires_grad_(True)
        self.part = nn.Embedding(4, WIDTH)
        nn.init.zeros_(self.part.weight)
        self.mention = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, len(KINDS) + 1))
        self.nobody = nn.Sequential(nn.Linear(WIDTH, WIDTH // 2), nn.GELU(), nn.Linear(WIDTH // 2, 1))
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.both, self.told = nn.Linear(WIDTH, WIDTH), nn.Linear(FEATURES, WIDTH)
        self.pair = nn.Linear(WIDTH, 1)

    def own(self) -> dict[str, torch.Tensor]:
        """Return what was trained: everything but MiniLM's embeddings."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

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
            ModelError: the package of MiniLM is missing, or the weights are of another network.
        """
        encoder = SentenceEncoder(weights_folder())
        self.tokenizer = encoder.tokenizer
        self.tokenizer.no_truncation()
        self.network = Coreference(encoder)
        own = {name: value.float() for name, value in load_file(weights).items()}
        if missing := self.network.own().keys() ^ own.keys():
            raise ModelError(f"{weights} is of another network ({', '.join(sorted(missing)[:3])} …); train it again")
        self.network.load_state_dict(own, strict=False)
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
        return chains(words, len(members), kinds, heads[:, -1] > 0, pairs + torch.from_numpy(known))


@on_model_thread
@cache
def listener() -> Listener:
    """Return this process's listener, loading it at first use."""
    return Listener()
