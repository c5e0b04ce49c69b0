"""Rotary positions: how a head is split between the axes, and that only differences of positions count."""

from __future__ import annotations

import pytest
import torch

from memreel.model.rotary import axis_pairs, rotate, rotation


@pytest.mark.parametrize(("head_dim", "pairs"), [(128, (22, 21, 21)), (64, (12, 10, 10)), (12, (2, 2, 2))])
def test_a_head_is_split_between_time_height_and_width(head_dim: int, pairs: tuple[int, int, int]) -> None:
    assert axis_pairs(head_dim) == pairs
    assert sum(pairs) * 2 == head_dim


def test_it_turns_complex_pairs_by_position_over_ten_thousand_to_the_i() -> None:
    times, height, width, head_dim = [0.0, 5.0, 17.0], 2, 3, 64
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, len(times) * height * width, 4, head_dim, generator=draw)
    rates = [10_000.0 ** (-torch.arange(n, dtype=torch.float64) / n) for n in axis_pairs(head_dim)]
    expected = torch.empty_like(x)
    for token in range(x.shape[1]):
        frame, row, column = token // (height * width), token // width % height, token % width
        positions = (times[frame], float(row), float(column))
        angle = torch.cat([p * rate for p, rate in zip(positions, rates, strict=True)])
        pairs = torch.view_as_complex(x[:, token].double().unflatten(-1, (-1, 2)).contiguous())
        turned = pairs * torch.polar(torch.ones_like(angle), angle)
        expected[:, token] = torch.view_as_real(turned).flatten(-2).float()
    torch.testing.assert_close(rotate(x, rotation(times, height, width, head_dim)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 40.0, 900.0])
def test_a_query_and_a_key_meet_by_their_distance_alone(shift: float) -> None:
    draw = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, 3 * 6, 2, 64, generator=draw).unbind(0)

    def affinity(start: float) -> torch.Tensor:
        turn = rotation([start, start + 1, start + 7], 2, 3, 64)
        return torch.einsum("qhd,khd->hqk", rotate(q, turn), rotate(k, turn))

    torch.testing.assert_close(affinity(shift), affinity(0.0), atol=1e-3, rtol=1e-4)
    assert not torch.allclose(affinity(0.0), torch.einsum("qhd,khd->hqk", q, k), atol=0.1)


def test_turning_keeps_length_and_dtype() -> None:
    x = torch.randn(1, 6, 2, 12, generator=torch.Generator().manual_seed(3))
    turn = rotation([4.0], 2, 3, 12)
    torch.testing.assert_close(rotate(x, turn).norm(dim=-1), x.norm(dim=-1))
    assert rotate(x.bfloat16(), turn).dtype == torch.bfloat16


def test_what_is_compiled_turns_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 6, 2, 12, generator=torch.Generator().manual_seed(3))
    turn = rotation([4.0], 2, 3, 12)
    plain = rotate(x, turn)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate(x, turn), plain, atol=1e-6, rtol=1e-6)
