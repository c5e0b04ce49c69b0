"""Chunks made together, from recordings, or with pictures that come later, are those that are made one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rerun import Rerun
from small_wan import settings

from memreel.errors import ModelError
from memreel.model import load
from memreel.model.passes import Passes, Sheet
from memreel.model.protocol import Chunk, MemoryFrame
from memreel.model.replay import Replayed, Tensors
from memreel.model.wan.making import Batch
from memreel.model.wan.model import WanModel

MIA = "mia, a young woman with red hair, walks in the park"
TOM = "tom, an old man, waits in the library"


def model_of(folder: Path, **wan: object) -> WanModel:
    model = load(settings(folder, codec="tiny", attention="math", **wan))
    assert isinstance(model, WanModel)
    return model


def remember(memory: list[MemoryFrame], chunk: Chunk, *, latent_only: bool) -> list[MemoryFrame]:
    if chunk.evicted is None:
        return memory
    name = f"p1_c{chunk.evicted.index}_f0"
    return [*memory, chunk.evicted.frame(0, name, latent_only=latent_only)][-3:]


def alone(
    model: WanModel, seed: int, texts: list[str], *, keeps: bool = True, latent_only: bool = False
) -> list[Chunk]:
    """Return the chunks of one stream under a text each, with memory frames if it ``keeps`` any."""
    stream, memory, chunks = model.open(seed), list[MemoryFrame](), []
    for text in texts:
        stream.set_prompt(text)
        chunks.append(stream.generate(memory))
        memory = remember(memory, chunks[-1], latent_only=latent_only) if keeps else []
    stream.finalize()
    return chunks


def assert_same(made: Chunk, expected: Chunk, tolerance: float) -> None:
    for one, other in ((made.latents, expected.latents), *_evicted(made, expected)):
        assert float((one - other).norm()) <= tolerance * float(other.norm())
    assert (made.index, made.attended) == (expected.index, expected.attended)
    assert int(np.abs(made.pictures.astype(int) - expected.pictures.astype(int)).max()) <= (1 if tolerance else 0)


def _evicted(made: Chunk, expected: Chunk) -> list[tuple[torch.Tensor, torch.Tensor]]:
    one, other = made.evicted, expected.evicted
    assert (one is None) == (other is None)
    if one is None or other is None:
        return []
    return [(getattr(one, name), getattr(other, name)) for name in ("latents", "keys", "values", "queries")]


@pytest.mark.parametrize("rotary", ["slots", "absolute"])
def test_videos_made_together_are_the_videos_that_each_is_alone(folder: Path, rotary: str) -> None:
    """Three videos: two with memory frames, one without any, whose contexts are smaller from the third chunk on."""
    model = model_of(folder, rotary=rotary)
    texts = [[MIA] * 4 + [TOM] * 2, [TOM] * 6, [MIA] * 6]
    keeps = [True, True, False]
    expected = [
        alone(model, seed, text, keeps=kept) for seed, (text, kept) in enumerate(zip(texts, keeps, strict=True))
    ]
    many = model.open_many([0, 1, 2])
    memories: list[list[MemoryFrame]] = [[], [], []]
    for number in range(6):
        for stream, text in zip(many.streams, texts, strict=True):
            stream.set_prompt(text[number])
        for row, chunk in enumerate(many.generate(memories)):
            assert_same(chunk, expected[row][number], 1e-5)
            memories[row] = remember(memories[row], chunk, latent_only=False) if keeps[row] else []


def test_videos_of_one_context_size_share_a_forward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = model_of(folder), list[int]()
    forward = model.net.forward
    monkeypatch.setattr(model.net, "forward", lambda x, *rest: (rows.append(len(x)), forward(x, *rest))[1])
    many = model.open_many([0, 1])
    for stream in many.streams:
        stream.set_prompt(MIA)
    many.generate()
    assert rows == [2] * 5, "four steps and the clean pass"


def test_one_bad_video_of_several_is_named_and_none_moves_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(folder)
    many = model.open_many([0, 1])
    for stream in many.streams:
        stream.set_prompt(MIA)
    many.generate()
    with monkeypatch.context() as patch:
        patch.setattr("memreel.model.wan.making.passed", spoiling("memreel.model.wan.making", row=1), raising=True)
        with pytest.raises(ModelError, match=r"chunk 1 has latents that are not finite"):
            many.generate()
    assert [stream.index for stream in many.streams] == [1, 1]
    expected = alone(model, 1, [MIA, MIA])
    assert_same(many.generate()[1], expected[1], 1e-5)


def spoiling(module: str, row: int) -> Callable[..., Batch]:
    """Return `passed`, but with a word from the device that one row is not finite."""
    from importlib import import_module

    made: Callable[..., Batch] = import_module(module).passed

    def spoiled(*given: object) -> Batch:
        batch = made(*given)
        batch.finite[row] = False
        return batch

    return spoiled


@pytest.mark.parametrize(
    ("how", "latent_only"), [({"switch": "soft"}, False), ({"switch": "recache", "rotary": "absolute"}, True)]
)
def test_recorded_passes_make_what_plain_ones_make(folder: Path, how: dict[str, str], latent_only: bool) -> None:
    """Through prompt switches, changing memory and two videos that take turns."""
    model, texts = model_of(folder, **how), [MIA] * 5 + [TOM] * 4
    expected = [alone(model, seed, texts, latent_only=latent_only) for seed in (0, 1)]
    plain, model.passes = model.passes, recording(model)
    try:
        streams, memories = [model.open(seed) for seed in (0, 1)], list[list[MemoryFrame]]([[], []])
        for number, text in enumerate(texts):
            for row, stream in enumerate(streams):
                stream.set_prompt(text)
                chunk = stream.generate(memories[row])
                assert_same(chunk, expected[row][number], 0.0)
                memories[row] = remember(memories[row], chunk, latent_only=latent_only)
        replayed = model.passes.replayed
        assert isinstance(replayed, Rerun)
        assert replayed.replays > 15
    finally:
        model.passes = plain


def recording(model: WanModel) -> Passes:
    passes = Passes(model.net, model.grid, "cpu", model.scorer.layers, record=True)
    passes.replayed = Rerun()
    return passes


def test_work_is_recorded_once_for_each_set_of_shapes_and_replayed_from_then_on() -> None:
    replayed, run = Rerun(), list[int]()

    def work(given: Tensors) -> torch.Tensor:
        run.append(len(given["x"]))
        return given["x"] * 2

    found = [replayed(work, {"x": torch.full((size,), float(value))}, plainly=2).clone() for value, size in
             enumerate([3, 3, 3, 5, 3, 5])]  # fmt: skip
    assert [float(each[0]) for each in found] == [0, 2, 4, 6, 8, 10]
    assert (len(replayed.recorded), replayed.replays) == (1, 2)


def test_what_cannot_be_recorded_runs_plainly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = Replayed("cpu")
    replayed.records = True
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", broken)
    x = torch.ones(2)
    assert torch.equal(replayed(lambda given: given["x"] + 1, {"x": x}), x + 1)
    with pytest.warns(UserWarning, match="could not be recorded and runs plainly, slower: operation not permitted"):
        assert torch.equal(replayed(lambda given: given["x"] + 1, {"x": x}), x + 1)
    assert torch.equal(replayed(lambda given: given["x"] + 1, {"x": x}), x + 1)
    assert not replayed.records


def test_pictures_may_be_asked_for_late_and_stills_of_what_leaves_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: nobody has looked at a chunk's pictures when the next ones are made."""
    model = model_of(folder)
    expected = alone(model, 0, [MIA] * 5)
    develop, waiting = model.darkroom.develop, list[str]()

    def slow(
        decoding: object, latents: torch.Tensor, spent: dict[str, float], clean: tuple[float, float]
    ) -> Callable[[], object]:
        assert clean[0] <= clean[1]
        later = develop(decoding, latents)

        def asked() -> object:
            waiting.append("asked")
            spent["decode"] = 0.25
            return later()

        return asked

    monkeypatch.setattr(model.darkroom, "develop", slow)
    made = alone(model, 0, [MIA] * 5)
    assert len(waiting) == 3, "for the stills of the three chunks that left"
    assert "decode" not in made[4].seconds
    for one, other in zip(made, expected, strict=True):
        assert np.array_equal(one.pictures, other.pictures)
        if one.evicted is not None and other.evicted is not None:
            assert np.array_equal(one.evicted.pictures, other.evicted.pictures)
    assert made[4].seconds["decode"] == 0.25


def test_a_decoding_that_fails_has_not_happened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for codec in ("tiny", "wan"):
        model = load(settings(folder, codec=codec))
        assert isinstance(model, WanModel)
        expected = alone(model, 0, [MIA] * 2)
        stream = model.open(0)
        stream.set_prompt(MIA)
        stream.generate()
        inner = model.codec.decoder["9"] if codec == "tiny" else model.codec.vae.decoder.up_blocks[2]  # type: ignore[attr-defined]

        def full(*_: object, **__: object) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(inner, "forward", full)
            with pytest.raises(ModelError, match="out of memory in chunk 1"):
                stream.generate()
        assert np.array_equal(stream.generate().pictures, expected[1].pictures)


def test_a_sheet_keeps_the_queries_of_the_scoring_layers_alone(folder: Path) -> None:
    model = model_of(folder)
    sheet = Sheet.blank(model.net, torch.zeros(2, 3, 16, 4, 8), 24, (0, 2))
    for layer in range(3):
        sheet.take(layer, *(torch.full((2, 24, 2, 128), float(10 * part + layer)) for part in range(3)))
    keys, values, queries = sheet.row(1, 3)
    assert keys.shape == (3, 3, 8, 2, 128)
    assert [float(part[:, 0, 0, 0, 0].sum()) for part in (keys, values, queries)] == [3, 33, 42]
