"""A stream of the embedded model: what it hands out, what it depends on, and that its cache changes nothing."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from rerun import Rerun
from short_film import MIA, TOM, Film

from memreel.errors import ModelError
from memreel.model.context import TextContext
from memreel.model.passes import Passes
from memreel.model.protocol import MemoryFrame, VideoModel
from memreel.model.rotary import rotation
from memreel.model.sampler import TIMESTEPS, euler, levels, noise
from memreel.model.sketch.model import SketchModel, SketchStream
from memreel.model.sketch.net import CONFIG, LATENT, LAYOUT, SHIFT, STEPS, TOKENS, SketchNet
from memreel.model.sketch.text import MAX_TOKENS
from memreel.model.transformer import attend


def test_it_keeps_the_protocol(sketch: SketchModel) -> None:
    model: VideoModel = sketch
    assert (model.name, model.memory_slots) == ("sketch", 6)
    spec = model.spec
    assert (spec.width, spec.height, spec.fps, spec.chunk_pictures) == (192, 112, 16, 12)
    assert (spec.latent_channels, spec.latent_height, spec.latent_width) == LATENT


def test_a_chunk_is_three_latent_frames_and_twelve_pictures(film: Film) -> None:
    for index, chunk in enumerate(film.chunks):
        assert chunk.index == index
        assert chunk.latents.shape == (3, *LATENT)
        assert bool(chunk.latents.isfinite().all())
        assert (chunk.pictures.shape, chunk.pictures.dtype) == ((12, 112, 192, 3), np.uint8)
        assert chunk.seconds.keys() == {"denoise", "clean", "decode"}
        assert all(seconds > 0 for seconds in chunk.seconds.values())


def test_chunks_leave_the_window_two_late_with_what_was_generated(film: Film) -> None:
    assert [c.evicted.index if c.evicted else None for c in film.chunks] == [None, None, 0, 1, 2, 3]
    assert [len(c.attended) for c in film.chunks] == [0, 0, 0, 1, 2, 3]
    for chunk, memory in zip(film.chunks, film.memory, strict=True):
        assert chunk.attended == [frame.frame_id for frame in memory]
        if chunk.evicted is not None:
            made = film.chunks[chunk.evicted.index]
            assert torch.equal(chunk.evicted.latents, made.latents)
            assert np.array_equal(chunk.evicted.pictures, made.pictures[3::4])
            assert chunk.evicted.keys.shape == (10, 3, 84, 4, 64)
            assert chunk.evicted.values.shape == chunk.evicted.keys.shape
            assert chunk.evicted.queries.shape[1:] == (3, 84, 4, 64)


def test_pictures_are_the_decoded_latents_of_the_whole_video(sketch: SketchModel, film: Film) -> None:
    with torch.inference_mode():
        whole = sketch.codec.decode(torch.cat([c.latents for c in film.chunks[:3]]).unsqueeze(0))[0]
    pictures = np.concatenate([c.pictures for c in film.chunks[:3]]).astype(int)
    expected = (whole.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy().astype(int)
    assert int(np.abs(pictures - expected).max()) <= 1


def uncached(
    net: SketchNet, latents: torch.Tensor, texts: list[TextContext], times: list[float], sigma: float
) -> torch.Tensor:
    """Return the velocity of the last three of ``latents`` ``[frames, …]`` by one forward over all of them.

    The frames before are clean and attend to themselves alone; the last three attend to every frame. Each frame reads
    its own text.
    """
    transformer = net.transformer
    frames, tokens = latents.shape[0], TOKENS[0] * TOKENS[1]
    sees = torch.eye(frames, dtype=torch.bool)
    sees[-3:] = True
    mask = sees.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
    timesteps = torch.tensor([[0.0] * (frames - 3) + [sigma * TIMESTEPS] * 3])
    x = transformer.patchify(latents.unsqueeze(0))
    time, modulation = transformer.embed_time(timesteps)
    turn = rotation(times, *TOKENS, CONFIG.head_dim)
    for layer, block in enumerate(transformer.blocks):
        own = block.self_attn.turned(block.before(x, modulation), turn)  # type: ignore[operator, union-attr]
        q, k, v = (t.transpose(1, 2) for t in own[:3])
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x, query = block.between(x, attended.transpose(1, 2).flatten(2), modulation)  # type: ignore[operator]
        parts = []
        for frame, part in enumerate(query.unflatten(1, (frames, tokens)).unbind(1)):
            text = texts[frame]
            parts.append(attend(part, text.keys[layer], text.values[layer], text.mask))
        x = block.after(x, torch.cat(parts, 1), modulation)  # type: ignore[operator]
    return transformer.unpatchify(transformer.head(x, time), *LATENT[1:])[0, -3:]


def test_the_cached_stream_equals_an_uncached_forward_over_all_frames(sketch: SketchModel, film: Film) -> None:
    last = len(film.chunks) - 1
    recalled = [frame for frame in film.memory[last] if frame.index not in (0, last - 2, last - 1)]
    assert len(recalled) == 2
    clean = torch.cat(
        [
            film.chunks[0].latents,
            *(frame.latent.unsqueeze(0) for frame in recalled),
            film.chunks[last - 2].latents,
            film.chunks[last - 1].latents,
        ]
    )
    born = [0] * 3 + [frame.index for frame in recalled] + [last - 2] * 3 + [last - 1] * 3 + [last] * 3
    assert {film.texts[index] for index in born} == {MIA, TOM}
    times = [0.0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, *LAYOUT.current()]
    with torch.inference_mode():
        texts = [sketch.read(film.texts[index]) for index in born]
        x = noise((3, *LATENT), film.seed, last)
        sigmas = levels(STEPS, SHIFT)
        for sigma, following in itertools.pairwise(sigmas):
            velocity = uncached(sketch.net, torch.cat((clean, x)), texts, times, sigma)
            x = euler(x, velocity, sigma, following)
    torch.testing.assert_close(x, film.chunks[last].latents, atol=1e-4, rtol=1e-4)


def test_a_seed_repeats_bit_for_bit_beside_another_stream_and_whatever_the_global_generator(
    sketch: SketchModel, film: Film
) -> None:
    again, other = sketch.open(film.seed), sketch.open(film.seed + 1)
    again.set_prompt(MIA)
    other.set_prompt(TOM)
    for index in range(3):
        torch.manual_seed(index)
        made = again.generate()
        assert torch.equal(made.latents, film.chunks[index].latents)
        assert np.array_equal(made.pictures, film.chunks[index].pictures)
        if index < 2:
            assert not torch.allclose(other.generate().latents, made.latents, atol=1e-2)


def fork(stream: SketchStream) -> SketchStream:
    """Return a stream that stands where ``stream`` stands."""
    twin = copy.copy(stream)
    twin.cache = copy.copy(stream.cache)
    twin.cache.local = list(stream.cache.local)
    return twin


def test_a_memory_frame_is_used_and_one_that_is_in_the_sink_changes_nothing(sketch: SketchModel, film: Film) -> None:
    stream = sketch.open(film.seed)
    stream.set_prompt(MIA)
    stream.generate()
    far = film.chunks[-1].evicted
    assert far is not None
    frame = far.frame(1, "p1_c4_f1")
    altered = replace(frame, values=frame.values.roll(7, 1))

    def second(*memory: MemoryFrame) -> torch.Tensor:
        return fork(stream).generate(memory).latents

    plain, held = film.chunks[1].latents, film.memory[3]
    assert [f.index for f in held] == [0]
    assert torch.equal(second(*held), plain)
    assert not torch.allclose(second(frame), plain, atol=1e-3)
    assert not torch.allclose(second(altered), second(frame), atol=1e-3)


def test_without_a_prompt_or_after_finalize_nothing_is_generated(sketch: SketchModel) -> None:
    stream = sketch.open(0)
    with pytest.raises(ModelError, match="no prompt is set"):
        stream.generate()
    stream.set_prompt(MIA)
    stream.finalize()
    with pytest.raises(ModelError, match="finalized"):
        stream.generate()
    stream.finalize()
    assert stream.index == 0


def test_too_many_memory_frames_are_refused_and_the_stream_stays_where_it_was(sketch: SketchModel, film: Film) -> None:
    stream = sketch.open(film.seed)
    stream.set_prompt(MIA)
    far = film.chunks[-1].evicted
    assert far is not None
    with pytest.raises(ModelError, match="7 memory frames for 6 slots"):
        stream.generate([far.frame(0, f"p1_c4_f{i}") for i in range(7)])
    assert stream.index == 0
    assert torch.equal(stream.generate().latents, film.chunks[0].latents)


def test_weights_in_half_precision_run(sketch: SketchModel, film: Film) -> None:
    half = SketchModel(copy.deepcopy(sketch.net).bfloat16(), sketch.codec, sketch.encoder, sketch.scorer, "cpu")
    stream = half.open(film.seed)
    stream.set_prompt(MIA)
    far = film.chunks[-1].evicted
    assert far is not None
    frame = far.frame(0, "p1_c4_f0")
    frame = replace(frame, keys=frame.keys.bfloat16(), values=frame.values.bfloat16())
    first, second = stream.generate(), stream.generate([frame])
    exact = film.chunks[0].latents
    assert float((first.latents - exact).norm() / exact.norm()) < 0.2
    assert bool(second.latents.isfinite().all())
    assert stream.cache.local[0].keys.dtype == torch.bfloat16
    scores = half.score(stream.cache.local[0], [MIA, "a red ball"])
    assert scores.shape == (3, 2)
    assert bool(((scores >= 0) & (scores <= 1)).all())


def test_a_memory_frame_kept_as_its_latent_is_encoded_again_under_its_own_text(sketch: SketchModel, film: Film) -> None:
    stream = sketch.open(film.seed)
    stream.set_prompt(TOM)
    stream.generate()
    far = film.chunks[-1].evicted
    assert far is not None
    assert far.text == MIA
    light = far.frame(1, "p1_c4_f1", latent_only=True)
    assert light.keys is None
    with_keys = fork(stream).generate([far.frame(1, "p1_c4_f1")]).latents
    torch.testing.assert_close(fork(stream).generate([light]).latents, with_keys, atol=1e-4, rtol=1e-4)
    other = fork(stream).generate([replace(light, text=TOM)]).latents
    assert not torch.allclose(other, with_keys, atol=1e-3)


def test_recorded_passes_and_padded_prompts_make_what_plain_ones_make(
    sketch: SketchModel, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where every pass but the first of its shapes is a recording."""
    passes = Passes(sketch.net.transformer, TOKENS, "cpu", sketch.scorer.layers, record=True)
    passes.replayed = developed = Rerun()
    monkeypatch.setattr(sketch, "passes", passes)
    monkeypatch.setattr(sketch, "_developed", developed)
    sketch.prompt.cache_clear()
    try:
        for _ in range(2):  # all shapes come up in the first video, and are replayed in the second
            stream, before = sketch.open(film.seed), developed.replays
            for text, memory, expected in zip(film.texts, film.memory, film.chunks, strict=True):
                stream.set_prompt(text)
                chunk = stream.generate(memory)
                torch.testing.assert_close(chunk.latents, expected.latents, atol=2e-4, rtol=2e-4)
                assert int(np.abs(chunk.pictures.astype(int) - expected.pictures.astype(int)).max()) <= 2
        assert developed.replays - before >= 6 * (STEPS + 2) - 1
        assert sketch.prompt(MIA).keys[0].shape[1] == MAX_TOKENS
    finally:
        sketch.prompt.cache_clear()
