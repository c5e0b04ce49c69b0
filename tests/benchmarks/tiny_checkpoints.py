"""Small checkpoints with random weights, saved as `transformers` saves real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertTokenizerFast,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizerFast,
    Dinov2Config,
    Dinov2Model,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    SwinConfig,
    ViTConfig,
    ViTModel,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
MEAN = [0.5, 0.4, 0.3]
SIDE = {"height": 28, "width": 28}


def saved(folder: Path, *parts: Any) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    return folder


def seeded(build: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return build().eval()


def clip_words(folder: Path) -> CLIPTokenizerFast:
    """A byte-pair tokenizer that knows letters only."""
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def bert_words(folder: Path) -> BertTokenizerFast:
    """A word-piece tokenizer that knows letters only."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return BertTokenizerFast(str(folder / "vocab.txt"))


def dinov2(folder: Path) -> Path:
    config = Dinov2Config(**{k: v for k, v in SMALL.items() if k != "intermediate_size"}, image_size=28, patch_size=7)
    model = seeded(lambda: Dinov2Model(config))
    return saved(folder, model, BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIDE))


def vit(folder: Path) -> Path:
    """A DINO of the first kind: a ViT without the pooler that `AutoModel` would add."""
    model = seeded(lambda: ViTModel(ViTConfig(**SMALL, image_size=28, patch_size=7), add_pooling_layer=False))
    return saved(folder, model, ViTImageProcessorPil(size=SIDE))


def clip(folder: Path) -> Path:
    """A CLIP with the processor's settings as its first checkpoints have them."""
    tokenizer = clip_words(folder)
    text = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 53}
    config = CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 28, "patch_size": 7}, projection_dim=24)
    saved(folder, seeded(lambda: CLIPModel(config)), tokenizer)
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 28, "crop_size": 28, "resample": 3}
    told = {
        **old,
        "do_resize": True,
        "do_center_crop": True,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": MEAN,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def owlv2(folder: Path) -> Path:
    tokenizer = clip_words(folder)
    text = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 53}
    vision = {**SMALL, "image_size": 64, "patch_size": 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    model = seeded(lambda: Owlv2ForObjectDetection(config))
    torch.nn.init.constant_(model.class_head.logit_shift.bias, 1.0)  # or random weights are never sure enough,
    torch.nn.init.normal_(model.box_head.dense2.weight, std=0.02)  # and their boxes have no area
    torch.nn.init.zeros_(model.box_head.dense2.bias)
    return saved(folder, model, Owlv2ImageProcessorPil(size={"height": 64, "width": 64}), tokenizer)


def grounding_dino(folder: Path) -> Path:
    tokenizer = bert_words(folder)
    swin = SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config={**SMALL, "model_type": "bert", "vocab_size": len(tokenizer), "max_position_embeddings": 64},
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=12, max_text_len=64,
    )  # fmt: skip
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    return saved(folder, seeded(lambda: GroundingDinoForObjectDetection(config)), processor, tokenizer)
