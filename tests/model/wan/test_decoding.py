"""Decoding in pieces is decoding the whole: Wan's VAE bit for bit, the tiny codec too, and from a log in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_wan import vae, write_tiny

from memreel.model.protocol import LoggedChunk
from memreel.model.wan.decoding import Darkroom, Timeline, as_pictures, decoded
from memreel.model.wan.tiny import LAST, STAGES, load_tiny
from memreel.model.wan.vae import Codec, WanVae


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(7, 16, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["wan", "tiny"])
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    if request.param == "wan":
        return WanVae(vae())
    path = tmp_path_factory.mktemp("tiny") / "taew2_1.pth"
    write_tiny(path)
    return load_tiny(path, "cpu", torch.float32)


def test_the_streamed_vae_equals_diffusers_decoding_of_the_whole_bit_for_bit(latents: torch.Tensor) -> None:
    made = vae()
    codec = WanVae(made)
    scaled = latents.transpose(0, 1).unsqueeze(0) * codec.std + codec.mean
    whole = made.decode(scaled).sample[0].transpose(0, 1) * 0.5 + 0.5
    decoding = codec.begin()
    pieces = [decoding.pictures(piece) for piece in latents.split([3, 1, 3])]
    assert [len(piece) for piece in pieces] == [9, 4, 12]
    assert torch.equal(torch.cat(pieces), whole)


def test_decoding_in_pieces_equals_decoding_at_once(codec: Codec, latents: torch.Tensor) -> None:
    whole, decoding = codec.begin().pictures(latents), codec.begin()
    pieces = torch.cat([decoding.pictures(piece) for piece in latents.split([1, 2, 3, 1])])
    assert whole.shape == (25, 3, 24, 32)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-5)
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1
    assert float(whole.std()) > 0.01


def test_two_videos_of_one_codec_do_not_mix(codec: Codec, latents: torch.Tensor) -> None:
    alone = codec.begin().pictures(latents)
    one, other = codec.begin(), codec.begin()
    made = []
    for piece in latents.split(1):
        made.append(one.pictures(piece))
        other.pictures(-piece)
    torch.testing.assert_close(torch.cat(made), alone, atol=1e-5, rtol=1e-5)


def test_the_tiny_codec_looks_one_frame_back_in_every_block(tmp_path: Path, latents: torch.Tensor) -> None:
    """Against a plain re-statement, a frame and a block at a time."""
    tiny = write_tiny(tmp_path / "t.pth")
    layers, relu = tiny.decoder, torch.nn.functional.relu
    frames = [relu(layers["1"](torch.tanh(z / 3) * 3)) for z in latents.split(1)]
    for start, growth in STAGES:
        for number in map(str, range(start, start + 3)):
            conv, pairs = layers[number].conv, zip([torch.zeros_like(frames[0]), *frames], frames, strict=False)
            frames = [relu(conv(torch.cat((now, past), 1)) + now) for past, now in pairs]
        frames = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in frames]
        grown = [layers[str(start + 4)].conv(x).chunk(growth, 1) for x in frames]
        frames = [layers[str(start + 5)](x) for parts in grown for x in parts]
    whole = torch.cat([layers[str(LAST)](relu(x)) for x in frames])[3:].clamp(0, 1)
    torch.testing.assert_close(tiny.begin().pictures(latents), whole, atol=1e-5, rtol=1e-5)


def test_every_chunk_has_twelve_pictures_the_first_one_held_in_the_first(codec: Codec, latents: torch.Tensor) -> None:
    decoding = codec.begin()
    first, second = (as_pictures(decoded(decoding, piece)) for piece in latents[:6].split(3))
    assert first.shape == second.shape == (12, 24, 32, 3)
    assert all(np.array_equal(first[i], first[0]) for i in range(4))
    assert not np.array_equal(first[4], first[0])


def test_a_log_is_decoded_in_any_order_and_each_chunk_once_in_order(codec: Codec, latents: torch.Tensor) -> None:
    chunks, read = latents.split([3, 3, 1]), []

    def log(index: int) -> LoggedChunk:
        read.append(index)
        return LoggedChunk("", chunks[index], [])

    decoding = codec.begin()
    expected = [as_pictures(decoded(decoding, chunk)) for chunk in chunks]
    timeline = Timeline(codec, log, Darkroom("cpu"))
    assert all(np.array_equal(timeline.pictures(i), expected[i]) for i in (0, 1, 0, 2))
    assert read == [0, 1, 2]
    taken = timeline.take(3)
    again = latents[:1]
    assert torch.equal(taken.pictures(again), decoding.pictures(again))
    assert np.array_equal(timeline.pictures(1), expected[1])
