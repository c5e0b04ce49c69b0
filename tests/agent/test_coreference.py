"""What the network reads, and what is made of its scores: who is meant by a word, by several, by a pronoun."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from memreel.agent.coreference import DOUBT, Listener, LowRank, _decided, listener
from memreel.agent.hearing import PART, parts_of
from memreel.agent.pages import LONGEST, MEMBERS, Member, batch_of, introduced, page_of, words_of

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


def test_an_update_that_is_merged_does_what_it_did_beside() -> None:
    torch.manual_seed(0)
    layer = LowRank(nn.Linear(8, 6), 2)
    nn.init.normal_(layer.up)
    x = torch.randn(3, 8)
    beside = layer(x)
    torch.testing.assert_close(layer.merged()(x), beside)


def decided(
    text: str, members: int, links: dict[tuple[int, int], float], several: tuple[int, ...] = ()
) -> list[object]:
    """Decide with all words but "and" a character each; ``links`` are scores of (word, column), all others -9."""
    words = words_of(text)
    kinds = torch.tensor([[0.9, 0.1, 0.0] if word.text == "and" else [0.1, 0.9, 0.0] for word in words])
    pairs = torch.full((len(words), members + len(words)), -9.0)
    for (word, column), score in links.items():
        pairs[word, column] = score
    many = torch.tensor([i in several for i in range(len(words))])
    return [(one.word.text, one.group, one.members) for one in _decided(words, members, kinds, many, pairs)]


def test_a_word_is_whom_it_is_likeliest_or_new() -> None:
    told = decided("Mia Tom woman", 2, {(0, 0): 3.0, (0, 1): 1.0, (2, 0): 1.0, (2, 3): 2.0})
    assert told == [("Mia", 0, (0,)), ("Tom", 1, ()), ("woman", 1, ())]


def test_a_pronoun_is_never_somebody_new() -> None:
    assert decided("She waits", 1, {(0, 0): DOUBT + 1}) == [("She", 0, (0,)), ("waits", 1, ())]
    assert decided("She waits", 1, {(0, 0): DOUBT - 1}) == [("waits", 0, ())]


def test_several_are_each_of_them_and_a_new_crowd_is_nobody_of_it() -> None:
    told = decided("They Mia", 3, {(0, 0): 2.0, (0, 2): 1.0, (1, 0): 4.0}, several=(0,))
    assert told == [("They", -1, (0,)), ("They", -3, (2,)), ("Mia", 0, (0,))]
    told = decided("sisters Lin and Wen", 0, {(1, 0): 5.0, (3, 0): 5.0}, several=(0,))
    assert [group for _, group, _ in told] == [0, 1, 2]


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
