"""The bank as a whole: the timeline of the memory, what is archived under whom, bounds, purity, repeatability."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from memreel.configs.schema import MemoryConfig
from memreel.errors import StoreError, UserError
from memreel.memory.bank import Bank
from memreel.memory.frames import FrameStore

MakeFilm = Callable[..., Any]
WINDOW = 2
"""Chunks in the local window: generating chunk n (from 0) evicts chunk n - 2."""


def roll(shoot: Any, chunks_per_prompt: int, scripts: list[tuple[str, list[Any]]], visible: Callable) -> list[int]:
    """Film a script as the stream would, evictions two chunks late; return the memory's size after each chunk."""
    sizes = []
    for number, (text, entities) in enumerate(scripts):
        shoot.begin(text, *entities)
        for chunk in range(chunks_per_prompt):
            index = number * chunks_per_prompt + chunk - WINDOW
            if index >= 0:
                born_prompt_id, born_chunk_id = index // chunks_per_prompt + 1, index % chunks_per_prompt + 1
                shoot.evict(index, born_chunk_id, born_prompt_id, **visible(index))
            sizes.append(len(shoot.state["memory"]))
    return sizes


@pytest.mark.parametrize("strategy", ["attention", "recency", "random"])
@pytest.mark.parametrize("frames_per_entity", [1, 3])
@pytest.mark.parametrize("who", ["one", "two", "nobody"])
def test_the_memory_of_the_first_prompt_grows_0_0_1_2_3_3(
    film: MakeFilm, strategy: str, frames_per_entity: int, who: str
) -> None:
    shoot = film(strategy=strategy, frames_per_entity=frames_per_entity)
    cast = {"one": [shoot.MIA], "two": [shoot.MIA, shoot.TOM], "nobody": []}[who]
    sizes = roll(shoot, 9, [("A street.", cast)], lambda index: {"Mia": 0.9 - index / 10, "scenery": 0.5})
    assert sizes == [0, 0, 1, 2, 3, 3, 3, 3, 3]


def test_every_frame_is_in_the_memory_once(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    for chunk_id in range(1, 8):
        shoot.evict(chunk_id, chunk_id, Mia=0.3 + chunk_id / 20)
        shoot.evict(chunk_id, chunk_id, Mia=0.3 + chunk_id / 20)  # the same chunk, admitted again
        assert len(set(shoot.state["memory"])) == len(shoot.state["memory"]) == min(chunk_id, 3)


def test_the_last_chunks_of_a_prompt_are_archived_under_the_prompt_that_generated_them(film: MakeFilm) -> None:
    shoot = film()
    roll(
        shoot,
        4,
        [("Mia walks, and at the end Ava appears.", [shoot.MIA, shoot.AVA]), ("Tom.", [shoot.TOM])],
        lambda index: {"Mia": 0.6, "Ava": 0.9 * (index == 3)} if index < 4 else {"Tom": 0.9},
    )
    late = shoot.state["frames"]["p1_c4_f0"]
    assert (late["prompt_id"], late["chunk_id"], late["index"]) == (1, 4, 3)
    assert late["associated_entities"] == [1, 3]
    assert "2" not in late["entity_scores"], "it is not scored for the next prompt's entities"
    assert shoot.begin("Ava returns.", shoot.AVA) == ["p1_c4_f0"]


def test_a_late_entrant_is_indexed_from_the_moment_it_is_there(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia waits; later Tom joins her.", shoot.MIA, shoot.TOM)
    for chunk_id in range(1, 4):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.8, Tom=0.1)
    shoot.evict(14, 4, Mia=0.8, Tom=[0.1, 0.2, 0.7])
    assert [frame["associated_entities"] for frame in shoot.state["frames"].values()] == [[1], [1], [1], [1, 2]]
    assert shoot.begin("Tom alone.", shoot.TOM) == ["p1_c4_f2"]


def test_frames_are_indexed_under_who_is_in_them_and_not_under_the_whole_prompt(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia, Tom and Ava.", shoot.MIA, shoot.TOM, shoot.AVA)
    shoot.evict(11, 1, Mia=0.8)
    shoot.evict(12, 2, Tom=0.7, Ava=0.6)
    frames = shoot.state["frames"]
    assert frames["p1_c1_f0"]["associated_entities"] == [1]
    assert frames["p1_c2_f0"]["associated_entities"] == [2, 3]
    assert frames["p1_c1_f0"]["entity_scores"] == pytest.approx({"1": 0.8, "2": 0.0, "3": 0.0})


def test_who_is_only_mentioned_is_in_the_cast_and_in_no_frame(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Tom thinks of Mia, red hair.", {**shoot.MIA, "presence": "mentioned"}, shoot.TOM)
    kept = shoot.evict(0, 1, Mia=0.9, Tom=0.4)
    frame = shoot.state["frames"][kept]
    assert (frame["associated_entities"], frame["entity_scores"].keys()) == ([2], {"2"})
    assert shoot.state["cast"]["1"]["all_attrs"] == ["red hair", "blue sweater"]
    assert [entity.get("presence") for entity in shoot.state["prompts"]["1"]["entities"]] == ["mentioned", None]


def test_no_frame_of_a_prompt_is_kept_as_who_walks_out_of_it(film: MakeFilm) -> None:
    shoot, bare = film(), {"attrs": [], "presence": "leaves"}
    shoot.begin("Mia sits.", shoot.MIA)
    shoot.begin("Mia leaves. Tom sits.", {**shoot.MIA, **bare}, shoot.TOM)
    kept = shoot.evict(10, 1, Mia=0.9, Tom=0.8)
    assert shoot.state["frames"][kept]["associated_entities"] == [2], "what seems to be her may be what she left behind"
    shoot.begin("Tom leaves in a red coat.", {**shoot.TOM, "attrs": ["red coat"], "presence": "leaves"})
    kept = shoot.evict(20, 1, Tom=0.9)
    assert shoot.state["frames"][kept]["associated_entities"] == [2], "he was never seen in it before"
    shoot.begin("Ava walks past.", {**shoot.AVA, **bare})
    kept = shoot.evict(30, 1, Ava=0.9)
    assert shoot.state["frames"][kept]["associated_entities"] == [3], "there is no other picture of her"


def test_objects_have_frames_of_their_own(film: MakeFilm) -> None:
    shoot = film()
    notebook = {"entity": "notebook", "kind": "object", "attrs": ["red"], "global_id": 9}
    shoot.begin("Mia opens a red notebook.", shoot.MIA, notebook)
    shoot.evict(11, 1, Mia=0.8)
    shoot.evict(12, 2, notebook=0.5)
    shoot.begin("Tom sleeps.", shoot.TOM)
    assert shoot.begin("The notebook lies on the table.", notebook) == ["p1_c2_f0"]


def test_a_sole_entity_is_indexed_on_weak_evidence_until_it_is_seen_plainly(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("An empty street. Then Mia comes.", shoot.MIA)
    for chunk_id in (1, 2, 3):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.05)
    assert all(frame["associated_entities"] == [1] for frame in shoot.state["frames"].values())
    for chunk_id in (4, 5, 6):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.6)
    assert sorted(shoot.state["frames"]) == ["p1_c4_f0", "p1_c5_f0", "p1_c6_f0"]


def test_weak_evidence_is_not_kept_beside_plain_evidence(film: MakeFilm) -> None:
    shoot = film(frames_per_entity=9, slots=1)
    shoot.begin("Mia.", shoot.MIA)
    assert shoot.evict(11, 1, Mia=0.05) == "p1_c1_f0"
    shoot.begin("Tom.", shoot.TOM)
    assert shoot.begin("Mia again.", shoot.MIA) == ["p1_c1_f0"], "better than nothing"
    shoot.evict(12, 1, Mia=0.6)
    assert shoot.evict(13, 2, Mia=0.06) is None
    assert list(shoot.state["frames"]) == ["p3_c1_f0"]


def test_weak_evidence_is_kept_while_there_is_no_better(film: MakeFilm) -> None:
    shoot = film(slots=0)
    shoot.begin("Mia.", shoot.MIA)
    assert shoot.evict(11, 1, Mia=0.05) == "p1_c1_f0"


def test_each_entity_keeps_its_best_frames_only(film: MakeFilm, tmp_path: Path) -> None:
    shoot = film(frames_per_entity=2, slots=0)
    shoot.begin("Mia and Tom.", shoot.MIA, shoot.TOM)
    for chunk_id, (mia, tom) in enumerate([(0.9, 0), (0.3, 0.8), (0.8, 0), (0.7, 0), (0, 0.6), (0, 0.5)], start=1):
        shoot.evict(10 + chunk_id, chunk_id, Mia=float(mia), Tom=float(tom))
    assert sorted(shoot.state["frames"]) == ["p1_c1_f0", "p1_c2_f0", "p1_c3_f0", "p1_c5_f0"]
    assert shoot.kept == ["p1_c1_f0", "p1_c2_f0", "p1_c3_f0", None, "p1_c5_f0", None]
    shoot.store.settle()
    on_disk = sorted(path.stem for path in (tmp_path / "stream" / "memory").iterdir())
    assert on_disk == sorted(path.stem for path in (tmp_path / "frames").iterdir()) == sorted(shoot.state["frames"])


def test_a_frame_in_the_current_memory_is_never_dropped(film: MakeFilm) -> None:
    shoot = film(frames_per_entity=1)
    shoot.begin("Mia.", shoot.MIA)
    for chunk_id in range(1, 10):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.3 + chunk_id / 20)
        assert set(shoot.state["memory"]) <= set(shoot.state["frames"])
        assert len(shoot.bank.frames(shoot.state)) == len(shoot.state["memory"])
    shoot.begin("Tom.", shoot.TOM)
    for chunk_id in range(1, 5):
        shoot.evict(30 + chunk_id, chunk_id, Tom=0.5 + chunk_id / 20)
    assert [name for name in shoot.state["frames"] if name.startswith("p1")] == ["p1_c9_f0"]


def test_two_hundred_evictions_leave_a_bounded_bank(film: MakeFilm, tmp_path: Path) -> None:
    shoot = film(scenery_frames=5)
    casts = [[shoot.MIA], [shoot.TOM, shoot.AVA], [], [shoot.MIA, shoot.TOM]]
    script = [(f"Scene {number} of the story.", casts[number % 4]) for number in range(20)]
    draw = torch.Generator().manual_seed(0)

    def visible(index: int) -> dict[str, float]:
        shown = torch.rand(4, generator=draw).tolist()
        return dict(zip(["scenery", "Mia", "Tom", "Ava"], shown, strict=True))

    peak = 0
    begin = shoot.begin

    def begin_and_measure(*args: Any) -> list[str]:
        nonlocal peak
        peak = max(peak, len(shoot.state["frames"]))
        memory: list[str] = begin(*args)
        return memory

    shoot.begin = begin_and_measure
    roll(shoot, 10, script, visible)
    assert len(shoot.kept) == 198
    bound = 3 * 3 + 5 + 3  # frames per entity x cast + scenery + memory
    assert peak <= bound
    assert len(shoot.state["frames"]) <= bound
    shoot.store.settle()
    assert {path.stem for path in (tmp_path / "stream" / "memory").iterdir()} == set(shoot.state["frames"])
    assert set(shoot.store._held) <= set(shoot.state["frames"]), "what was let go of is not held either"
    assert len(json.dumps(shoot.state)) < 20_000
    listed = {name for record in shoot.state["prompts"].values() for name in record["memory"]}
    assert listed <= set(shoot.state["frames"]), "no prompt refers to a frame that is gone"


def test_nothing_changes_the_state_that_was_handed_in(film: MakeFilm, paint: Callable) -> None:
    shoot = film()
    shoot.begin("Mia and Tom.", shoot.MIA, shoot.TOM)
    for chunk_id in range(1, 6):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.5, Tom=0.4)
    shoot.state = shoot.bank.close_prompt(shoot.state, 1)
    before = copy.deepcopy(shoot.state)
    bank = shoot.bank
    after = bank.register(shoot.state, 2, "Mia, a hat.", [{**shoot.MIA, "attrs": ["hat"]}])
    after = bank.retrieve(after, 2)
    after, kept = bank.admit(after, paint(40, Mia=0.95), 2, 1, 2)
    after = bank.close_prompt(after, 2)
    assert kept == "p2_c1_f0"
    assert after != before
    assert shoot.state == before


def test_admitting_the_same_chunk_to_the_same_state_does_the_same(film: MakeFilm, paint: Callable) -> None:
    shoot = film(frames_per_entity=1, slots=1)
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(11, 1, Mia=0.5)
    once, _ = shoot.bank.admit(shoot.state, paint(12, Mia=0.6), 1, 2, 1)
    again, _ = shoot.bank.admit(shoot.state, paint(12, Mia=0.6), 1, 2, 1)
    assert once == again
    assert [frame.frame_id for frame in shoot.bank.frames(again)] == ["p1_c2_f0"]


def test_a_bank_opened_again_goes_on_from_the_state_alone(film: MakeFilm, tmp_path: Path) -> None:
    def half(shoot: Any, chunks: range) -> None:
        for chunk_id in chunks:
            shoot.evict(10 + chunk_id, chunk_id, Mia=0.3 + (chunk_id * 7 % 5) / 10)

    whole = film()
    whole.begin("Mia.", whole.MIA)
    half(whole, range(1, 9))
    first = film()
    first.begin("Mia.", first.MIA)
    half(first, range(1, 5))
    second = film()
    second.state, second.prompt_id = json.loads(json.dumps(first.state)), 1
    half(second, range(5, 9))
    assert second.state == whole.state
    for mine, theirs in zip(second.bank.frames(second.state), whole.bank.frames(whole.state), strict=True):
        assert torch.equal(mine.keys, theirs.keys)


def test_memory_frames_are_the_evicted_tensors(film: MakeFilm, paint: Callable) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(11, 1, Mia=[0.3, 0.9, 0.5])
    [frame] = shoot.bank.frames(shoot.state)
    chunk = paint(11, Mia=[0.3, 0.9, 0.5])
    assert (frame.frame_id, frame.index, frame.frame) == ("p1_c1_f1", 11, 1)
    assert torch.equal(frame.keys, chunk.keys[:, 1])
    assert torch.equal(frame.latent, chunk.latents[1])


def test_a_prompt_records_the_memory_it_ends_with(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(11, 1, Mia=0.5)
    assert shoot.state["prompts"]["1"]["memory"] == []
    assert shoot.bank.close_prompt(shoot.state, 1)["prompts"]["1"]["memory"] == ["p1_c1_f0"]


def test_more_slots_than_the_model_has_is_refused(model: Any, tmp_path: Path, embed: Any) -> None:
    store = FrameStore(tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"memory.slots is 9, but the video model 'painted' attends to 8"):
        Bank(MemoryConfig(slots=9), model, store, embed, 0)


def test_a_scorer_that_the_model_lacks_is_refused(model: Any, tmp_path: Path, embed: Any) -> None:
    store = FrameStore(tmp_path / "memory", tmp_path / "frames")
    with pytest.raises(UserError, match=r"memory.scorer: .*'painted' has no scorer 'evn'; did you mean 'even'\?"):
        Bank(MemoryConfig(scorer="evn"), model, store, embed, 0)
    Bank(MemoryConfig(scorer="even"), model, store, embed, 0)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("all", ["Mia, red hair, blue sweater", "Bo"]),
        ("name", ["Mia", "Bo"]),
        ("attributes", ["red hair, blue sweater", "Bo"]),
    ],
)
def test_frames_are_scored_by_the_words_that_are_configured(
    film: MakeFilm, monkeypatch: pytest.MonkeyPatch, words: str, asked: list[str]
) -> None:
    shoot, seen = film(words=words), []
    score = type(shoot.bank._scoring).score
    monkeypatch.setattr(type(shoot.bank._scoring), "score", lambda s, e, p: seen.append(list(p)) or score(s, e, p))
    shoot.begin("Mia and Bo.", shoot.MIA, {"entity": "Bo", "kind": "character", "attrs": [], "global_id": 9})
    shoot.evict(0, 1, Mia=0.9)
    assert seen[0] == asked


def test_an_unknown_prompt_is_named(film: MakeFilm, paint: Callable) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    with pytest.raises(UserError, match=r"no prompt 3 \(known: 1\)"):
        shoot.bank.retrieve(shoot.state, 3)
    with pytest.raises(UserError, match=r"no prompt 2"):
        shoot.bank.admit(shoot.state, paint(1), 2, 1, 1)


def test_an_edited_memory_is_checked_before_it_is_used(film: MakeFilm, tmp_path: Path) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(11, 1, Mia=0.5)
    with pytest.raises(UserError, match="lists 'p9_c9_f9', which is none of its frames"):
        shoot.bank.frames({**shoot.state, "memory": ["p9_c9_f9"]})
    with pytest.raises(UserError, match="lists 4 frames, but there are 3 slots"):
        shoot.bank.frames({**shoot.state, "memory": ["p1_c1_f0"] * 4})
    (tmp_path / "stream" / "memory" / "p1_c1_f0.safetensors").unlink()
    reopened = film()
    with pytest.raises(StoreError, match=r"p1_c1_f0.safetensors"):
        reopened.bank.frames(shoot.state)


def test_a_frame_that_a_user_puts_under_an_entity_counts_for_it(film: MakeFilm) -> None:
    shoot = film()
    shoot.begin("Mia.", shoot.MIA)
    shoot.evict(11, 1, Mia=0.5)
    shoot.state["frames"]["p1_c1_f0"]["associated_entities"] = [2]
    assert shoot.begin("Tom.", shoot.TOM) == ["p1_c1_f0"]
