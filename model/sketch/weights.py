"""Reads and writes the weights of `sketch`: half-precision safetensors, the transformer in shards of at most 16 MiB."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from memreel.errors import UserError
from memreel.model.codec import VideoCodec
from memreel.model.scoring import Scorer
from memreel.model.sketch.net import SCORER, SketchNet

FOLDER = Path(__file__).parent / "weights"
"""The weights that come with memreel."""
SHARD_BYTES = 15 * 2**20
SCORER_FILE = "scorer.json"


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; the sketch model needs codec.safetensors and net-*.safetensors"
        ) from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}); copy it again") from error


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], where: Path) -> None:
    own = module.state_dict()
    faults = [
        *(f"{name} is missing" for name in own if name not in weights),
        *(f"{name} is not its own" for name in weights if name not in own),
        *(
            f"{name} is {list(weights[name].shape)}, not {list(value.shape)}"
            for name, value in own.items()
            if name in weights and weights[name].shape != value.shape
        ),
    ]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise UserError(f"{where}: not weights of this model ({faults[0]}{more}); check model.weights")
    module.load_state_dict(weights)


def load_codec(folder: Path | None = None) -> VideoCodec:
    """Load the codec from a folder (None: the shipped one), in evaluation mode."""
    path = (folder or FOLDER) / "codec.safetensors"
    codec = VideoCodec()
    _fill(codec, _read(path), path)
    return codec.eval().requires_grad_(False)


def load_net(folder: Path | None = None, stem: str = "net") -> SketchNet:
    """Load text refiner and transformer from a folder (None: the shipped one), in evaluation mode."""
    where = folder or FOLDER
    shards = sorted(where.glob(f"{stem}-*.safetensors"))
    if not shards:
        raise UserError(
            f"{where}: no {stem}-*.safetensors; reinstall memreel or give model.weights a folder that has them"
        )
    net = SketchNet()
    _fill(net, {k: v for shard in shards for k, v in _read(shard).items()}, where)
    return net.eval().requires_grad_(False)


def load_scorer(folder: Path | None = None) -> Scorer:
    """Read how visibility is scored with the weights of a folder (None: the shipped ones), `SCORER` if it has none."""
    path = (folder or FOLDER) / SCORER_FILE
    return Scorer.read(path) if path.exists() else SCORER


def save_shards(weights: dict[str, torch.Tensor], folder: Path, stem: str = "net") -> list[Path]:
    """Write weights in half precision as ``stem-0.safetensors`` and on, each at most 16 MiB; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, value in weights.items():
        half = value.detach().cpu().half().contiguous()
        if size + half.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = half
        size += half.nbytes
    paths = [folder / f"{stem}-{i}.safetensors" for i in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        save_file(shard, path)
    return paths
