"""One running video of a Wan model: denoise a chunk in a few steps, write it into the cache, decode it.

Between steps the clean estimate is noised again with fresh noise (the few-step rule of distribution-matching
distillation); the last estimate is the chunk. The clean pass attends to the same context as the steps did, so a frame's
keys and values depend on the whole video before it: a stream is restored by all clean passes in order, which the log of
latents, texts and memory frames determines. That costs a fifth of making the chunks, and equals them bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from memreel.errors import ModelError
from memreel.model.cache import StreamCache
from memreel.model.protocol import Chunk, EvictedChunk, Log, MemoryFrame, Pictures, Place
from memreel.model.rotary import rotation
from memreel.model.sampler import TIMESTEPS, mix, noise, shifted
from memreel.model.transformer import FrameContext, TextContext, Written
from memreel.model.wan.decoding import as_pictures, decoded
from memreel.model.wan.switch import Governing, distance, window
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.model.wan.model import WanModel

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of a chunk or of a memory frame."""


class WanStream:
    """One running video; see `memreel.model.protocol.Stream`."""

    def __init__(self, model: WanModel, seed: int) -> None:
        """Start before the first chunk, without a prompt."""
        self.model, self.seed, self.index = model, seed, 0
        self._sigmas = [
            float(shifted(torch.tensor(step / TIMESTEPS, dtype=torch.float64), model.config.shift))
            for step in model.config.steps
        ]
        self._open = True
        self._begin()

    def _begin(self) -> None:
        model = self.model
        self.index = 0
        absolute = model.config.rotary == "absolute"
        self.cache = StreamCache(model.layout, model.grid, absolute=absolute, turn=model.turn)
        self._governing = Governing()
        self._prompted = False
        self._decoding = model.codec.begin()
        self._remembered: dict[Place, Pair] = {}

    def set_prompt(self, text: str) -> None:
        """Let the following chunks be governed by ``text``; the same text again changes nothing.

        Raises:
            UserError: the text is too long for the model to read.
        """
        self._require_open()
        self.model.text.require_short(text)
        self._switch(text)
        self._prompted = True

    @on_model_thread
    @torch.inference_mode()
    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        """Denoise and decode the next chunk and write it into the cache.

        Raises:
            ModelError: no prompt was set, the stream is finalized, too many memory frames were given, the device ran
                out of memory, or the latents are not finite. The stream stays where it was.
        """
        self._require_open()
        if not self._prompted:
            raise ModelError("no prompt is set; call set_prompt before generate")
        started = time.perf_counter()
        try:
            text, context = self._governing.context(), self.cache.context(self._ready(memory))
            self._wait()
            laid = time.perf_counter()
            latents = self._denoise(text, context)
            if not bool(latents.isfinite().all()):
                raise ModelError(
                    f"wan: chunk {self.index} has latents that are not finite; the weights or the LoRA do not suit "
                    "each other, or try model.wan.precision=bf16"
                )
            denoised = time.perf_counter()
            written = self._encode(latents, text, context)
            self._wait()
            cleaned = time.perf_counter()
            pictures = as_pictures(decoded(self._decoding, latents))
            ended = time.perf_counter()
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"wan: {self.model.device} is out of memory in chunk {self.index}; a smaller width and height, "
                "fewer local frames or codec=tiny need less"
            ) from error
        seconds = {
            "context": laid - started,
            "denoise": denoised - laid,
            "clean": cleaned - denoised,
            "decode": ended - cleaned,
        }
        finished = self._finished(latents, written, pictures)
        return self._push(finished, pictures, [frame.frame_id for frame in memory], seconds)

    @on_model_thread
    @torch.inference_mode()
    def restore(self, log: Log, index: int) -> Chunk | None:
        """Stand where a stream stood after ``index`` chunks; see `memreel.model.protocol.Stream`.

        Raises:
            ModelError: the stream is finalized, or the log says that a chunk attended to one that was still to come.
        """
        self._require_open()
        self._begin()
        if not index:
            return None
        timeline = self.model.timeline(log)
        wanted = {place: number for number in range(index) for place in log(number).places}
        kept: dict[Place, MemoryFrame] = {}
        last: Chunk | None = None
        for number in range(index):
            logged = log(number)
            self._switch(logged.text)
            if not kept.keys() >= set(logged.places):
                raise ModelError(f"wan: the log of chunk {number} names a memory frame that no chunk before it made")
            memory = [kept[place] for place in logged.places]
            latents = logged.latents.to(self.model.device)
            written = self._encode(latents, self._governing.context(), self.cache.context(self._ready(memory)))
            pictures = timeline.pictures(number)
            last = self._push(self._finished(latents, written, pictures), pictures, logged.attended, {})
            if last.evicted is not None:
                kept |= _frames(last.evicted, wanted)
            kept = {place: frame for place, frame in kept.items() if wanted[place] > number}
        self._decoding = timeline.take(index)
        return last

    def finalize(self) -> None:
        """Release the cache; the stream cannot generate any more."""
        self.cache.clear()
        self._remembered.clear()
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise ModelError("the stream is finalized; open another one")

    def _wait(self) -> None:
        """Wait for the device, so that what was timed is done."""
        if self.model.device.startswith("cuda"):
            torch.cuda.synchronize(self.model.device)

    def _switch(self, text: str) -> None:
        before = self._governing.text
        if text == before:
            return
        model, how = self.model, self.model.config.switch
        context = model.read(text)
        if before is None:
            self._governing.set(text, context)
        elif how == "soft":
            apart = distance(model.text.states(before), model.text.states(text))
            self._governing.set(text, context, window(apart))
        else:
            self._governing.set(text, context)
            if how == "recache":
                self._recache(context)

    @on_model_thread
    @torch.inference_mode()
    def _recache(self, text: TextContext) -> None:
        """Encode the chunks of the local window again, oldest first, each attending to those before it."""
        cache, held = self.cache, self.cache.local
        cache.local = []
        for chunk in held:
            first = cache.sink is not None and chunk.index == cache.sink.index
            sink = cache.sink
            cache.sink = None if first else sink
            times = self._times_of(chunk)
            written = self._encode(chunk.latents, text, cache.context(()), times)
            keys, values = _laid(written, len(chunk.latents))
            again = replace(chunk, keys=keys, values=values)
            cache.sink = again if first else sink
            cache.local.append(again)

    def _times_of(self, chunk: EvictedChunk) -> list[float]:
        if not self.cache.absolute:
            return self.model.layout.current()
        frames = self.model.layout.chunk
        return [float(chunk.index * frames + i) for i in range(frames)]

    def _ready(self, memory: Sequence[MemoryFrame]) -> list[MemoryFrame]:
        """Return memory frames with keys and values on the device; what is there already is not copied again."""
        there = self._remembered
        self._remembered = {}
        ready = []
        for frame in memory:
            place = Place(frame.index, frame.frame, frame.keys is None)
            pair = there.get(place) or self._remembered.get(place) or self._tensors(frame)
            self._remembered[place] = pair
            ready.append(replace(frame, keys=pair[0], values=pair[1]))
        return ready

    def _tensors(self, frame: MemoryFrame) -> Pair:
        device = self.model.device
        if frame.keys is not None and frame.values is not None:
            return frame.keys.to(device), frame.values.to(device)
        alone = [0.0]
        written = self._encode(frame.latent.to(device).unsqueeze(0), self.model.read(frame.text), None, alone)
        return torch.cat(written.keys), torch.cat(written.values)

    def _denoise(self, text: TextContext, context: FrameContext | None) -> torch.Tensor:
        model, spec = self.model, self.model.spec
        shape = (spec.chunk_frames, spec.latent_channels, spec.latent_height, spec.latent_width)
        draws = torch.stack([noise(shape, self.seed, self.index, step) for step in range(len(self._sigmas))])
        draws = draws.to(model.device, non_blocking=True)
        turn = self._turn(self.cache.current())
        clean = draws[0]
        for step, sigma in enumerate(self._sigmas):
            level = torch.tensor(sigma, dtype=torch.float32)
            x = mix(clean, draws[step], level) if step else draws[0]
            velocity = model.net(x.unsqueeze(0), self._timesteps(sigma), text, turn, context)[0]
            clean = x - sigma * velocity
        return clean

    def _encode(
        self, latents: torch.Tensor, text: TextContext, context: FrameContext | None, times: list[float] | None = None
    ) -> Written:
        """Run the clean pass over latent frames, by default at the place of the next chunk."""
        written = Written([], [], [])
        turn = self._turn(self.cache.current() if times is None else times)
        timesteps = torch.zeros(1, len(latents), device=self.model.device)
        self.model.net(latents.unsqueeze(0), timesteps, text, turn, context, written)
        return written

    def _turn(self, times: list[float]) -> torch.Tensor:
        return rotation(times, *self.model.grid, self.model.net.config.head_dim, self.model.device)

    def _timesteps(self, sigma: float) -> torch.Tensor:
        return torch.full((1, self.model.spec.chunk_frames), sigma * TIMESTEPS, device=self.model.device)

    def _finished(self, latents: torch.Tensor, written: Written, pictures: Pictures) -> EvictedChunk:
        frames = len(latents)
        keys, values = _laid(written, frames)
        queries = torch.stack([written.queries[i] for i in self.model.scorer.layers])
        return EvictedChunk(
            index=self.index,
            latents=latents,
            keys=keys,
            values=values,
            queries=queries.squeeze(1).unflatten(1, (frames, -1)),
            pictures=pictures[self.model.spec.pictures_per_latent - 1 :: self.model.spec.pictures_per_latent],
            text=self._governing.text or "",
        )

    def _push(
        self, finished: EvictedChunk, pictures: Pictures, attended: list[str], seconds: dict[str, float]
    ) -> Chunk:
        """Take a chunk into the cache and move on."""
        evicted = self.cache.push(finished)
        self._governing.advance()
        self.index = finished.index + 1
        return Chunk(finished.index, finished.latents, pictures, evicted, attended, seconds)


def _laid(written: Written, frames: int) -> Pair:
    """Return the keys and values that a clean pass wrote, ``[layers, frames, tokens, heads, head_dim]``."""
    keys, values = (torch.stack(part).squeeze(1).unflatten(1, (frames, -1)) for part in (written.keys, written.values))
    return keys, values


def _frames(evicted: EvictedChunk, wanted: dict[Place, int]) -> dict[Place, MemoryFrame]:
    """Return those frames of a chunk that some later chunk attends to, in host memory."""
    found = {}
    for frame in range(len(evicted.latents)):
        for latent_only in (False, True):
            place = Place(evicted.index, frame, latent_only)
            if place in wanted:
                kept = evicted.frame(frame, f"{place}", latent_only=latent_only)
                if kept.keys is not None and kept.values is not None:
                    kept = replace(kept, keys=kept.keys.cpu(), values=kept.values.cpu())
                found[place] = kept
    return found
