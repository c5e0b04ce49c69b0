"""The codec: sizes, streaming that equals the whole, and frames and videos that do not leak into each other."""

from __future__ import annotations

import pytest
import torch

from memreel.model.codec import CHANNELS, PICTURES, STRIDE, VideoCodec


@pytest.fixture(scope="module")
def codec() -> VideoCodec:
    torch.manual_seed(0)
    return VideoCodec((8, 12, 16)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(2, 5 * PICTURES, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def test_four_pictures_become_one_latent_frame_of_an_eighth_and_come_back(
    codec: VideoCodec, pictures: torch.Tensor
) -> None:
    latents = codec.encode(pictures)
    assert latents.shape == (2, 5, CHANNELS, 32 // STRIDE, 48 // STRIDE)
    assert codec.decode(latents).shape == pictures.shape


@pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1), (3, 2), (2, 3)])
def test_decoding_in_pieces_equals_decoding_the_whole(
    codec: VideoCodec, pictures: torch.Tensor, pieces: tuple[int, ...]
) -> None:
    latents = codec.encode(pictures)
    made, before, start = [], None, 0
    for length in pieces:
        piece = latents[:, start : start + length]
        made.append(codec.decode(piece, before))
        before, start = piece[:, -1], start + length
    torch.testing.assert_close(torch.cat(made, 1), codec.decode(latents), atol=1e-5, rtol=1e-5)


def test_a_frames_pictures_depend_on_it_and_the_one_before(codec: VideoCodec, pictures: torch.Tensor) -> None:
    latents = codec.encode(pictures)
    changed = latents.clone()
    changed[:, 2] += 1
    difference = (codec.decode(changed) - codec.decode(latents)).abs().amax((0, 2, 3, 4)).unflatten(0, (-1, PICTURES))
    assert [bool(frame.max() > 1e-4) for frame in difference] == [False, False, True, True, False]


def test_each_frame_and_each_video_is_encoded_by_itself(codec: VideoCodec, pictures: torch.Tensor) -> None:
    latents = codec.encode(pictures)
    torch.testing.assert_close(codec.encode(pictures[1:]), latents[1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(codec.encode(pictures[:, 8:12]), latents[:, 2:3], atol=1e-5, rtol=1e-5)


def test_training_brings_every_channel_to_mean_0_and_variance_1(pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    latents = VideoCodec((8, 12, 16)).train().encode(pictures * 50)
    torch.testing.assert_close(latents.mean((0, 1, 3, 4)), torch.zeros(CHANNELS), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.var((0, 1, 3, 4), correction=0), torch.ones(CHANNELS), atol=2e-2, rtol=0)
