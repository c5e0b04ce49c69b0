"""Reads prompts with UMT5, as Wan was trained to: states of at most 512 tokens, zeros after the last one.

The encoder comes from the original ``models_t5_umt5-xxl-enc-bf16.pth`` with its ``google/umt5-xxl`` tokenizer, or from
a Diffusers folder's ``text_encoder`` and ``tokenizer``. It is as large as four transformers and runs once a prompt, so
by default it stays in host memory, mapped from its file. It knows nothing of what the states are for.
"""

from __future__ import annotations

import html
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from memreel.errors import ModelError, UserError
from memreel.model.wan.checkpoint import check, read_file

MAX_TOKENS = 512
NEEDS_EXTRA = "Wan models need ftfy: pip install 'memreel[wan]'"
RENAMED = {
    "token_embedding.weight": "shared.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
    "norm1.weight": "layer.0.layer_norm.weight",
    "attn.q.weight": "layer.0.SelfAttention.q.weight",
    "attn.k.weight": "layer.0.SelfAttention.k.weight",
    "attn.v.weight": "layer.0.SelfAttention.v.weight",
    "attn.o.weight": "layer.0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
}
"""Names in the original file, and in transformers; those of a block without the block."""


class WanText:
    """Tokenizer and encoder; states of texts that were read lately are kept."""

    def __init__(self, tokenizer: Any, encoder: Any) -> None:
        """Wrap a loaded tokenizer and a `UMT5EncoderModel`."""
        self.tokenizer, self.encoder = tokenizer, encoder
        self.states = lru_cache(maxsize=256)(self._states)

    @torch.inference_mode()
    def _states(self, text: str) -> torch.Tensor:
        """Return a text's token states ``[tokens, text_dim]``, at most 512 of them, on the encoder's device.

        Raises:
            ModelError: the device has no room for it.
        """
        device = self.encoder.device
        ids = self._ids(text)[:MAX_TOKENS].unsqueeze(0).to(device)
        try:
            states: torch.Tensor = self.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"wan: {device} is out of memory in the text encoder; model.wan.text_device=cpu keeps it in host memory"
            ) from error
        return states

    def require_short(self, text: str) -> None:
        """Refuse a prompt of which the model would not see the end.

        Raises:
            UserError: it has more than 512 tokens.
        """
        ids = self._ids(text)
        if len(ids) > MAX_TOKENS:
            lost = self.tokenizer.decode(ids[MAX_TOKENS - 1 :], skip_special_tokens=True)
            raise UserError(
                f"a prompt has {len(ids)} tokens and Wan reads {MAX_TOKENS}: {len(ids) - MAX_TOKENS} would be cut, "
                f"from '{lost[:60]}' on; shorten it (attributes from the cast count too: prompt.enrich)"
            )

    def _ids(self, text: str) -> torch.Tensor:
        ids: torch.Tensor = self.tokenizer(cleaned(text), return_tensors="pt", verbose=False).input_ids[0]
        return ids


def cleaned(text: str) -> str:
    """Return a text as Wan's own pipeline cleans it: mended encoding, plain quotes, single spaces."""
    try:
        import ftfy
    except ImportError as error:
        raise UserError(NEEDS_EXTRA) from error
    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text)))).strip()


def padded(states: torch.Tensor) -> torch.Tensor:
    """Return states ``[tokens, text_dim]`` as the transformer was trained on them: ``[1, 512, text_dim]``."""
    return F.pad(states, (0, 0, 0, MAX_TOKENS - len(states))).unsqueeze(0)


def load_text(encoder: Path, tokenizer: Path, device: str, dtype: torch.dtype) -> WanText:
    """Load the text encoder and its tokenizer.

    Args:
        encoder: the original file, or a folder in transformers' format (``config.json``, ``*.safetensors``).
        tokenizer: folder of the tokenizer.
        device: where the encoder runs.
        dtype: of its weights.

    Raises:
        UserError: files are missing or of something else.
    """
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    try:
        read = AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{tokenizer}: no usable tokenizer ({reason}); it needs the files of google/umt5-xxl"
        ) from error
    if encoder.is_dir():
        weights = {k: v for path in _shards(encoder) for k, v in read_file(path, device).items()}
        try:
            config = UMT5Config.from_dict(json.loads((encoder / "config.json").read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise UserError(f"{encoder / 'config.json'}: cannot be read ({error}); copy the folder again") from error
    else:
        weights = renamed(read_file(encoder, device), encoder)
        config = UMT5Config(**_sizes(weights, encoder))
    weights["encoder.embed_tokens.weight"] = weights.setdefault(
        "shared.weight", weights.get("encoder.embed_tokens.weight", torch.empty(0))
    )
    with torch.device("meta"):
        model = UMT5EncoderModel(config)
    check(weights, model, encoder)
    model.load_state_dict({name: value.to(device, dtype) for name, value in weights.items()}, assign=True)
    model.tie_weights()
    return WanText(read, model.eval().requires_grad_(False))


def _shards(folder: Path) -> list[Path]:
    found = sorted(folder.glob("model*.safetensors"))
    if not found:
        raise UserError(f"{folder}: has no model*.safetensors; `memreel doctor --config …` tells how to get it")
    return found


def renamed(weights: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Return the original file's weights under transformers' names.

    Raises:
        UserError: a name is not one of the original's.
    """
    made = {}
    for name, value in weights.items():
        block = re.match(r"blocks\.(\d+)\.(.+)", name)
        inner = block[2] if block else name
        if inner not in RENAMED:
            raise UserError(
                f"{path}: '{name}' is not known; expected Wan's UMT5 encoder, "
                "with 'token_embedding.weight' and 'blocks.0.attn.q.weight'"
            )
        made[f"encoder.block.{block[1]}.{RENAMED[inner]}" if block else RENAMED[inner]] = value
    return made


def _sizes(weights: dict[str, torch.Tensor], path: Path) -> dict[str, int]:
    block = "encoder.block.0."
    try:
        vocabulary, width = weights["shared.weight"].shape
        buckets, heads = weights[f"{block}{RENAMED['pos_embedding.embedding.weight']}"].shape
        inner = weights[f"{block}{RENAMED['attn.q.weight']}"].shape[0]
        hidden = weights[f"{block}{RENAMED['ffn.fc1.weight']}"].shape[0]
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; expected Wan's UMT5 encoder") from error
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": hidden,
        "num_heads": heads,
        "num_layers": 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.block.")),
        "relative_attention_num_buckets": buckets,
    }
