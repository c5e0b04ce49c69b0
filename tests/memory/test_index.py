"""The FAISS index: candidates for a phrase, and no work when nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from memreel.memory.index import Candidate, Embed, TextIndex

CAST = [
    (1, "Nora, a young woman with short black curls and a beige sweater"),
    (2, "Ethan, a young man with tidy brown hair and a dark blue shirt"),
    (3, "notebook, red"),
]


def test_a_description_finds_the_member_it_describes(embed: Embed) -> None:
    [woman, man, book] = TextIndex(embed).nearest(
        CAST, ["the woman with black curly hair", "the man in the blue shirt", "the crimson notebook"], k=3
    )
    assert [woman[0][0], man[0][0], book[0][0]] == [1, 2, 3]
    assert woman[0][1] == pytest.approx(0.60, abs=0.02)  # the figure published with the encoder's check
    assert sorted(key for key, _ in woman) == [1, 2, 3]
    assert [similarity for _, similarity in woman] == sorted((s for _, s in woman), reverse=True)


def test_a_member_with_several_wordings_counts_once_by_the_closest(embed: Embed) -> None:
    rows = [*CAST, (1, "the baker behind the counter")]
    [found] = TextIndex(embed).nearest(rows, ["a baker"], k=5)
    [[closest]] = TextIndex(embed).nearest(rows[3:], ["a baker"], k=5)
    assert found[0] == (1, pytest.approx(closest[1]))
    assert sorted(key for key, _ in found) == [1, 2, 3]


def test_nothing_is_embedded_or_built_again_while_the_rows_stay(embed: Embed) -> None:
    embedded: list[str] = []

    def counted(texts: Sequence[str]) -> np.ndarray:
        embedded.extend(texts)
        return embed(texts)

    index = TextIndex(counted)
    index.nearest(CAST, ["a woman"], k=1)
    index.nearest(list(CAST), ["a man"], k=1)
    assert index.builds == 1
    index.nearest([*CAST, (4, "dog")], ["a dog"], k=1)
    assert index.builds == 2
    rows = [text for _, text in CAST]
    assert embedded == [*rows, "a woman", "a man", "dog", "a dog"]


def test_an_edited_row_is_found_by_its_new_text(embed: Embed) -> None:
    index = TextIndex(embed)
    assert index.nearest([(1, "a black dog"), (2, "a red car")], ["an automobile"], k=1)[0][0][0] == 2
    assert index.nearest([(1, "a yellow taxi"), (2, "a white cat")], ["an automobile"], k=1)[0][0][0] == 1


def test_an_empty_cast_or_no_phrases_gives_no_candidates(embed: Embed) -> None:
    index = TextIndex(embed)
    assert index.nearest([], ["a woman"], k=3) == [[]]
    assert index.nearest(CAST, [], k=3) == []


def test_the_bank_offers_cast_members_as_candidates(film: Callable) -> None:
    shoot = film()
    shoot.begin(
        "Nora reads.",
        {"entity": "Nora", "kind": "character", "attrs": ["short black curls", "beige sweater"], "global_id": 4},
        {"entity": "the notebook", "kind": "object", "attrs": ["red"], "global_id": 9},
    )
    [found] = shoot.bank.candidates(shoot.state, ["a woman with curly black hair"], k=1)
    assert isinstance(found[0], Candidate)
    assert found[0].global_id == 4
    assert -1 <= found[0].similarity <= 1
