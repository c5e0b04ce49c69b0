"""Reads causal Wan transformers as they are published, whatever their wrapping, into one plain set of weights.

Layouts: a ``.pt`` dict with ``generator_ema``, ``generator`` or ``model``, or the weights alone; ``.safetensors``, one
file; names under ``model.``, ``module.`` or ``_fsdp_wrapped_module.``. A LoRA comes as ``generator_lora`` or a bare
PEFT dict and is merged into the weights. Files are memory-mapped and tensors go straight to their device. What does not
fit is a `UserError` that names the file, the first names that are missing or not known, and the expected layout.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from memreel.errors import UserError
from memreel.model.transformer import TransformerConfig, VideoTransformer

Weights = dict[str, torch.Tensor]

ENTRIES = ("generator_ema", "generator", "model")
"""What a training run saves its networks under, best first."""
WRAPPERS = re.compile(r"_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.|_orig_mod\.")
PREFIXES = ("module.", "model.diffusion_model.", "diffusion_model.", "model.")
LORA = re.compile(r"^(?P<layer>.+)\.lora_(?P<part>A|B|down|up)(\.default)?\.weight$")
EXPECTED = "a causal Wan 2.1 transformer: 'patch_embedding.weight', 'blocks.0.self_attn.q.weight' and so on"


def read_file(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Return what a ``.safetensors`` or ``.pt`` file holds, its tensors memory-mapped or on ``device``.

    Raises:
        UserError: the file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; `memreel doctor --config …` tells how to get it")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt", device=device) as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a checkpoint ({reason}); download it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, not a dict of weights")
    return found


def plain_name(name: str) -> str:
    """Return a weight's name without the wrappers of its training run."""
    name = WRAPPERS.sub("", name)
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def unwrap(found: Mapping[str, Any], path: Path, entry: str = "auto") -> Weights:
    """Return the transformer's weights out of a checkpoint, under Wan's own names.

    Args:
        found: what the file holds.
        path: for messages.
        entry: the network to take, or ``auto`` for the first of `ENTRIES`, or the dict itself.

    Raises:
        UserError: the entry is not there, or there are no weights.
    """
    there = [name for name in ENTRIES if isinstance(found.get(name), Mapping)]
    if entry != "auto" and entry not in there:
        raise UserError(
            f"{path}: has no '{entry}' (model.wan.entry), only {', '.join(there) or _some(found)}; try entry=auto"
        )
    inner = found[there[0] if entry == "auto" else entry] if there else found
    weights = {plain_name(str(name)): value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    if "patch_embedding.weight" not in weights:
        raise UserError(f"{path}: holds {_some(found)}; expected {EXPECTED}, alone or under {', '.join(ENTRIES)}")
    return weights


def sizes(weights: Mapping[str, torch.Tensor], path: Path) -> TransformerConfig:
    """Tell a transformer's sizes from the shapes of its weights; heads are 128 wide, as in all of Wan.

    Raises:
        UserError: a weight that tells a size is missing.
    """
    try:
        patch, ffn = weights["patch_embedding.weight"], weights["blocks.0.ffn.0.weight"]
        freq, text = weights["time_embedding.0.weight"].shape[1], weights["text_embedding.0.weight"].shape[1]
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; expected {EXPECTED}") from error
    dim, channels, *size = patch.shape
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    return TransformerConfig(
        dim, max(1, dim // 128), layers, ffn.shape[0], freq, text, channels, (size[0], size[1], size[2])
    )


def read_lora(path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return a LoRA's pairs ``(down [rank, in], up [out, rank])`` by the name of the layer that they change.

    Raises:
        UserError: the file is not a LoRA, or a half of a pair is missing.
    """
    found: Mapping[str, Any] = read_file(path)
    for entry in ("generator_lora", "lora"):
        found = found[entry] if isinstance(found.get(entry), Mapping) else found
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in found.items():
        plain = plain_name(plain_name(str(name).replace("base_model.", "", 1)))
        if match := LORA.match(plain):
            part = {"A": "down", "B": "up"}.get(match["part"], match["part"])
            halves.setdefault(plain_name(match["layer"]), {})[part] = value
    if not halves:
        raise UserError(f"{path}: holds {_some(found)}; expected LoRA weights, '….lora_A.weight' and '….lora_B.weight'")
    for layer, parts in halves.items():
        if missing := {"down", "up"} - parts.keys():
            raise UserError(f"{path}: {layer} has no {missing.pop()} half of its LoRA; download the file again")
    return {layer: (parts["down"], parts["up"]) for layer, parts in halves.items()}


def load_transformer(
    path: Path,
    device: str,
    dtype: torch.dtype,
    *,
    entry: str = "auto",
    lora: Path | None = None,
    lora_scale: float = 1.0,
) -> VideoTransformer:
    """Load a causal Wan transformer onto its device, its LoRA merged, in evaluation mode.

    Args:
        path: the checkpoint.
        device: where the weights go, one by one.
        dtype: of the weights; the modulation tables stay in float32.
        entry: which of the checkpoint's networks to take.
        lora: a LoRA to merge.
        lora_scale: its strength.

    Raises:
        UserError: a file is missing, damaged or of something else.
    """
    weights = unwrap(read_file(path, device), path, entry)
    config = sizes(weights, path)
    with torch.device("meta"):
        net = VideoTransformer(config)
    check(weights, net, path)
    pairs = read_lora(lora) if lora is not None else {}
    for layer in pairs:
        if f"{layer}.weight" not in weights:
            raise UserError(f"{lora}: changes '{layer}', which {path.name} does not have; is it a LoRA for this model?")
    ready: Weights = {}
    for name in list(weights):
        value = weights.pop(name).to(device)
        layer = name.removesuffix(".weight")
        if layer in pairs:
            value = _merged(value, *pairs.pop(layer), lora_scale, f"{lora}: {layer}")
        ready[name] = value.to(torch.float32 if name.endswith("modulation") else dtype)
    net.load_state_dict(ready, assign=True)
    return net.eval().requires_grad_(False)


def _merged(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float, where: str) -> torch.Tensor:
    if (up.shape[0], down.shape[1]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
        raise UserError(
            f"{where}: LoRA of {list(up.shape)} times {list(down.shape)} does not fit a weight of {list(weight.shape)}"
        )
    change = up.to(weight.device, torch.float32) @ down.to(weight.device, torch.float32)
    return weight.float() + scale * change


def check(weights: Mapping[str, torch.Tensor], module: torch.nn.Module, path: Path) -> None:
    """Compare names and shapes with a module's.

    Raises:
        UserError: they differ; the message has the first missing and the first unknown name, and how many there are.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights]
    strange = [name for name in weights if name not in own]
    shapes = [
        f"'{name}' is {list(weights[name].shape)}, not {list(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    faults = [
        *([f"{len(missing)} names are missing, first '{missing[0]}'"] if missing else []),
        *([f"{len(strange)} are not known, first '{strange[0]}'"] if strange else []),
        *shapes[:1],
    ]
    if faults:
        raise UserError(f"{path}: not the weights of this model: {'; '.join(faults)}")


def _some(found: Mapping[str, Any]) -> str:
    names = [f"'{name}'" for name in list(found)[:3]]
    return f"{len(found)} entries ({', '.join(names)}{', …' if len(found) > 3 else ''})" if names else "nothing"
