"""Faster ways to run the same model: compiled, in e4m3; what they give stays near what the plain one gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_wan import settings

from memreel.model import load
from memreel.model.fp8 import Fp8Linear
from memreel.model.wan.model import WanModel

TEXT = "mia walks in the park"


def two_chunks(model: WanModel) -> torch.Tensor:
    stream = model.open(0)
    stream.set_prompt(TEXT)
    return torch.cat([stream.generate().latents for _ in range(2)])


def model_of(folder: Path, **wan: object) -> WanModel:
    model = load(settings(folder, codec="tiny", **wan))
    assert isinstance(model, WanModel)
    return model


def error(folder: Path, **wan: object) -> float:
    exact = two_chunks(model_of(folder, attention="math"))
    return float((two_chunks(model_of(folder, **wan)) - exact).norm() / exact.norm())


def test_a_chunk_in_e4m3_stays_near_the_bf16_one(folder: Path) -> None:
    exact = two_chunks(model_of(folder, precision="bf16"))
    model = model_of(folder, precision="fp8")
    assert isinstance(model.net.get_submodule("blocks.0.ffn.0"), Fp8Linear)
    assert 0.0005 < float((two_chunks(model) - exact).norm() / exact.norm()) < 0.2


def test_a_chunk_with_attention_in_e4m3_stays_near_the_exact_one(folder: Path) -> None:
    assert 0.0005 < error(folder, attention="fp8") < 0.15


def test_compiled_blocks_give_what_plain_ones_give(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as on a GPU, but run by PyTorch's own operators, so that the test needs no compiler."""
    compiled: list[object] = []
    compile_, eager = torch.compile, "aot_eager"

    def tracing(function: object, **how: object) -> object:
        compiled.append(function)
        return compile_(function, backend=eager, **how)

    monkeypatch.setattr(torch, "compile", tracing)
    assert error(folder, speed="compile", attention="math") < 1e-5
    assert [getattr(f, "__name__", "") for f in compiled] == ["turned", "before", "between", "after"]


def test_each_attention_kernel_of_this_machine_makes_the_same_chunks(folder: Path) -> None:
    chosen = model_of(folder).attention
    assert chosen.name in chosen.milliseconds
    for name in chosen.milliseconds:
        assert error(folder, attention=name) < 1e-5
