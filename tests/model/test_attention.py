"""Attention kernels: all compute the same, the fastest one is taken, and one that does not run here is refused."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from memreel.configs.schema import WanConfig
from memreel.errors import UserError
from memreel.model import attention
from memreel.model.attention import KERNELS, NEAR, ROUNDED, choose, milliseconds
from memreel.model.attention8 import LARGEST, attend8, rounded, value_scale
from memreel.model.hopper import TILE, Sequences, in_shares, shares
from memreel.model.transformer import attend

SHAPE = (1, 6, 2, 16)


def test_every_kernel_that_runs_here_computes_the_same() -> None:
    q, k, v = (torch.randn(1, n, 2, 16, generator=torch.Generator().manual_seed(n)) for n in (6, 10, 11))
    k, v = k[:, :10], v[:, :10]
    running = [name for name, kernel in KERNELS.items() if milliseconds(kernel, q, k, "cpu") is not None]
    assert "math" in running
    for name in running:
        torch.testing.assert_close(KERNELS[name](q, k, v), attend(q, k, v), atol=1e-5, rtol=1e-5)


def test_the_fastest_is_taken_and_all_times_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"cudnn": 3.0, "flash": 2.0, "math": 9.0}
    names = {id(kernel): name for name, kernel in KERNELS.items()}
    monkeypatch.setattr(attention, "milliseconds", lambda kernel, *_: took.get(names[id(kernel)]))
    chosen = choose("auto", SHAPE, 10, "cpu", torch.float32)
    assert (chosen.name, chosen.kernel) == ("flash", KERNELS["flash"])
    assert chosen.milliseconds == {"cudnn": 3.0, "flash": 2.0}, "math is for where there is nothing else"
    assert choose("math", SHAPE, 10, "cpu", torch.float32).name == "math"


def test_a_kernel_that_does_not_run_here_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        UserError, match=r"model.wan.attention: 'cudnn' does not run on cpu in torch.float32; try .*math"
    ):
        choose("cudnn", SHAPE, 10, "cpu", torch.float32)


def test_every_kernel_can_be_asked_for_by_its_name() -> None:
    assert set(get_args(WanConfig.model_fields["attention"].annotation)) == {"auto", *KERNELS, *ROUNDED}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("keys", [88, 128, 641])
def test_attention_in_e4m3_stays_within_six_percent(keys: int) -> None:
    q, k, v = drawn(1, 150, 2, 64), drawn(1, keys, 2, 64, seed=1), drawn(1, keys, 2, 64, seed=2)
    exact = attend(q, k, v)
    error = float((attend8(q, k, v) - exact).norm() / exact.norm())
    assert 0.005 < error < 0.06


def test_values_of_heads_may_differ_a_thousandfold_and_the_videos_of_a_batch_too() -> None:
    q, k, v = drawn(2, 40, 2, 64), drawn(2, 300, 2, 64, seed=1), drawn(2, 300, 2, 64, seed=2)
    v = v * torch.tensor([[0.01, 10.0], [300.0, 1.0]])[:, None, :, None]
    exact, found = attend(q, k, v), attend8(q, k, v)
    for row in range(2):
        for head in (slice(0, 64), slice(64, 128)):
            off = (found[row, :, head] - exact[row, :, head]).norm() / exact[row, :, head].norm()
            assert float(off) < 0.08


def test_keys_and_values_that_are_in_e4m3_already_give_the_same() -> None:
    q, k, v = drawn(1, 40, 2, 64), drawn(1, 300, 2, 64, seed=1), drawn(1, 300, 2, 64, seed=2)
    scale = value_scale(v)
    assert torch.equal(attend8(q, k, v), attend8(rounded(q), rounded(k), rounded(v, scale), scale))


def test_what_is_far_larger_than_the_scale_was_made_for_is_cut_and_never_becomes_nan() -> None:
    v = drawn(1, 30, 2, 64)
    scale = value_scale(v)
    twice = rounded(2 * v, scale).float() * scale[..., None, :, None]
    torch.testing.assert_close(twice, 2 * v, rtol=0.07, atol=0.01)
    assert float(rounded(100 * v, scale).float().abs().max()) == LARGEST
    assert bool(rounded(torch.full((1, 2, 1, 4), 1e9)).float().isfinite().all())


def test_without_its_package_a_kernel_is_refused_with_the_command_that_gets_it() -> None:
    with pytest.raises(UserError, match=r"'flash3' does not run on cpu .*pip install 'memreel\[hopper\]'.*; try "):
        choose("flash3", SHAPE, 10, "cpu", torch.float32)


def test_a_rounded_kernel_is_taken_by_name_alone_and_only_where_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("fp8", SHAPE, 10, "cpu", torch.float32).kernel is attend8
    assert "fp8" not in choose("auto", SHAPE, 10, "cpu", torch.float32).milliseconds
    monkeypatch.setitem(ROUNDED, "fp8", lambda q, k, v: attend8(q, k, v) * (1 + 2 * NEAR))
    with pytest.raises(UserError, match=r"model.wan.attention: 'fp8' is off by 2\d% on this device; name another"):
        choose("fp8", SHAPE, 10, "cpu", torch.float32)
    monkeypatch.setitem(KERNELS, "math", lambda q, k, v: attend(q, k, v) * 1.05)
    with pytest.raises(UserError, match=r"model.wan.attention: 'math' is off by 5% on this device; name another"):
        choose("math", SHAPE, 10, "cpu", torch.float32)


@pytest.mark.parametrize(("queries", "keys"), [(4680, 700), (300, 50), (2816, 9)])
def test_attention_in_shares_is_attention(queries: int, keys: int) -> None:
    q, k, v = (torch.randn(n, 12, 16, generator=torch.Generator().manual_seed(n)) for n in (queries, keys, keys + 1))
    met = list[int]()

    def run(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, split: Sequences | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pieces = [(0, len(q), 0, len(k))]
        if split is not None:
            begin, first, used = split.queries.tolist(), split.keys.tolist(), split.used.tolist()
            pieces = [(begin[i], begin[i + 1], first[i], first[i] + used[i]) for i in range(len(used))]
            assert split.longest == max(end - start for start, end, *_ in pieces)
        found, sums = torch.empty_like(q), torch.empty(q.shape[1], len(q))
        for start, end, low, high in pieces:
            met.append((end - start) * (high - low))
            logits = torch.einsum("qhd,khd->qhk", q[start:end], k[low:high]) / q.shape[-1] ** 0.5
            found[start:end] = torch.einsum("qhk,khd->qhd", logits.softmax(-1), v[low:high])
            sums[:, start:end] = logits.logsumexp(-1).T
        return found, sums

    share = shares(queries, 12, 132)
    out = in_shares(run, torch.cat([q, *[q[share.whole :]] * (share.parts - 1)]), k, v[:keys], share)
    expected = attend(q[None], k[None], v[None, :keys])[0]
    torch.testing.assert_close(out.flatten(1), expected, atol=1e-5, rtol=1e-5)
    assert sum(met) == queries * keys, "each query meets each key once"


def test_shares_leave_no_multiprocessor_idle_for_long() -> None:
    assert shares(4680, 12, 132) == (33 * TILE, 5), "three waves in one go, the last tenth of the queries in parts"
    assert shares(33 * TILE, 12, 132) == (33 * TILE, 1), "nothing is left over"
    assert shares(128, 12, 132).whole == 0
    for queries in range(128, 20_000, 517):
        whole, parts = shares(queries, 12, 132)
        tiles, rest = -(-queries // TILE) * 12, -(-(queries - whole) // TILE) * 12
        taken = whole // TILE * 12 / 132 + -(-rest * parts // 132) / parts
        assert parts == 1 or taken < -(-tiles // 132), "sooner than all in one go"
