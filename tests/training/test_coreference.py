"""Marked and labelled stories become pages with the right answers, and training on them lowers the loss."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from memreel.agent.coreference import KINDS, Coreference
from memreel.agent.pages import words_of
from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.training.coreference import OURS, UNSURE, Example, check, examples_of, labelled, loss_of, marked

MARKED = """
- cast: {mia: named, tom: named, lamp: object}
  told:
    - "Mia{mia}, a young woman{mia}, lifts a lamp{lamp}."
    - "Tom's{tom} eyes shine as she{mia} hands him{tom} the lamp{lamp}; they{mia tom} run."
"""
LABELLED = """
- named: {mia: Mia woman}
  unnamed: {man1: man, man2: man}
  told:
    - mia man1: "Mia greets a man."
    - man1 man2: "The man and another man wait for her."
"""


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    found = SentenceEncoder(weights_folder())
    found.tokenizer.no_truncation()
    return found


def examples(encoder: SentenceEncoder, path: Path, text: str) -> list[Example]:
    path.write_text(text, encoding="utf-8")
    read = marked if text is MARKED else labelled
    return [e for story in read(path) for e in examples_of(encoder.tokenizer, story, [], random.Random(0))]


def test_marks_are_of_the_word_before_them_past_an_apostrophe(encoder: SentenceEncoder, tmp_path: Path) -> None:
    first, second = examples(encoder, tmp_path / "a.yaml", MARKED)
    assert [KINDS[kind] for kind in first.kinds] == ["character", "none", "none", "character", "none", "none", "object"]
    assert first.antecedents[3] == [0], "the woman is Mia, in the first column"
    words = [word.text for word in words_of("Tom's eyes shine as she hands him the lamp; they run.")]
    told = {word: kind for word, kind in zip(words, second.kinds, strict=True) if kind}
    assert told == {"Tom": 1, "she": 1, "him": 1, "lamp": 2, "they": 1}
    names = dict(zip(words, second.antecedents, strict=True))
    assert len(second.page.members) == 2
    mia, lamp = (0, 1) if names["she"] == [0] else (1, 0)
    assert names["lamp"] == [lamp]
    assert names["Tom"] == [], "he is told of for the first time"
    assert names["him"] == [2 + words.index("Tom")]
    assert names["they"] == [mia, 2 + words.index("Tom"), 2 + words.index("she"), 2 + words.index("him")]
    assert [word for word, many in zip(words, second.several, strict=True) if many] == ["they"]


def test_labels_teach_only_what_their_words_decide(encoder: SentenceEncoder, tmp_path: Path) -> None:
    first, second = examples(encoder, tmp_path / "b.yaml", LABELLED)
    assert first.kinds == [1, 0, 0, 1]
    words = [word.text for word in words_of("The man and another man wait for her.")]
    assert [kind for word, kind in zip(words, second.kinds, strict=True) if word == "man"] == [UNSURE] * 2, (
        "which man is which?"
    )
    assert second.kinds[words.index("her")] == UNSURE


def test_a_few_steps_lower_the_loss_and_the_encoders_own_weights_stay(encoder: SentenceEncoder, tmp_path: Path) -> None:
    torch.manual_seed(0)
    told = examples(encoder, tmp_path / "c.yaml", MARKED)
    network = Coreference(encoder, rank=2)
    before = network.bert.encoder.layer[0].attention.self.query.linear.weight.clone()
    own = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=2e-3)
    losses = []
    for _ in range(8):
        loss = loss_of(network, told, "cpu")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(network.bert.encoder.layer[0].attention.self.query.linear.weight, before)
    assert set(network.own()) == {n for n, value in network.named_parameters() if value.requires_grad}
    assert check(network, told, "cpu")["mentions"] == 8


def test_our_own_stories_can_be_read() -> None:
    kinds = {path.name: len(marked(path) if path.name.startswith("marked") else labelled(path)) for path in OURS}
    assert sum(count for name, count in kinds.items() if name.startswith("marked")) == 900
    assert all(kinds.values())
