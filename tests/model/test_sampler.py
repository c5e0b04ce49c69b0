"""Noise levels of the few-step schedule, the flow's arithmetic, and noise that is nobody's but the stream's."""

from __future__ import annotations

import itertools

import pytest
import torch

from memreel.model.sampler import TIMESTEPS, euler, levels, mix, noise, shifted


def test_four_steps_under_wans_shift_stand_at_its_timesteps() -> None:
    assert [sigma * TIMESTEPS for sigma in levels(4, 5)] == pytest.approx([1000, 937.5, 833.3333, 625, 0], abs=1e-3)


@pytest.mark.parametrize(("steps", "shift"), [(1, 1.0), (4, 3.0), (50, 5.0)])
def test_levels_fall_from_one_to_zero(steps: int, shift: float) -> None:
    found = levels(steps, shift)
    assert (len(found), found[0], found[-1]) == (steps + 1, 1.0, 0.0)
    assert all(a > b for a, b in itertools.pairwise(found))


def test_the_shift_is_that_of_rectified_flow() -> None:
    sigma = torch.tensor([0.0, 0.25, 0.5, 1.0])
    torch.testing.assert_close(shifted(sigma, 3.0), 3 * sigma / (1 + 2 * sigma))
    torch.testing.assert_close(shifted(sigma, 1.0), sigma)


def test_the_true_velocity_leads_from_noise_to_the_clean_latent_in_any_number_of_steps() -> None:
    clean, drawn = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1)).unbind(0)
    for steps in (1, 4):
        sigmas = levels(steps, 3.0)
        x = mix(clean, drawn, torch.tensor(sigmas[0]))
        torch.testing.assert_close(x, drawn)
        for sigma, following in itertools.pairwise(sigmas):
            x = euler(x, drawn - clean, sigma, following)
            torch.testing.assert_close(x, mix(clean, drawn, torch.tensor(following)), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(x, clean, atol=1e-5, rtol=1e-5)


def test_noise_follows_from_seed_chunk_and_step_alone() -> None:
    first = noise((3, 16, 4, 4), seed=7, index=2, step=1)
    torch.manual_seed(123)
    torch.randn(11)
    assert torch.equal(noise((3, 16, 4, 4), seed=7, index=2, step=1), first)
    for seed, index, step in ((8, 2, 1), (7, 3, 1), (7, 2, 0), (72, 1, 0), (2, 7, 1)):
        other = noise((3, 16, 4, 4), seed=seed, index=index, step=step)
        assert abs(float((other * first).mean())) < 0.15, (seed, index, step)


def test_drawing_noise_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    noise((2, 8), seed=0, index=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_is_standard_normal() -> None:
    drawn = noise((64, 16, 14, 24), seed=0, index=0)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
