"""Linear layers in e4m3: how far they are from the exact ones, per layer, over a forward, and what they are made of."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from memreel.model.fp8 import E4M3, Fp8Linear, quantise, rounded
from memreel.model.rotary import rotation
from memreel.model.transformer import TransformerConfig, VideoTransformer

LAYER, CHUNK = 0.05, 0.1
"""Relative errors that are allowed: of one layer's output, and of a velocity after three blocks."""


def random_linear(columns: int, rows: int, seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(columns, rows).requires_grad_(False)


@pytest.mark.parametrize(("columns", "rows"), [(96, 64), (64, 256), (256, 64)])
def test_a_layer_is_within_five_percent_even_where_tokens_differ_a_thousandfold(columns: int, rows: int) -> None:
    linear = random_linear(columns, rows, 0)
    x = torch.randn(2, 7, columns, generator=torch.Generator().manual_seed(1))
    x = x * torch.logspace(-2, 1, 7)[:, None]
    exact, found = linear(x) - linear.bias, Fp8Linear(linear)(x) - linear.bias
    error = (found - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert float(error.max()) < LAYER
    assert float(error.mean()) > 0.001, "nothing was rounded"


def test_rows_have_scales_of_their_own_and_zeros_stay_zeros() -> None:
    rows = torch.tensor([[1.0, -2.0, 0.5], [1000.0, 250.0, -500.0], [0.0, 0.0, 0.0]])
    found, scale = rounded(rows)
    assert (found.dtype, scale.shape) == (E4M3, (3, 1))
    torch.testing.assert_close(found.float() * scale, rows, rtol=0.07, atol=0)
    assert torch.equal(found[2].float(), torch.zeros(3))


def test_a_transformer_in_e4m3_stays_near_the_exact_one() -> None:
    torch.manual_seed(0)
    net = VideoTransformer(TransformerConfig(256, 2, 3, 96, 32, 24)).eval().requires_grad_(False)
    for value in net.parameters():
        value.add_(torch.randn(value.shape) * 0.02)
    eight = copy.deepcopy(net)
    assert quantise(eight) == 3 * 8
    assert isinstance(eight.get_submodule("blocks.0.cross_attn.k"), nn.Linear)
    assert isinstance(eight.get_submodule("blocks.2.ffn.2"), Fp8Linear)
    latents, states = torch.randn(1, 3, 16, 4, 6), torch.randn(1, 5, 24)
    turn = rotation([0, 1, 2], 2, 3, 128)
    given = latents, torch.full((1, 3), 500.0)
    exact = net(*given, net.text_context(states, None), turn)
    rough = eight(*given, eight.text_context(states, None), turn)
    assert 0.0005 < float((rough - exact).norm() / exact.norm()) < CHUNK
