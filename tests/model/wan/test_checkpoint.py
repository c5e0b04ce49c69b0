"""Checkpoints in every layout that is published, a LoRA merged, and files that are wrong named with what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_wan import SIZES, Weights, transformer

from memreel.errors import UserError
from memreel.model.wan.checkpoint import load_transformer, read_lora

LAYER = "blocks.1.self_attn.q"


@pytest.fixture(scope="module")
def weights() -> Weights:
    return {name: value.contiguous() for name, value in transformer().state_dict().items()}


def under(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": value for name, value in weights.items()}


LAYOUTS: dict[str, Callable[[Weights], object]] = {
    "generator": lambda w: {"generator": under("model.", w), "critic": under("model.", w)},
    "generator_ema": lambda w: {
        "generator": under("model.", {k: v + 1 for k, v in w.items()}),
        "generator_ema": under("model._fsdp_wrapped_module.", w),
    },
    "wrapped blocks": lambda w: {
        "generator_ema": {f"model.{k.replace('blocks.', 'blocks._fsdp_wrapped_module.', 1)}": v for k, v in w.items()}
    },
    "model": lambda w: {"model": w, "step": 3},
    "bare": lambda w: w,
    "bare under model.": lambda w: under("model.", w),
    "distributed": lambda w: under("module.model.", w),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_transformer(tmp_path: Path, weights: Weights, layout: str) -> None:
    path = tmp_path / "causal.pt"
    torch.save(LAYOUTS[layout](weights), path)
    net = load_transformer(path, "cpu", torch.float32)
    assert net.config == SIZES
    assert not net.training
    found = net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_safetensors_give_it_too_in_the_asked_precision(tmp_path: Path, weights: Weights) -> None:
    path = tmp_path / "causal.safetensors"
    save_file(under("model.", weights), path)
    found = load_transformer(path, "cpu", torch.bfloat16).state_dict()
    assert found[f"{LAYER}.weight"].dtype == torch.bfloat16
    assert found["blocks.0.modulation"].dtype == torch.float32
    assert torch.equal(found[f"{LAYER}.weight"], weights[f"{LAYER}.weight"].bfloat16())


def test_the_network_that_is_asked_for_is_taken(tmp_path: Path, weights: Weights) -> None:
    path = tmp_path / "causal.pt"
    torch.save({"generator": {k: v + 1 for k, v in weights.items()}, "generator_ema": weights}, path)
    net = load_transformer(path, "cpu", torch.float32, entry="generator")
    assert torch.equal(net.state_dict()[f"{LAYER}.bias"], weights[f"{LAYER}.bias"] + 1)
    with pytest.raises(UserError, match=r"has no 'model' \(model.wan.entry\), only generator_ema, generator"):
        load_transformer(path, "cpu", torch.float32, entry="model")


@pytest.mark.parametrize(
    "naming",
    [
        "base_model.model.{}.lora_{}.default.weight",
        "base_model.model.model.{}.lora_{}.weight",
        "{}.lora_{}.weight",
        "model.{}.lora_{}.default.weight",
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_lora_is_merged_at_its_strength(tmp_path: Path, weights: Weights, naming: str, wrapped: bool) -> None:
    path, lora = tmp_path / "causal.pt", tmp_path / "lora.pt"
    torch.save({"generator": weights}, path)
    draw = torch.Generator().manual_seed(4)
    down, up = torch.randn(4, 256, generator=draw), torch.randn(96, 4, generator=draw)
    pairs = {naming.format("blocks.2.ffn.0", "A"): down, naming.format("blocks.2.ffn.0", "B"): up}
    torch.save({"generator_lora": pairs, "critic_lora": pairs} if wrapped else pairs, lora)
    net = load_transformer(path, "cpu", torch.float32, lora=lora, lora_scale=0.5)
    merged = weights["blocks.2.ffn.0.weight"] + 0.5 * up @ down
    torch.testing.assert_close(net.state_dict()["blocks.2.ffn.0.weight"], merged)
    assert torch.equal(net.state_dict()[f"{LAYER}.weight"], weights[f"{LAYER}.weight"])


def complaint(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_lora_is_named_with_the_layer(tmp_path: Path, weights: Weights) -> None:
    path, lora = tmp_path / "causal.pt", tmp_path / "lora.pt"
    torch.save(weights, path)

    def with_pairs(pairs: Weights) -> str:
        torch.save(pairs, lora)
        return complaint(lambda: load_transformer(path, "cpu", torch.float32, lora=lora))

    a, b = torch.zeros(4, 256), torch.zeros(256, 4)
    assert f"{lora}: changes 'blocks.9.ffn.0'" in with_pairs(
        {"blocks.9.ffn.0.lora_A.weight": a, "blocks.9.ffn.0.lora_B.weight": b}
    )
    assert "LoRA of [256, 4] times [4, 7] does not fit a weight of [256, 256]" in with_pairs(
        {f"{LAYER}.lora_A.weight": a[:, :7], f"{LAYER}.lora_B.weight": b}
    )
    assert f"{LAYER} has no up half" in with_pairs({f"{LAYER}.lora_A.weight": a})
    assert "expected LoRA weights" in with_pairs({"something": a})
    assert "holds 1 entries ('something')" in complaint(lambda: read_lora(lora))


def test_what_is_missing_unknown_or_of_another_shape_is_said_with_the_first_name(
    tmp_path: Path, weights: Weights
) -> None:
    path = tmp_path / "causal.pt"

    def of(changed: Weights) -> str:
        torch.save({"generator": changed}, path)
        return complaint(lambda: load_transformer(path, "cpu", torch.float32))

    fewer = {name: value for name, value in weights.items() if not name.startswith("head.")}
    said = of({**fewer, "blocks.0.strange": torch.zeros(1), "other": torch.zeros(1)})
    assert said.startswith(f"{path}: not the weights of this model: 3 names are missing, first 'head.modulation'")
    assert "2 are not known, first 'blocks.0.strange'" in said
    assert f"'{LAYER}.bias' is [5], not [256]" in of({**weights, f"{LAYER}.bias": torch.zeros(5)})
    assert "has no 'time_embedding.0.weight'" in of(
        {name: value for name, value in weights.items() if name != "time_embedding.0.weight"}
    )


@pytest.mark.parametrize("damage", ["cut", "text", "gone", "list", "of something else"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, weights: Weights, damage: str, suffix: str) -> None:
    path = tmp_path / f"causal{suffix}"
    if suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("<html>404</html>")
    elif damage == "gone":
        path.unlink()
    elif damage == "list" and suffix == ".pt":
        torch.save([torch.zeros(1)], path)
    elif suffix == ".pt":
        torch.save({"unet": {"conv": torch.zeros(1)}}, path)
    else:
        save_file({"conv": torch.zeros(1)}, path)
    said = complaint(lambda: load_transformer(path, "cpu", torch.float32))
    assert said.startswith(f"{path}: ")
    if damage == "of something else":
        assert "expected a causal Wan 2.1 transformer" in said
