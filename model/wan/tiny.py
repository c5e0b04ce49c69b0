"""taehv's decoder for Wan latents: a hundredth of the VAE's work, streaming, a little softer.

Plain 2-D convolutions frame by frame; each memory block also sees its own input one frame earlier, which is all the
state there is. The first latent frame gives one picture (three of its four are before the video's start), every later
one four. Layer numbers are those of the published weights (``taew2_1.pth``, MIT, github.com/madebyollin/taehv), whose
encoder is not used. Latents are taken as they are, without the VAE's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from memreel.errors import UserError
from memreel.model.replay import Replayed, Tensors
from memreel.model.wan.checkpoint import check, read_file

STAGES = ((3, 1), (9, 2), (15, 2))
"""Where each stage begins, and how many frames it makes of one: three memory blocks, upsampling, growth, projection."""
LAST = 22
LEAD = 3
"""Pictures before the start of a video, which are dropped."""


class MemoryBlock(nn.Module):
    """Three convolutions over a frame and the frame before it, around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        """Change ``x`` ``[frames, width, rows, columns]`` by what was before, of the same shape."""
        changed: torch.Tensor = self.conv(torch.cat((x, past), 1))
        return F.relu(changed + x)


class Growth(nn.Module):
    """One frame becomes ``frames``."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(width, width * frames, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Grow ``[frames, width, rows, columns]`` along its first axis."""
        grown: torch.Tensor = self.conv(x)
        return grown.reshape(-1, self.width, *x.shape[2:])


class TinyDecoder(nn.Module):
    """The decoder's layers under the numbers that the published weights have."""

    def __init__(self, widths: tuple[int, int, int, int] = (256, 128, 64, 64), channels: int = 16) -> None:
        """Build with random weights."""
        super().__init__()
        layers: dict[str, nn.Module] = {"1": nn.Conv2d(channels, widths[0], 3, padding=1)}
        for (start, frames), width, following in zip(STAGES, widths[:-1], widths[1:], strict=True):
            layers |= {str(start + i): MemoryBlock(width) for i in range(3)}
            layers[str(start + 4)] = Growth(width, frames)
            layers[str(start + 5)] = nn.Conv2d(width, following, 3, padding=1, bias=False)
        layers[str(LAST)] = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.decoder = nn.ModuleDict(layers)
        self.replayed = Replayed("cpu")
        """What decodes the chunks of a video under way: plainly, unless `record` was called."""
        self.decode = decode
        """What is replayed: `decode`, or its compiled equal."""

    def record(self, device: str) -> None:
        """Compile the decoding, channels last, and replay it from now on: half the time and few launches."""
        self.replayed = Replayed(device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.decode = torch.compile(decode, dynamic=False)

    def begin(self, past: Mapping[str, torch.Tensor] | None = None) -> TinyDecoding:
        """Begin to decode a video, or go on where a decoding had that ``past``."""
        return TinyDecoding(self, past or {})


class TinyDecoding:
    """One video's decoding: each memory block's last input."""

    def __init__(self, codec: TinyDecoder, past: Mapping[str, torch.Tensor]) -> None:
        """Start before the first frame, or after those that left a ``past``."""
        device = next(codec.parameters()).device
        self.codec, self.started = codec, bool(past)
        self._past = {number: seen.to(device) for number, seen in past.items()}

    def past(self) -> dict[str, torch.Tensor]:
        """Return each memory block's last input."""
        return dict(self._past)

    @torch.inference_mode()
    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode the next latent frames ``[frames, 16, h, w]`` to pictures ``[n, 3, height, width]`` in 0..1.

        One after the other, which needs a third of the memory; if it fails, it has not happened.
        """
        if self.started:
            pictures, past = self.codec.replayed(
                partial(self.codec.decode, self.codec), {"latents": latents, **self._past}
            )
            if self.codec.replayed.records:  # the next chunk, of whichever video, is written over these
                pictures, past = pictures.clone(), {number: seen.clone() for number, seen in past.items()}
        else:
            pictures, past = decode(self.codec, {"latents": latents})
            pictures = pictures[LEAD:]
        self._past, self.started = past, True
        return pictures


def decode(codec: TinyDecoder, given: Tensors) -> tuple[torch.Tensor, Tensors]:
    """Return the pictures of ``latents`` ``[frames, 16, h, w]``, and each memory block's last input.

    Frames are decoded one after the other, in the memory format of the weights.
    """
    past = {number: seen for number, seen in given.items() if number != "latents"}
    return torch.cat([_frame(codec, latent, past) for latent in given["latents"].split(1)]), past


def _frame(codec: TinyDecoder, latent: torch.Tensor, past: dict[str, torch.Tensor]) -> torch.Tensor:
    layers = codec.decoder
    first = layers["1"]
    assert isinstance(first, nn.Conv2d)
    x = _like(first.weight, latent.to(first.weight.dtype))
    x = F.relu(first(torch.tanh(x / 3) * 3))
    for start, _ in STAGES:
        for number in map(str, range(start, start + 3)):
            x = layers[number](x, _shifted(number, x, past))
        grown = _like(first.weight, layers[str(start + 4)](x))  # published after upsampling, for the same numbers
        x = layers[str(start + 5)](F.interpolate(grown, scale_factor=2, mode="nearest"))
    pictures: torch.Tensor = layers[str(LAST)](F.relu(x)).float().clamp(0, 1)
    return pictures


def _like(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` channels last if a convolution's weight is."""
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def _shifted(number: str, x: torch.Tensor, past: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what a block saw one frame earlier, for each frame, and keep the last for the next call."""
    before = past.get(number)
    before = torch.zeros_like(x[:1]) if before is None else before
    past[number] = x[-1:].clone()
    return torch.cat((before, x[:-1]))


def load_tiny(path: Path, device: str, dtype: torch.dtype) -> TinyDecoder:
    """Load taehv's decoder; widths come from the file.

    Raises:
        UserError: the file is missing or of something else.
    """
    weights = {name: value for name, value in read_file(path, device).items() if name.startswith("decoder.")}
    try:
        first = weights["decoder.1.weight"]
        widths = tuple(weights[f"decoder.{start + 5}.weight"].shape[0] for start, _ in STAGES)
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; expected taehv's weights for Wan 2.1, taew2_1.pth") from error
    with torch.device("meta"):
        codec = TinyDecoder((first.shape[0], widths[0], widths[1], widths[2]), first.shape[1])
    check(weights, codec, path)
    codec.load_state_dict({name: value.to(device, dtype) for name, value in weights.items()}, assign=True)
    return codec.eval().requires_grad_(False)
