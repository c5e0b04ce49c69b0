"""What the network reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memreel.agent.coreference import Listener, listener
from memreel.agent.hearing import PART, parts_of
from memreel.agent.pages import LONGEST, MEMBERS, Member, batch_of, introduced, page_of, words_of
from memreel.errors import ModelError

MIA = Member("Mia, woman: Mia, a young woman with red hair, walks in", frozenset({"mia", "woman"}), "character")
TOM = Member("Tom: Tom waits under a tree", frozenset({"tom"}), "character")
LAMP = Member("lamp: she lifts a brass lamp", frozenset({"lamp"}), "object")


@pytest.fixture(scope="module")
def ears() -> Listener:
    return listener()


def test_a_page_has_room_for_no_more_than_the_network_reads(ears: Listener) -> None:
    long = "The old captain walks along the quay and looks at every ship in the harbour. " * 60
    page, words = page_of(ears.tokenizer, long, [MIA, TOM, LAMP] * 3 + [MIA], [long, long])
    assert len(page.ids) <= LONGEST
    assert len(page.members) == MEMBERS
    assert len(words) == len(page.words) < len(words_of(long))


def test_words_stand_where_their_pieces_are(ears: Listener) -> None:
    page, words = page_of(ears.tokenizer, "Mia's lamplighter waits.", [TOM], ["Tom sleeps."])
    assert [word.text for word in words] == ["Mia", "s", "lamplighter", "waits"]
    said = [ears.tokenizer.decode(page.ids[start:end]) for start, end in page.words]
    assert said == ["mia", "s", "lamplighter", "waits"]
    assert [page.parts[start] for start, _ in page.words] == [3, 2, 2, 2], "a capital letter is told apart"


def test_pages_of_other_sizes_do_not_change_each_others_scores(ears: Listener) -> None:
    pages = [
        page_of(ears.tokenizer, text, members, [])[0]
        for text, members in (("She lifts the lamp.", [MIA, LAMP]), ("Tom and Mia laugh; the two of them run.", [TOM]))
    ]
    with torch.inference_mode():
        heads, pairs = ears.network(batch_of(pages))
        alone_heads, alone_pairs = ears.network(batch_of(pages[:1]))
    count, room = len(pages[0].words), batch_of(pages).members
    torch.testing.assert_close(heads[0, :count], alone_heads[0], atol=1e-4, rtol=1e-4)
    columns = [0, 1, *range(room, room + count)]
    torch.testing.assert_close(pairs[0, :count][:, columns], alone_pairs[0], atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"part.weight": torch.zeros(4, 8)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="train it again"):
        Listener(tmp_path / "other.safetensors")


def test_a_long_prompt_is_read_in_parts_that_are_the_whole() -> None:
    text = "Mia walks on. " * 130 + "x" * 2000
    parts = list(parts_of(text))
    assert "".join(part for _, part in parts) == text
    assert all(len(part) <= PART for _, part in parts)
    assert all(start + len(part) == following for (start, part), (following, _) in pairwise(parts))
    assert parts[0][1].endswith(".")


def test_an_introduction_is_the_words_around_the_first_one() -> None:
    text = "Rain falls. A scruffy terrier named Bo sleeps by the green door of the bakery, and nobody wakes him."
    told = introduced(["Bo", "terrier"], text, text.index("terrier"))
    assert told.startswith("Bo, terrier: A scruffy terrier named Bo sleeps")
    assert "Rain" not in told


def test_a_page_says_by_which_pronouns_its_members_were_told_of(ears: Listener) -> None:
    cast = [replace(MIA, pronoun="she"), TOM]
    page, words = page_of(ears.tokenizer, "He thanks her; Tom bows.", cast, [])
    assert ears.tokenizer.decode(page.ids[slice(*page.members[0])]).startswith("she, mia")
    agree, differ = (page.features[:, :2, feature].tolist() for feature in (9, 10))
    assert [word.text for word in words] == ["He", "thanks", "her", "Tom", "bows"]
    assert agree == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]]
    assert differ == [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0]], "of Tom no pronoun is known"
