"""The embedded video model: 192 x 112 at 16 pictures a second, drawn figures, runs on a laptop's CPU.

`SketchModel` owns the weights; `SketchStream` is one running video. A chunk is four Euler steps and a clean pass in
which each frame attends to itself alone, so that a frame's keys and values depend on its latent and its prompt only:
the same in the sink, in the local window and, much later, as a memory frame. For the same reason a stream is restored
from the log of latents without a snapshot: clean passes over the sink and the last chunks make its cache again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from memreel.errors import ModelError
from memreel.model.cache import StreamCache, Workspace
from memreel.model.context import TextContext
from memreel.model.fingerprint import fingerprint
from memreel.model.minilm import SentenceEncoder, sentence_encoder
from memreel.model.passes import Passes, Sheet, padded
from memreel.model.protocol import Chunk, EvictedChunk, Log, MemoryFrame, Pictures, VideoSpec
from memreel.model.replay import Replayed, Tensors
from memreel.model.sampler import TIMESTEPS, euler, levels, noise
from memreel.model.scoring import Scorer, visibility
from memreel.model.sketch.net import LATENT, LAYOUT, SHIFT, STEPS, TOKENS, SketchNet
from memreel.model.sketch.text import MAX_TOKENS
from memreel.model.sketch.weights import load_codec, load_net, load_scorer
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.configs.schema import ModelConfig

SPEC = VideoSpec(192, 112, 16, *LATENT)


class SketchModel:
    """Weights of codec, text refiner and transformer, shared by all streams of a process."""

    name = "sketch"
    spec = SPEC
    memory_slots = LAYOUT.slots

    def __init__(
        self, net: SketchNet, codec: torch.nn.Module, encoder: SentenceEncoder, scorer: Scorer, device: str
    ) -> None:
        """Wrap loaded networks; they are moved to ``device``."""
        self.net = net.to(device)
        self.codec = codec.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.encoder, self.scorer, self.device = encoder, scorer, device
        self.scorers: Sequence[str] = tuple(scorer.others)
        self.workspace = Workspace(LAYOUT)
        """Where contexts are laid out, by one stream after the other."""
        self.passes = Passes(self.net.transformer, TOKENS, device, scorer.layers, record=True)
        self._developed = Replayed(device)
        self._phrase = lru_cache(maxsize=256)(self.read)
        self.prompt = lru_cache(maxsize=8)(self._prompt)

    @on_model_thread
    def fingerprint(self) -> str:
        """Return what tells these weights from others."""
        return fingerprint(self.net, self.codec, told=repr(self.scorer))

    @on_model_thread
    @torch.inference_mode()
    def read(self, text: str) -> TextContext:
        """Encode one prompt or phrase for cross-attention."""
        states, mask = self.encoder.token_states([text], MAX_TOKENS)
        refined = self.net.read(states.to(self.device), mask.to(self.device))
        return TextContext(refined.keys, refined.values, None)

    def _prompt(self, text: str) -> TextContext:
        """Encode one prompt; where passes are recorded, all prompts have one length."""
        read = self.read(text)
        return padded(read, MAX_TOKENS) if self.passes.replayed.records else read

    def open(self, seed: int) -> SketchStream:
        """Open a stream whose noise is a function of (``seed``, chunk index, step) alone."""
        return SketchStream(self, seed)

    @on_model_thread
    @torch.inference_mode()
    def encode(self, latents: torch.Tensor, text: TextContext) -> Sheet:
        """Run the clean pass over latent frames ``[frames, channels, height, width]``, a row of the sheet each."""
        return self.passes.write(latents.unsqueeze(1), [text] * len(latents), self.passes.turn((0.0,)), None)

    def write(self, index: int, latents: torch.Tensor, text: str, pictures: Pictures) -> EvictedChunk:
        """Run the clean pass over a chunk and return what the cache holds of it."""
        written = self.encode(latents, self.prompt(text))
        return EvictedChunk(
            index,
            latents,
            written.keys,
            written.values,
            written.queries,
            pictures[SPEC.pictures_per_latent - 1 :: SPEC.pictures_per_latent],
            text,
        )

    def complete(self, frame: MemoryFrame) -> MemoryFrame:
        """Return a memory frame with its keys and values, made again if only its latent was kept."""
        if frame.keys is not None:
            return frame
        written = self.encode(frame.latent.to(self.device).unsqueeze(0), self.prompt(frame.text))
        return replace(frame, keys=written.keys[:, 0], values=written.values[:, 0])

    @on_model_thread
    @torch.inference_mode()
    def pictures(self, latents: torch.Tensor, before: torch.Tensor | None) -> Pictures:
        """Decode a chunk, given the latent frame before it ``[1, channels, height, width]``."""
        before = torch.zeros_like(latents[:1]) if before is None else before
        pixels: torch.Tensor = self._developed(self._develop, {"latents": latents, "before": before})
        pictures: Pictures = pixels.cpu().numpy().astype(np.uint8, copy=False)
        return pictures

    def _develop(self, given: Tensors) -> torch.Tensor:
        decoded = self.codec.decode(given["latents"].unsqueeze(0), given["before"])[0]
        pixels: torch.Tensor = (decoded.clamp(0, 1) * 255).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    @on_model_thread
    @torch.inference_mode()
    def latents_of(self, pictures: Pictures) -> torch.Tensor:
        """Encode whole latent frames' pictures, uint8 ``[4 * frames, height, width, 3]``, to latents."""
        pixels = torch.tensor(pictures, device=self.device).permute(0, 3, 1, 2).float() / 255.0
        latents: torch.Tensor = self.codec.encode(pixels.unsqueeze(0))[0]
        return latents

    def decode(self, log: Log, index: int) -> Pictures:
        """Decode a finished chunk to the pictures that `SketchStream.generate` gave."""
        before = log(index - 1).latents[-1:].to(self.device) if index else None
        return self.pictures(log(index).latents.to(self.device), before)

    def recall(self, log: Log, index: int) -> EvictedChunk:
        """Make a finished chunk's keys, values, queries and pictures again: one clean pass and one decoding."""
        return self.remake(log, index)[0]

    def remake(self, log: Log, index: int) -> tuple[EvictedChunk, Pictures]:
        """Return what the cache held of a finished chunk, and all its pictures."""
        logged, pictures = log(index), self.decode(log, index)
        return self.write(index, logged.latents.to(self.device), logged.text, pictures), pictures

    @on_model_thread
    @torch.inference_mode()
    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        """Score how visible each phrase is in each frame of a chunk, ``[frames, phrases]`` in 0..1."""
        if not phrases:
            return torch.zeros(evicted.latents.shape[0], 0)
        queries, chosen = self.scorer.asked(evicted.queries, scorer)
        return visibility(queries, [self._phrase(p) for p in phrases], self._phrase(""), chosen)


class SketchStream:
    """One running video of the sketch model."""

    def __init__(self, model: SketchModel, seed: int) -> None:
        """Start before the first chunk, without a prompt."""
        self.model, self.seed, self.index = model, seed, 0
        self.cache = StreamCache(LAYOUT, TOKENS)
        self._text: str | None = None
        self._before: torch.Tensor | None = None
        self._open = True

    def set_prompt(self, text: str) -> None:
        """Let the following chunks be governed by ``text``."""
        self._text = text

    @on_model_thread
    @torch.inference_mode()
    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        """Denoise and decode the next chunk and write it into the cache.

        Raises:
            ModelError: no prompt was set, the stream is finalized, or too many memory frames were given.
        """
        if not self._open:
            raise ModelError("the stream is finalized; open another one")
        if self._text is None:
            raise ModelError("no prompt is set; call set_prompt before generate")
        started = time.perf_counter()
        latents = self._denoise(self.model.prompt(self._text), [self.model.complete(frame) for frame in memory])
        denoised = time.perf_counter()
        pictures = self.model.pictures(latents, self._before)
        decoded = time.perf_counter()
        finished = self.model.write(self.index, latents, self._text, pictures)
        cleaned = time.perf_counter()
        seconds = {"denoise": denoised - started, "clean": cleaned - decoded, "decode": decoded - denoised}
        return self._finish(finished, pictures, [f.frame_id for f in memory], seconds)

    @on_model_thread
    def restore(self, log: Log, index: int) -> Chunk | None:
        """Stand where a stream stood after ``index`` chunks; see `memreel.model.protocol.Stream`.

        Makes the sink and as many of the last chunks again as the window holds and one more, which is the last evicted.

        Raises:
            ModelError: the stream is finalized.
        """
        if not self._open:
            raise ModelError("the stream is finalized; open another one")
        self.cache.clear()
        self.index, self._text, self._before = 0, None, None
        last: Chunk | None = None
        held = LAYOUT.local // SPEC.chunk_frames + 1
        for number in sorted({0, *range(max(0, index - held), index)} if index else ()):
            last = self._finish(*self.model.remake(log, number), log(number).attended, {})
        return last

    def _finish(
        self, finished: EvictedChunk, pictures: Pictures, attended: list[str], seconds: dict[str, float]
    ) -> Chunk:
        """Take a chunk into the cache and move on."""
        self._before = finished.latents[-1:].clone()
        evicted = self.cache.push(finished)
        self.index = finished.index + 1
        return Chunk(finished.index, finished.latents, lambda: pictures, evicted, attended, seconds)

    def _denoise(self, text: TextContext, memory: Sequence[MemoryFrame]) -> torch.Tensor:
        model = self.model
        context = model.workspace.lay_out([self.cache.plan(memory)], TOKENS)
        x = noise((1, SPEC.chunk_frames, *LATENT), self.seed, self.index).to(model.device)
        turn = model.passes.turn(tuple(self.cache.current()))
        for sigma, following in pairwise(levels(STEPS, SHIFT)):
            velocity = model.passes.velocity(x, sigma * TIMESTEPS, [text], turn, context, STEPS)
            x = euler(x, velocity, sigma, following)
        return x[0]

    def finalize(self) -> None:
        """Release the cache; the stream cannot generate any more."""
        self.cache.clear()
        self._open = False


def load(config: ModelConfig) -> SketchModel:
    """Load the sketch model from the configured folder of weights, or those shipped with memreel."""
    where = config.weights
    return SketchModel(load_net(where), load_codec(where), sentence_encoder("cpu"), load_scorer(where), config.device)
