"""A Wan stream restored from a snapshot: the same bits as the stream that was never interrupted, for a few passes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_wan import settings

from memreel.errors import ModelError
from memreel.model import load
from memreel.model.passes import Passes
from memreel.model.protocol import Chunk, EvictedChunk, LoggedChunk, MemoryFrame, Snapshot, SnapshotStream, place_of
from memreel.model.wan.model import WanModel
from memreel.output.durable import read_tensors, write_tensors

MIA = "mia, a young woman with red hair, walks in the park"
TOM = "tom, an old man, waits in the library"
TEXTS = [MIA, MIA, TOM, TOM, MIA, TOM, TOM, TOM, MIA, MIA]
"""A soft switch takes two chunks or more, so from the fourth chunk on it begins within another."""
SEED = 5
HOW: list[dict[str, Any]] = [
    {"switch": switch, "codec": codec, "store": store}
    for switch, codec, store in product(("recache", "soft", "hard"), ("wan", "tiny"), ("kv", "latent"))
]
HOW += [
    {"switch": "recache", "codec": "tiny", "store": "kv", "rotary": "absolute"},
    {"switch": "soft", "codec": "tiny", "store": "latent", "sink": 0, "local": 9},
]


class Film:
    """Ten chunks that were never interrupted, and what was kept of them: log, memory frames, every snapshot."""

    def __init__(self, model: WanModel, kept: Path, store: str = "kv") -> None:
        self.model, self.chunks, self.memory = model, list[Chunk](), list[list[MemoryFrame]]()
        self.frames: dict[str, MemoryFrame] = {}
        self._kept = kept
        stream, memory = model.open(SEED), list[MemoryFrame]()
        for index, text in enumerate(TEXTS):
            stream.set_prompt(text)
            self.memory.append(list(memory))
            chunk = stream.generate(memory)
            self.chunks.append(chunk)
            if chunk.evicted is not None:
                name = f"p1_c{chunk.evicted.index + 1}_f{index % 3}"
                self.frames[name] = chunk.evicted.frame(index % 3, name, latent_only=store == "latent")
                memory = [*memory, self.frames[name]][-3:]
            taken = stream.snapshot()
            write_tensors(kept / f"{taken.index}", taken.tensors, taken.facts)
        stream.finalize()

    def log(self, index: int) -> LoggedChunk:
        chunk, memory = self.chunks[index], self.memory[index]
        return LoggedChunk(TEXTS[index], chunk.latents.clone(), chunk.attended, [place_of(frame) for frame in memory])

    def snapshot(self, index: int) -> Snapshot:
        """Return a snapshot as it comes from the disk, with the memory frames that there were by then."""
        gone = index - self.model.layout.local // 3
        frames = {name: frame for name, frame in self.frames.items() if frame.index < gone}
        return Snapshot(index, *read_tensors(self._kept / f"{index}"), frames.__getitem__)


def model_of(folder: Path, **wan: object) -> WanModel:
    model = load(settings(folder, **{"codec": "tiny", **wan}))
    assert isinstance(model, WanModel)
    return model


@pytest.fixture(scope="module", params=HOW, ids=lambda how: "-".join(map(str, how.values())))
def film(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Film:
    how = dict(request.param)
    store = how.pop("store")
    return Film(model_of(folder, **how), tmp_path_factory.mktemp("kept"), store)


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Film:
    return Film(model_of(folder, switch="hard"), tmp_path_factory.mktemp("plain"))


def same(chunk: Chunk, made: Chunk) -> None:
    """Compare two chunks, and those that they pushed out, to the last bit."""
    assert (chunk.index, chunk.attended) == (made.index, made.attended)
    assert torch.equal(chunk.latents, made.latents)
    assert np.array_equal(chunk.pictures, made.pictures)
    one, other = chunk.evicted, made.evicted
    assert (one is None) == (other is None)
    if isinstance(one, EvictedChunk) and isinstance(other, EvictedChunk):
        assert (one.index, one.text) == (other.index, other.text)
        assert np.array_equal(one.pictures, other.pictures)
        for part in ("latents", "keys", "values", "queries"):
            assert torch.equal(getattr(one, part), getattr(other, part)), part


@pytest.mark.parametrize(("taken", "index"), [(1, 3), (3, 7), (5, 6), (6, 9)])
def test_what_follows_a_snapshot_is_bit_for_bit_what_was_made(film: Film, taken: int, index: int) -> None:
    stream = film.model.open(SEED)
    last = stream.restore(film.log, index, film.snapshot(taken))
    assert last is not None
    assert stream.index == index
    same(last, film.chunks[index - 1])
    with pytest.raises(ModelError, match="no prompt is set"):
        stream.generate()
    for number in range(index, min(index + 4, len(TEXTS))):  # by then all that it held has left
        stream.set_prompt(TEXTS[number])
        same(stream.generate(film.memory[number]), film.chunks[number])


def test_a_restored_stream_gives_the_snapshots_that_the_first_gave(film: Film) -> None:
    stream = film.model.open(SEED)
    stream.restore(film.log, 7, film.snapshot(4))
    again, first = stream.snapshot(), film.snapshot(7)
    assert (again.index, again.facts) == (7, first.facts)
    assert again.tensors.keys() == first.tensors.keys()
    assert all(torch.equal(again.tensors[name], first.tensors[name]) for name in first.tensors)


def test_the_films_put_to_the_test_what_a_snapshot_is_for(film: Film) -> None:
    """Frames of before are attended after it, some soon for the last time; a soft switch is under way."""
    attended = [{frame.index for frame in film.memory[number]} for number in range(len(TEXTS))]
    held = film.model.layout.local // 3
    assert any(index < 6 - held for index in attended[6])
    assert attended[6] - attended[8]
    assert ("leaving.keys" in film.snapshot(6).tensors) == (film.model.config.switch == "soft")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clean passes since the test began, one entry each."""
    done, write = list[int](), Passes.write

    def counted(self: Passes, *given: Any) -> Any:
        done.append(len(done))
        return write(self, *given)

    monkeypatch.setattr(Passes, "write", counted)
    return done


def test_only_the_passes_since_the_snapshot_are_done_and_only_their_latents_read(
    plain: Film, passes: list[int]
) -> None:
    read: set[int] = set()

    def log(index: int) -> LoggedChunk:
        read.add(index)
        return plain.log(index)

    stream = plain.model.open(SEED)
    stream.restore(log, 9, plain.snapshot(7))
    assert len(passes) == 2
    assert read == {0, 5, 6, 7, 8}, "those held by sink and window, to compare them, and those since"
    stream.restore(log, 9)
    assert len(passes) == 2 + 9


def test_a_snapshot_of_another_video_or_moment_is_refused_and_the_log_still_does(plain: Film) -> None:
    stream, snapshot = plain.model.open(SEED), plain.snapshot(7)

    def other(index: int) -> LoggedChunk:
        logged = plain.log(index)
        return replace(logged, latents=logged.latents + 1) if index == 6 else logged

    with pytest.raises(ModelError, match="after 7 chunks has another chunk 6 than the log"):
        stream.restore(other, 9, snapshot)
    with pytest.raises(ModelError, match="7 chunks from a snapshot after fewer, not 7"):
        stream.restore(plain.log, 7, snapshot)
    strange = replace(plain.memory[7][0], index=90)
    with pytest.raises(ModelError, match=f"another memory frame {strange.frame_id} than the log"):
        stream.restore(plain.log, 9, replace(snapshot, frame=lambda _: strange))
    with pytest.raises(ModelError, match="not one of this version"):
        stream.restore(plain.log, 9, replace(snapshot, facts={}))
    last = stream.restore(plain.log, 9)
    assert last is not None
    same(last, plain.chunks[8])


def test_a_log_that_names_a_frame_of_no_chunk_before_is_refused(plain: Film) -> None:
    def log(index: int) -> LoggedChunk:
        return plain.log(index) if index != 2 else plain.log(6)

    with pytest.raises(ModelError, match=f"memory frame {plain.memory[6][0].frame_id}, which no chunk before"):
        plain.model.open(SEED).restore(log, 4)


def test_a_finalized_stream_gives_no_snapshot(plain: Film) -> None:
    stream = plain.model.open(SEED)
    assert isinstance(stream, SnapshotStream)
    assert stream.snapshot_every == 240
    stream.finalize()
    with pytest.raises(ModelError, match="finalized"):
        stream.snapshot()
