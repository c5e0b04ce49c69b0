"""From latents to pictures, chunk by chunk, for a video under way or one that lies in a log.

A codec's first latent frame gives one picture, every later one four; so that every chunk of a video is as long as the
others, the very first picture is shown four times. On a GPU pictures are developed in a stream of their own, beside
what the transformer does meanwhile, and come to host memory by themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch

from memreel.model.clock import Mark, mark, on_gpu, reach, seconds
from memreel.model.protocol import Log, Pictures
from memreel.model.wan.vae import Codec, Decoding

HELD = 8
"""Chunks of a log whose pictures are kept: those that a stream which is restored still holds."""


def decoded(decoding: Decoding, latents: torch.Tensor) -> torch.Tensor:
    """Return the pictures of the next latent frames ``[frames, c, h, w]``, uint8 ``[frames * 4, height, width, 3]``."""
    pictures = decoding.pictures(latents)
    if lacking := 4 * latents.shape[0] - pictures.shape[0]:
        pictures = torch.cat((pictures[:1].expand(lacking, -1, -1, -1), pictures))
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def as_pictures(pixels: torch.Tensor) -> Pictures:
    """Return pictures ``[n, height, width, 3]`` as an array in host memory."""
    found: Pictures = pixels.cpu().numpy().astype(np.uint8, copy=False)
    return found


def at_hand(pictures: Pictures) -> Callable[[], Pictures]:
    """Return what gives pictures that are there already."""
    return lambda: pictures


class Darkroom:
    """Where all decoding of a model happens, in order."""

    def __init__(self, device: str) -> None:
        """Open one on a device."""
        self.device = device
        self._beside = torch.cuda.Stream(device) if on_gpu(device) else None

    def settle(self) -> None:
        """Let what follows on the device come after all that was begun here."""
        if self._beside is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._beside)

    @torch.inference_mode()
    def develop(
        self,
        decoding: Decoding,
        latents: torch.Tensor,
        spent: dict[str, float] | None = None,
        clean: tuple[Mark, Mark] | None = None,
    ) -> Callable[[], Pictures]:
        """Begin to decode the next latent frames ``[frames, c, h, w]``.

        Args:
            decoding: of the video that they belong to.
            latents: on the device; they may be let go of at once.
            spent: where the seconds that it took are put, as ``decode``, when they are known.
            clean: beginning and end of their clean pass, whose seconds are put there too. What is decoded is there
                when it begins; without, when the device has done all that it was given.

        Returns:
            What waits for the pictures, in any thread.
        """
        beside, spent = self._beside, {} if spent is None else spent
        if beside is None:
            began = mark(self.device)
            pictures = as_pictures(decoded(decoding, latents))
            spent |= _spent(clean, (began, mark(self.device)))
            return at_hand(pictures)
        if clean is not None and isinstance(clean[0], torch.cuda.Event):
            beside.wait_event(clean[0])
        else:
            beside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(beside):
            latents.record_stream(beside)  # its memory is not given away before
            began = mark(self.device)
            pixels = decoded(decoding, latents)
            ended = mark(self.device)
            held = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
            held.copy_(pixels, non_blocking=True)
            there = mark(self.device)

        def developed() -> Pictures:
            reach(there)
            if clean is not None:
                reach(clean[1])
            spent.update(_spent(clean, (began, ended)))
            return as_pictures(held)

        return developed


def _spent(clean: tuple[Mark, Mark] | None, decode: tuple[Mark, Mark]) -> dict[str, float]:
    """Return the seconds of a clean pass, if there was one, and of decoding."""
    return {**({} if clean is None else {"clean": seconds(*clean)}), "decode": seconds(*decode)}


class Timeline:
    """A log's chunks, decoded in order: asking for the next one goes on, asking for an earlier one starts over."""

    def __init__(
        self, codec: Codec, log: Log, darkroom: Darkroom, index: int = 0, decoding: Decoding | None = None
    ) -> None:
        """Start before the first chunk, or with a ``decoding`` that stands after ``index`` chunks."""
        self._codec, self._log, self._darkroom = codec, log, darkroom
        self._begin(index, decoding)

    def _begin(self, index: int = 0, decoding: Decoding | None = None) -> None:
        self.decoding = decoding or self._codec.begin()
        self.index = index
        """Chunks decoded so far."""
        self._held: OrderedDict[int, Pictures] = OrderedDict()

    def pictures(self, index: int) -> Pictures:
        """Return a chunk's pictures, decoding all before it that were not yet."""
        if index < self.index and index not in self._held:
            self._begin()
        while self.index <= index:
            latents = self._log(self.index).latents.to(self._darkroom.device)
            self._held[self.index] = self._darkroom.develop(self.decoding, latents)()
            self.index += 1
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return self._held[index]

    def take(self, index: int) -> Decoding:
        """Give up the decoding, standing after ``index`` chunks, to whoever goes on with the video."""
        if index < self.index:
            self._begin()
        if index:
            self.pictures(index - 1)
        taken, held = self.decoding, self._held
        self._begin()
        self._held = held
        return taken
