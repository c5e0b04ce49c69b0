"""Wan's own VAE as a decoder of streams: a latent frame in, its pictures out, the state handed along.

The first latent frame of a video gives one picture, every later one four. The convolutions are causal; what they still
need of the past is kept by whoever decodes (`WanDecoding`), not by the VAE, so many streams can share one. Decoding in
pieces is decoding the whole, bit for bit. Networks and conversion of names are diffusers' `AutoencoderKLWan`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from memreel.errors import UserError
from memreel.model.wan.checkpoint import check, read_file

NEEDS_EXTRA = "Wan models need diffusers: pip install 'memreel[wan]'"


class Decoding(Protocol):
    """The decoding of one video, latent frame by latent frame, from its first one on."""

    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode the next latent frames ``[frames, 16, h, w]`` to pictures ``[n, 3, height, width]`` in 0..1."""

    def past(self) -> dict[str, torch.Tensor]:
        """Return what the next pictures depend on of the frames so far, by name; asked for after whole chunks."""


class Codec(Protocol):
    """The weights of a decoder, shared by all videos."""

    def begin(self, past: Mapping[str, torch.Tensor] | None = None) -> Decoding:
        """Begin to decode a video, or go on where a decoding had that ``past``."""


class WanVae:
    """Wan 2.1's VAE."""

    def __init__(self, vae: Any) -> None:
        """Wrap a loaded `AutoencoderKLWan`."""
        self.vae = vae
        like = next(vae.decoder.parameters())
        shape = (1, -1, 1, 1, 1)
        self.mean = torch.tensor(vae.config.latents_mean, device=like.device, dtype=torch.float32).view(shape)
        self.std = torch.tensor(vae.config.latents_std, device=like.device, dtype=torch.float32).view(shape)
        self.dtype = like.dtype
        self.convolutions = int(vae._cached_conv_counts["decoder"])

    def begin(self, past: Mapping[str, torch.Tensor] | None = None) -> WanDecoding:
        """Begin to decode a video, or go on where a decoding had that ``past``."""
        return WanDecoding(self, past or {})


class WanDecoding:
    """One video's decoding: what the causal convolutions remember of the frames so far."""

    def __init__(self, codec: WanVae, past: Mapping[str, torch.Tensor]) -> None:
        """Start before the first frame, or after those that left a ``past``."""
        self.codec, self.started = codec, bool(past)
        self._past: list[Any] = [None] * codec.convolutions
        for place, seen in past.items():
            self._past[int(place)] = seen.to(codec.mean.device)

    def past(self) -> dict[str, torch.Tensor]:
        """Return what the convolutions remember; from the second frame on, all that they do are tensors."""
        return {str(place): seen for place, seen in enumerate(self._past) if isinstance(seen, torch.Tensor)}

    @torch.inference_mode()
    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode the next latent frames ``[frames, 16, h, w]`` to pictures ``[n, 3, height, width]`` in 0..1.

        If it fails, it has not happened.
        """
        codec, past = self.codec, list(self._past)
        whole = latents.float().transpose(0, 1).unsqueeze(0) * codec.std + codec.mean
        made = []
        for number, frame in enumerate(whole.to(codec.dtype).split(1, 2)):
            z, first = codec.vae.post_quant_conv(frame), number == 0 and not self.started
            made.append(codec.vae.decoder(z, feat_cache=past, feat_idx=[0], first_chunk=first))
        self._past, self.started = past, True
        pictures = torch.cat(made, 2)[0].transpose(0, 1)
        return pictures.float().clamp(-1, 1) * 0.5 + 0.5


def load_vae(path: Path, device: str, dtype: torch.dtype) -> WanVae:
    """Load the VAE: ``Wan2.1_VAE.pth`` as published, or a Diffusers folder with ``config.json``.

    Raises:
        UserError: files are missing or of something else, or diffusers is not installed.
    """
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise UserError(NEEDS_EXTRA) from error
    file, settings = path, None
    if path.is_dir():
        file = _weights_in(path)
        try:
            settings = json.loads((path / "config.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path / 'config.json'}: cannot be read ({error}); copy the folder again") from error
    weights = read_file(file, device)
    if settings is None:
        weights, settings = _converted(weights, file)
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(settings)
    check(weights, vae, file)
    vae.load_state_dict({name: value.to(device, dtype) for name, value in weights.items()}, assign=True)
    return WanVae(vae.eval().requires_grad_(False))


def _weights_in(folder: Path) -> Path:
    names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: has no {' or '.join(names)}; `memreel doctor --config …` tells how to get it")


def _converted(weights: dict[str, Any], path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Rename the weights of the original file, and tell the sizes from their shapes."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    if "decoder.head.0.gamma" not in weights or "conv2.weight" not in weights:
        raise UserError(f"{path}: expected Wan 2.1's VAE, with 'decoder.head.0.gamma' and 'conv2.weight'")
    settings = {"base_dim": weights["decoder.head.0.gamma"].shape[0], "z_dim": weights["conv2.weight"].shape[0]}
    return convert_wan_vae_to_diffusers(weights), settings
