"""Small random Wan models, written to disk in the formats of the real ones: every layout, every file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import UMT5Config, UMT5EncoderModel

from memreel.configs.schema import ModelConfig
from memreel.model.transformer import TransformerConfig, VideoTransformer
from memreel.model.wan.text import RENAMED
from memreel.model.wan.tiny import TinyDecoder

SIZES = TransformerConfig(dim=256, heads=2, layers=3, ffn_dim=96, freq_dim=32, text_dim=24)
VAE = {"base_dim": 8, "z_dim": 16}
SETTINGS: dict[str, Any] = {"width": 64, "height": 32, "precision": "fp32"}
WORDS = "a an the young old woman man red blue hair hat sweater mia tom walks waits in into park library street"

Weights = dict[str, torch.Tensor]


def transformer(seed: int = 0) -> VideoTransformer:
    """Return a network none of whose parts is switched off by its start at zero."""
    torch.manual_seed(seed)
    net = VideoTransformer(SIZES).eval().requires_grad_(False)
    for value in net.parameters():
        value.add_(torch.randn(value.shape) * 0.05)
    return net


def write_text(folder: Path, *, original: bool) -> None:
    """Write a tokenizer and an encoder: as Wan published them, or as transformers does."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS.split()]
    pieces += [(piece, -6.0) for piece in ["▁", *"abcdefghijklmnopqrstuvwxyz,.;'"]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    where = folder / ("google/umt5-xxl" if original else "tokenizer")
    where.mkdir(parents=True)
    tokenizer.save(str(where / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (where / "tokenizer_config.json").write_text(json.dumps(facts))
    torch.manual_seed(1)
    config = UMT5Config(vocab_size=len(pieces), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3)
    encoder = UMT5EncoderModel(config)
    if not original:
        encoder.save_pretrained(folder / "text_encoder")
        return
    names = {new: old for old, new in RENAMED.items()}
    weights = {}
    for name, value in encoder.state_dict().items():
        if name == "encoder.embed_tokens.weight":
            continue
        parts = name.split(".")
        block = parts[1] == "block"
        inner = names[".".join(parts[3:]) if block else name]
        weights[f"blocks.{parts[2]}.{inner}" if block else inner] = value.clone()
    torch.save(weights, folder / "models_t5_umt5-xxl-enc-bf16.pth")


def vae() -> Any:
    """Return a small VAE of diffusers."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(2)
    return AutoencoderKLWan(**VAE).eval().requires_grad_(False)


def write_vae(folder: Path, *, original: bool) -> None:
    """Write a VAE: as Wan published it, or as diffusers does."""
    made = vae()
    if not original:
        made.save_pretrained(folder / "vae")
        return
    torch.save(original_vae(made.state_dict()), folder / "Wan2.1_VAE.pth")


def original_vae(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Rename a VAE's weights as the original file has them, by trying diffusers' conversion on every name."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    back: dict[str, str] = {}
    for old in _original_vae_names():
        for new in convert_wan_vae_to_diffusers({old: torch.zeros(1)}):
            back[new] = old
    return {back[name]: value.clone() for name, value in weights.items()}


def _original_vae_names() -> list[str]:
    names = [f"{part}.{end}" for part in ("conv1", "conv2") for end in ("weight", "bias")]
    block = ["residual.0.gamma", "residual.3.gamma"]
    block += [f"{part}.{end}" for part in ("residual.2", "residual.6", "shortcut") for end in ("weight", "bias")]
    up = [f"{part}.{end}" for part in ("resample.1", "time_conv") for end in ("weight", "bias")]
    attention = ["norm.gamma", *(f"{part}.{end}" for part in ("to_qkv", "proj") for end in ("weight", "bias"))]
    for side, stages, count in (("encoder", "downsamples", 11), ("decoder", "upsamples", 15)):
        names += [f"{side}.conv1.weight", f"{side}.conv1.bias", f"{side}.head.0.gamma"]
        names += [f"{side}.head.2.weight", f"{side}.head.2.bias"]
        names += [f"{side}.middle.{i}.{name}" for i in (0, 2) for name in block]
        names += [f"{side}.middle.1.{name}" for name in attention]
        names += [f"{side}.{stages}.{i}.{name}" for i in range(count) for name in (*block, *up)]
    return names


def write_tiny(path: Path) -> TinyDecoder:
    """Write small weights of taehv's shape, an encoder's among them, which is not to be read."""
    torch.manual_seed(3)
    tiny = TinyDecoder((16, 12, 8, 8))
    torch.save({**tiny.state_dict(), "encoder.0.weight": torch.zeros(4, 3, 3, 3)}, path)
    return tiny.eval().requires_grad_(False)


def write_model(folder: Path, *, original: bool = True) -> VideoTransformer:
    """Write everything that a run needs into ``folder``."""
    net = transformer()
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    if original:
        torch.save({"generator_ema": {f"model.{name}": value for name, value in weights.items()}}, folder / "causal.pt")
    else:
        save_file(weights, folder / "causal.safetensors")
    write_text(folder, original=original)
    write_vae(folder, original=original)
    write_tiny(folder / "taew2_1.pth")
    return net


def settings(folder: Path, **wan: Any) -> ModelConfig:
    """Return the configuration of a model that `write_model` wrote."""
    return ModelConfig.model_validate({"name": "wan", "weights": folder, "device": "cpu", "wan": {**SETTINGS, **wan}})
