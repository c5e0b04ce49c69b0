"""A stream restored from the log of latents: the same bits as the stream that was never interrupted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from short_film import Film

from memreel.errors import ModelError
from memreel.model.protocol import EvictedChunk, Log, LoggedChunk
from memreel.model.sketch.model import SketchModel


@pytest.fixture
def log(film: Film) -> Log:
    return lambda index: LoggedChunk(
        film.texts[index], film.chunks[index].latents.clone(), list(film.chunks[index].attended)
    )


def same(one: EvictedChunk | None, other: EvictedChunk | None) -> bool:
    """Tell whether two chunks are equal to the last bit in everything they hold."""
    if one is None or other is None:
        return one is other
    names = [field.name for field in dataclasses.fields(EvictedChunk) if field.name != "text"]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return one.text == other.text and all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


@pytest.mark.parametrize("index", [1, 2, 3, 4, 5])
def test_what_follows_a_restored_stream_is_bit_for_bit_what_followed_the_first(
    sketch: SketchModel, film: Film, log: Log, index: int
) -> None:
    stream = sketch.open(film.seed)
    last = stream.restore(log, index)
    assert last is not None
    made = film.chunks[index - 1]
    assert (last.index, last.attended, stream.index) == (made.index, made.attended, index)
    assert np.array_equal(last.pictures, made.pictures)
    assert same(last.evicted, made.evicted)
    stream.set_prompt(film.texts[index])
    chunk, expected = stream.generate(film.memory[index]), film.chunks[index]
    assert torch.equal(chunk.latents, expected.latents)
    assert np.array_equal(chunk.pictures, expected.pictures)
    assert same(chunk.evicted, expected.evicted)


def test_restoring_to_the_beginning_is_a_new_stream(sketch: SketchModel, film: Film, log: Log) -> None:
    stream = sketch.open(film.seed)
    stream.restore(log, 4)
    assert stream.restore(log, 0) is None
    with pytest.raises(ModelError, match="no prompt is set"):
        stream.generate()
    stream.set_prompt(film.texts[0])
    assert torch.equal(stream.generate().latents, film.chunks[0].latents)


def test_a_finished_chunk_is_decoded_and_recalled_from_the_log_alone(sketch: SketchModel, film: Film, log: Log) -> None:
    for index, chunk in enumerate(film.chunks[:4]):
        assert np.array_equal(sketch.decode(log, index), chunk.pictures)
        assert same(sketch.recall(log, index), film.chunks[index + 2].evicted)


def test_only_the_sink_and_the_last_chunks_are_asked_for(sketch: SketchModel, film: Film, log: Log) -> None:
    asked = set()

    def asking(index: int) -> LoggedChunk:
        asked.add(index)
        return log(index % len(film.chunks))

    sketch.open(film.seed).restore(asking, 1000)
    assert asked == {0, 996, 997, 998, 999}  # 996: its last latent frame, for decoding what follows


def test_a_finalized_stream_is_not_restored(sketch: SketchModel, film: Film, log: Log) -> None:
    stream = sketch.open(film.seed)
    stream.finalize()
    with pytest.raises(ModelError, match="finalized"):
        stream.restore(log, 2)
