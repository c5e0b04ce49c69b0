"""Marked stories become pages with the right answers, and training on them lowers the loss."""

from __future__ import annotations

import random

import pytest
import torch
import yaml

from memreel.agent.coreference import KINDS, Coreference
from memreel.agent.first_names import FIRST_NAMES
from memreel.agent.pages import words_of
from memreel.benchmarks.marked import groups_of, told_of
from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.training.answers import Example, laid_out, names_of, renamed, story_of
from memreel.training.coreference import OURS, averaged, check, loss_of
from memreel.training.first_names import listed, ours

MARKED = """
- cast: {mia: named, tom: named, lamp: object}
  told:
    - "Mia{mia}, a young woman{mia}, lifts a lamp{lamp}."
    - "Tom's{tom} eyes shine as she{mia} hands him{tom} the lamp{lamp}; they{mia tom} run."
"""


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    found = SentenceEncoder(weights_folder())
    found.tokenizer.no_truncation()
    return found


def examples() -> list[Example]:
    return laid_out([story_of(record) for record in yaml.safe_load(MARKED)])


def test_marks_are_of_the_word_before_them_past_an_apostrophe() -> None:
    first, second = examples()
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


def test_a_story_may_be_told_with_other_names_of_the_same_gender() -> None:
    (record,) = yaml.safe_load(MARKED)
    names = names_of([record])
    assert names == {"Mia": "she", "Tom": "he"}
    other = renamed(record, {**names, "Ines": "she", "Olaf": "he"}, random.Random(3))
    assert other["told"][0].startswith("Ines{mia}, a young woman{mia}")
    assert other["told"][1].startswith("Olaf's{tom} eyes")
    assert [told.labels for told in story_of(other).told] == [told.labels for told in story_of(record).told]


def test_a_few_steps_lower_the_loss_and_the_embeddings_stay(encoder: SentenceEncoder) -> None:
    torch.manual_seed(0)
    told = examples()
    network = Coreference(encoder)
    before = network.bert.embeddings.word_embeddings.weight.clone()
    own = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=2e-4)
    losses = []
    for _ in range(8):
        loss = loss_of(network, told, "cpu")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(network.bert.embeddings.word_embeddings.weight, before)
    assert set(network.own()) == {n for n, value in network.named_parameters() if value.requires_grad}
    assert check(network, told, "cpu")["mentions"] == 8


def test_every_mark_in_our_own_stories_is_of_somebody_in_the_story() -> None:
    for path in OURS:
        for record in yaml.safe_load(path.read_text("utf-8")):
            groups = groups_of(record)
            assert record["told"]
            assert {label for text in record["told"] for label in told_of(text).labels} <= groups.keys(), record


def test_runs_that_began_alike_are_averaged() -> None:
    found = averaged([{"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 6.0])}])
    assert found["a"].tolist() == [2.0, 4.0]


def test_the_shipped_first_names_are_those_of_the_stories() -> None:
    assert FIRST_NAMES.read_text("utf-8") == listed(ours()), "run python -m memreel.training.first_names"
