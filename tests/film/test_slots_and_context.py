"""Which pictures a clip model is shown, and that what is sent stays bounded while a film grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memreel.film.context import LEAST_SCALE, MOST_FRAMES, Past, compress, shrunk, story_so_far, weight
from memreel.film.slots import allocate, tag_of
from memreel.memory.records import CastMember, Frame


def frame(name: str, *shows: int) -> Frame:
    return {
        "frame_id": name, "frame_path": "", "prompt_id": 1, "chunk_id": 1, "frame": 0, "index": 0, "score": 0.5,
        "entity_scores": {str(i): 0.5 for i in shows}, "associated_entities": list(shows),
    }  # fmt: skip


BANK = {1: [frame("m1", 1), frame("m2", 1), frame("m3", 1)], 2: [frame("e1", 2)], 3: [frame("d1", 3)], 4: []}


def chosen(ids: list[int], slots: int) -> list[str]:
    return [one["frame_id"] for one in allocate(lambda i: BANK[i], ids, slots)]


def test_each_entity_gets_its_best_frame_and_the_lead_the_spare_slots() -> None:
    assert chosen([1, 2], 3) == ["m1", "e1", "m2"]
    assert chosen([2, 1], 4) == ["e1", "m1"]
    assert chosen([1], 3) == ["m1", "m2", "m3"]


def test_the_most_important_come_first_where_there_are_too_few_slots() -> None:
    assert chosen([1, 2, 3], 2) == ["m1", "e1"]
    assert chosen([1, 2], 0) == []


def test_who_has_no_frame_yet_takes_no_slot() -> None:
    assert chosen([4, 2], 3) == ["e1"]
    assert chosen([4], 3) == []


def test_a_picture_that_shows_two_is_sent_once() -> None:
    both = frame("both", 1, 2)
    names = [one["frame_id"] for one in allocate(lambda i: [both], [1, 2], 3)]
    assert names == ["both"]


@pytest.mark.parametrize("name", ["Mia", "Jo", "小明", "Count Otto von Falkenstein III", "R2-D2", "7"])
def test_tags_are_what_providers_take(name: str) -> None:
    member: CastMember = {
        "global_id": 7, "kind": "character", "name": name, "all_entities": [], "all_attrs": [], "instances": [],
    }  # fmt: skip
    tag, other = tag_of(member), tag_of(member, [tag_of(member)])
    for one in (tag, other):
        assert 3 <= len(one) <= 16
        assert one.replace("_", "").isalnum()
        assert one.isascii()
    assert tag != other


def test_older_pictures_weigh_half_as_much_a_segment_and_only_a_hundred_are_kept() -> None:
    assert [weight(age) for age in range(4)] == [1, 0.5, 0.25, 0.125]
    weighed = compress([Past(Path(f"{n}"), n) for n in range(250)], 249)
    assert len(weighed) == MOST_FRAMES
    assert weighed[0].weight == 1
    assert weighed[-1].past.segment == 150


def test_pictures_shrink_with_age_down_to_a_quarter(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)).save(path)
    sizes = []
    for age in range(8):
        content = shrunk(path, weight(age))
        there = tmp_path / f"{age}.jpg"
        there.write_bytes(content)
        with Image.open(there) as image:
            assert image.width == max(round(320 * weight(age)), round(320 * LEAST_SCALE))
        sizes.append(len(content))
    assert sizes[0] > 3 * sizes[1] > 9 * sizes[3]
    assert sizes[-1] == sizes[-2] or sizes[-1] < sizes[3]


def test_what_is_sent_does_not_grow_with_the_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    past, sent = [], []
    cast: dict[str, CastMember] = {
        "1": {
            "global_id": 1, "kind": "character", "name": "Mia", "all_entities": ["Mia"], "all_attrs": ["red hair"],
            "instances": [],
        }
    }  # fmt: skip
    texts: list[str] = []
    for segment in range(60):
        path = tmp_path / f"{segment}.png"
        Image.fromarray(rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)).save(path)
        past.append(Past(path, segment))
        texts.append(f"In scene {segment}, Mia does something long and different from all the others.")
        pictures = sum(len(shrunk(one.past.path, one.weight)) for one in compress(past, segment, most=10))
        sent.append(pictures + len(story_so_far(texts, cast)))
    assert max(sent[20:]) <= 1.05 * max(sent[10:20])
    assert "Mia: red hair." in story_so_far(texts, cast)
    assert "scene 3," not in story_so_far(texts, cast)
