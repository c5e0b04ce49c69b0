"""A stream of a small Wan model: what it attends to, that its cache changes nothing, that it goes on after a stop."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_wan import settings

from memreel.errors import ModelError
from memreel.model import load
from memreel.model.context import TextContext
from memreel.model.protocol import Chunk, LoggedChunk, MemoryFrame, VideoModel, place_of
from memreel.model.rotary import rotate, rotation
from memreel.model.sampler import TIMESTEPS, mix, noise
from memreel.model.transformer import attend
from memreel.model.wan.model import WanModel

MIA = "mia, a young woman with red hair, walks in the park"
TOM = "tom, an old man, waits in the library"
NINE = [MIA] * 6 + [TOM] * 3
SIGMAS = [1.0, 0.9375, 5 / 6, 0.625]
LOCAL, SEED = 6, 5


@dataclass(frozen=True)
class Film:
    """Nine chunks under two prompts; from the fourth on, frames of evicted chunks are handed in as memory."""

    model: WanModel
    chunks: list[Chunk]
    memory: list[list[MemoryFrame]]


def shoot(model: WanModel, *, latent_only: bool = False, texts: Sequence[str] = NINE) -> Film:
    stream, film = model.open(SEED), Film(model, [], [])
    memory: list[MemoryFrame] = []
    for index, text in enumerate(texts):
        if index == 0 or text != texts[index - 1]:
            stream.set_prompt(text)
        film.memory.append(list(memory))
        chunk = stream.generate(memory)
        film.chunks.append(chunk)
        if chunk.evicted is not None:
            frame = index % 3
            name = f"p1_c{chunk.evicted.index + 1}_f{frame}"
            memory = [*memory, chunk.evicted.frame(frame, name, latent_only=latent_only)][-3:]
    stream.finalize()
    return film


def model_of(folder: Path, **wan: object) -> WanModel:
    model = load(settings(folder, codec="tiny", **wan))
    assert isinstance(model, WanModel)
    return model


@pytest.fixture(scope="module", params=["slots", "absolute"])
def film(request: pytest.FixtureRequest, folder: Path) -> Film:
    return shoot(model_of(folder, rotary=request.param, switch="hard"))


def test_it_keeps_the_protocol(wan: WanModel) -> None:
    model: VideoModel = wan
    assert (model.name, model.memory_slots) == ("wan", 3)
    assert (model.spec.width, model.spec.height, model.spec.fps, model.spec.chunk_pictures) == (64, 32, 16, 12)


def test_a_chunk_is_three_latent_frames_and_twelve_pictures_and_leaves_two_later(film: Film) -> None:
    for index, chunk in enumerate(film.chunks):
        assert (chunk.index, chunk.latents.shape) == (index, (3, 16, 4, 8))
        assert (chunk.pictures.shape, chunk.pictures.dtype) == ((12, 32, 64, 3), np.uint8)
        assert chunk.seconds.keys() == {"context", "denoise", "clean", "decode"}
    evicted = [chunk.evicted for chunk in film.chunks]
    assert [e.index if e else None for e in evicted] == [None, None, 0, 1, 2, 3, 4, 5, 6]
    first = evicted[2]
    assert first is not None
    assert first.text == MIA
    assert torch.equal(first.latents, film.chunks[0].latents)
    assert np.array_equal(first.pictures, film.chunks[0].pictures[3::4])
    assert first.keys.shape == first.values.shape == (3, 3, 8, 2, 128)
    assert first.queries.shape == (len(film.model.scorer.layers), 3, 8, 2, 128)


def test_one_scoring_layer_can_be_asked_alone(film: Film) -> None:
    evicted, layers = film.chunks[2].evicted, film.model.scorer.layers
    assert evicted is not None
    assert film.model.scorers == tuple(f"layer-{layer}" for layer in layers)
    alone = torch.stack([film.model.score(evicted, [MIA], scorer=name).logit() for name in film.model.scorers])
    torch.testing.assert_close(alone.mean(0), film.model.score(evicted, [MIA]).logit(), atol=1e-4, rtol=1e-4)


def attended(film: Film, index: int) -> list[tuple[int, int]]:
    """Return the (chunk, frame) that a chunk's context holds, in order."""
    local = [c for c in range(max(0, index - 2), index) if c != 0]
    held = {0, *local}
    recalled = dict.fromkeys((m.index, m.frame) for m in film.memory[index] if m.index not in held)
    first = [(0, i) for i in range(3)] if index else []
    return [*first, *recalled, *((c, i) for c in local for i in range(3))]


def times(film: Film, index: int) -> list[float]:
    """Return the time positions of a chunk's context and of its own frames."""
    places = [*attended(film, index), *((index, i) for i in range(3))]
    if film.model.config.rotary == "absolute":
        return [float(3 * c + i) for c, i in places]
    sink = 3 if index else 0
    recalled = (
        len(places) - 3 - sink - 3 * len({c for c, _ in places[:-3]} - {0} - {m.index for m in film.memory[index]})
    )
    local = len(places) - 3 - sink - recalled
    return [
        *map(float, range(sink)),
        *(3.0 + i for i in range(recalled)),
        *(12.0 - local + i for i in range(local)),
        12.0,
        13.0,
        14.0,
    ]


def uncached(film: Film, index: int, x: torch.Tensor, sigma: float, texts: dict[str, TextContext]) -> torch.Tensor:
    """Return the velocity of chunk ``index``, ``x`` at level ``sigma``, by one forward over all chunks so far.

    Each chunk attends to its own frames and to what stood in its context, as the block-causal mask would let it.
    """
    model, net = film.model, film.model.net
    tokens = model.grid[0] * model.grid[1]
    latents = torch.cat([*(film.chunks[i].latents for i in range(index)), x]).unsqueeze(0)
    timesteps = torch.tensor([[0.0] * (3 * index) + [sigma * TIMESTEPS] * 3])
    hidden = net.patchify(latents)
    time, modulation = net.embed_time(timesteps)
    still = rotation([0.0] * latents.shape[1], *model.grid, 128)
    still = torch.stack((torch.ones_like(still[0]), torch.zeros_like(still[1])))
    for layer, block in enumerate(net.each_block()):
        own = block.self_attn.turned(block.before(hidden, modulation), still)
        q, k, v = (part.unflatten(1, (-1, tokens)) for part in own[:3])
        found = []
        for c in range(index + 1):
            places = [3 * chunk + i for chunk, i in attended(film, c)] + [3 * c, 3 * c + 1, 3 * c + 2]
            turn = rotation(times(film, c), *model.grid, 128)
            own = rotate(q[:, 3 * c : 3 * c + 3].flatten(1, 2), turn[:, -3 * tokens :])
            found.append(attend(own, rotate(k[:, places].flatten(1, 2), turn), v[:, places].flatten(1, 2)))
        hidden, query = block.between(hidden, torch.cat(found, 1), modulation)
        read = []
        for c, own in enumerate(query.split(3 * tokens, 1)):
            text = texts[NINE[c]]
            read.append(attend(own, text.keys[layer], text.values[layer]))
        hidden = block.after(hidden, torch.cat(read, 1), modulation)
    return net.unpatchify(net.head(hidden, time), *latents.shape[-2:])[0, -3:]


@pytest.mark.parametrize("index", range(9))
def test_the_cached_stream_equals_one_uncached_forward_in_every_phase(film: Film, index: int) -> None:
    memory = {m.index for m in film.memory[index]} - {0, index - 2, index - 1}
    assert len(memory) == [0, 0, 0, 0, 1, 2, 3, 3, 3][index]
    with torch.inference_mode():
        texts = {text: film.model.read(text) for text in (MIA, TOM)}
        clean = torch.zeros(3, 16, 4, 8)
        for step, sigma in enumerate(SIGMAS):
            x = mix(clean, noise((3, 16, 4, 8), SEED, index, step), torch.tensor(sigma))
            clean = x - sigma * uncached(film, index, x, sigma, texts)
    made = film.chunks[index].latents
    assert float((clean - made).norm() / made.norm()) < 1e-5


def logged(film: Film, texts: Sequence[str] = NINE) -> list[LoggedChunk]:
    return [
        LoggedChunk(text, chunk.latents.clone(), chunk.attended, [place_of(frame) for frame in memory])
        for text, chunk, memory in zip(texts, film.chunks, film.memory, strict=True)
    ]


RESUMED = [
    {"switch": "hard", "rotary": "absolute"},
    {"switch": "recache"},
    {"switch": "soft", "rotary": "absolute"},
    {"switch": "recache", "latent_only": True},
    {"switch": "recache", "sink": 0, "local": 9},
]


@pytest.fixture(scope="module", params=RESUMED, ids=lambda how: "-".join(map(str, how.values())))
def resumed(request: pytest.FixtureRequest, folder: Path) -> Film:
    how = dict(request.param)
    latent_only = how.pop("latent_only", False)
    return shoot(model_of(folder, **how), latent_only=latent_only)


@pytest.mark.parametrize("index", [1, 4, 7])
def test_a_restored_stream_goes_on_bit_for_bit(resumed: Film, index: int) -> None:
    stream, chunks = resumed.model.open(SEED), logged(resumed)
    last = stream.restore(lambda number: chunks[number], index)
    made = resumed.chunks[index - 1]
    assert last is not None
    assert (last.index, last.attended, stream.index) == (index - 1, made.attended, index)
    assert np.array_equal(last.pictures, made.pictures)
    assert (last.evicted is None) == (made.evicted is None)
    if last.evicted is not None and made.evicted is not None:
        assert torch.equal(last.evicted.keys, made.evicted.keys)
        assert torch.equal(last.evicted.queries, made.evicted.queries)
        assert np.array_equal(last.evicted.pictures, made.evicted.pictures)
    with pytest.raises(ModelError, match="no prompt is set"):
        stream.generate()
    for number in range(index, len(NINE)):
        stream.set_prompt(NINE[number])
        again = stream.generate(resumed.memory[number])
        assert torch.equal(again.latents, resumed.chunks[number].latents)
        assert np.array_equal(again.pictures, resumed.chunks[number].pictures)


def test_a_finished_chunk_is_decoded_and_recalled_from_the_log_alone(resumed: Film) -> None:
    chunks, held = logged(resumed), resumed.model.layout.local // 3
    log = lambda number: chunks[number]  # noqa: E731
    for index in (0, 3, 1, 2):
        assert np.array_equal(resumed.model.decode(log, index), resumed.chunks[index].pictures)
        recalled, left = resumed.model.recall(log, index), resumed.chunks[index + held].evicted
        assert left is not None
        for name in ("latents", "keys", "values", "queries"):
            assert torch.equal(getattr(recalled, name), getattr(left, name)), name
        assert np.array_equal(recalled.pictures, left.pictures)


def test_a_seed_repeats_beside_another_stream_and_whatever_the_global_generator(film: Film) -> None:
    again, other = film.model.open(SEED), film.model.open(SEED + 1)
    again.set_prompt(MIA)
    other.set_prompt(MIA)
    for index in range(3):
        torch.manual_seed(index)
        assert torch.equal(again.generate().latents, film.chunks[index].latents)
        assert not torch.allclose(other.generate().latents, film.chunks[index].latents, atol=1e-2)


def test_memory_frames_change_what_is_made_and_are_copied_to_the_device_once(film: Film) -> None:
    stream, chunks = film.model.open(SEED), logged(film)
    stream.restore(lambda number: chunks[number], 7)
    stream.set_prompt(TOM)
    kept = list(stream._remembered.items())
    frames = film.memory[7]
    stream.generate(frames)
    there = dict(stream._remembered)
    assert all(there[place][0] is pair[0] for place, pair in kept if place in there)
    stream.restore(lambda number: chunks[number], 7)
    stream.set_prompt(TOM)
    assert frames[0].values is not None
    altered = [replace(frames[0], index=90, values=frames[0].values.roll(1, 1)), *frames[1:]]
    assert not torch.allclose(stream.generate(altered).latents, film.chunks[7].latents, atol=1e-4)


def test_what_cannot_be_generated_leaves_the_stream_where_it_was(film: Film) -> None:
    stream = film.model.open(SEED)
    with pytest.raises(ModelError, match="no prompt is set"):
        stream.generate()
    stream.set_prompt(MIA)
    left = film.chunks[-1].evicted
    assert left is not None
    with pytest.raises(ModelError, match="4 memory frames for 3 slots"):
        stream.generate([left.frame(0, str(i)) for i in range(4)])
    stream.generate()
    weight = film.model.net.head.head.bias
    before = weight.clone()
    weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"chunk 1 has latents that are not finite; .*precision"):
        stream.generate()
    weight.copy_(before)
    assert stream.index == 1
    assert torch.equal(stream.generate().latents, film.chunks[1].latents)
    stream.finalize()
    with pytest.raises(ModelError, match="finalized"):
        stream.generate()


def test_running_out_of_device_memory_is_a_model_error_with_a_cure(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = film.model.open(SEED)
    stream.set_prompt(MIA)

    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(film.model.net, "forward", full)
        with pytest.raises(ModelError, match=r"cpu is out of memory in chunk 0; .*codec=tiny need less"):
            stream.generate()
    assert torch.equal(stream.generate().latents, film.chunks[0].latents)


@pytest.mark.parametrize("where", ["text", "window"])
def test_running_out_of_memory_at_a_prompt_leaves_the_stream_under_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    model = model_of(folder, switch="recache")
    expected = shoot(model, texts=[MIA] * 4).chunks
    stream = model.open(SEED)
    stream.set_prompt(MIA)
    for _ in range(3):
        stream.generate()
    forward, calls = model.net.forward, list[int]()

    def full(*given: object, **named: object) -> torch.Tensor:
        calls.append(1)
        if where == "text" or len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*given, **named)  # type: ignore[arg-type]

    model.text.states.cache_clear()
    cure = "text_device=cpu" if where == "text" else "codec=tiny need less"
    with monkeypatch.context() as patch:
        patch.setattr(model.text.encoder if where == "text" else model.net, "forward", full)
        with pytest.raises(ModelError, match=f"cpu is out of memory .*{cure}"):
            stream.set_prompt(TOM)
    assert torch.equal(stream.generate().latents, expected[3].latents)


def test_any_size_that_patches_divide_works(folder: Path) -> None:
    model = model_of(folder, width=48, height=80)
    stream = model.open(0)
    stream.set_prompt(MIA)
    chunk = stream.generate()
    assert chunk.latents.shape == (3, 16, 10, 6)
    assert chunk.pictures.shape == (12, 80, 48, 3)
    assert model.grid == (5, 3)


def test_memory_stays_flat_however_long_a_stream_runs(folder: Path) -> None:
    model = model_of(folder, width=32, height=32, steps=(1000,), rotary="absolute")
    stream, memory, alive = model.open(0), [], []
    stream.set_prompt(MIA)
    for index in range(60):
        chunk = stream.generate(memory)
        if chunk.evicted is not None:
            memory = [*memory, chunk.evicted.frame(0, str(index), latent_only=True)][-3:]
        if index % 20 == 19:
            gc.collect()
            sizes = [t.numel() * t.element_size() for t in gc.get_objects() if type(t) is torch.Tensor]
            alive.append((len(sizes), sum(sizes)))
    assert alive[1:] == alive[:-1]
    assert len(stream.cache.local) == 2
    assert len(stream._remembered) == 3
    assert bool(chunk.latents.isfinite().all())
