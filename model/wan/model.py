"""The causal Wan 2.1 family: weights on their device, and what all streams of a process share.

Block count, heads and channels come from the checkpoint, size and window from the configuration. A chunk's clean pass
attends to its context, so a frame's keys and values depend on everything before it; `memreel.model.wan.stream` has what
follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from memreel.configs.schema import WanConfig
from memreel.errors import ModelError, UserError
from memreel.model.attention import ROUNDED, Choice, choose
from memreel.model.cache import Workspace
from memreel.model.clock import mark, on_gpu, reach
from memreel.model.context import TextContext
from memreel.model.epilogue import fuse_gelu
from memreel.model.fingerprint import fingerprint
from memreel.model.fp8 import quantise, supported
from memreel.model.layout import ContextLayout
from memreel.model.passes import Passes
from memreel.model.protocol import EvictedChunk, Log, Pictures, VideoSpec
from memreel.model.sampler import TIMESTEPS, shifted
from memreel.model.scoring import Scorer, visibility
from memreel.model.transformer import TRITON, Pieces, VideoTransformer
from memreel.model.wan.checkpoint import load_transformer
from memreel.model.wan.decoding import Darkroom, Timeline
from memreel.model.wan.files import files_of
from memreel.model.wan.stream import Together, WanStream
from memreel.model.wan.text import MAX_TOKENS, WanText, load_text, padded
from memreel.model.wan.tiny import TinyDecoder, load_tiny
from memreel.model.wan.vae import Codec, load_vae
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.configs.schema import ModelConfig

FPS = 16
STRIDE = 8


class WanModel:
    """Transformer, text encoder and codec, shared by all streams of a process."""

    name = "wan"

    def __init__(self, config: WanConfig, net: VideoTransformer, text: WanText, codec: Codec, device: str) -> None:
        """Wrap loaded networks.

        Raises:
            UserError: the configured size does not divide into the transformer's patches.
        """
        self.config, self.net, self.text, self.codec, self.device = config, net, text, codec, device
        self.layout = ContextLayout(config.sink, config.memory, config.local)
        self.memory_slots = config.memory
        height, width = config.height // STRIDE, config.width // STRIDE
        _, rows, columns = net.config.patch
        if height % rows or width % columns:
            raise UserError(
                f"model.wan: {config.width}x{config.height} does not divide into patches of {rows}x{columns}"
            )
        self.grid = (height // rows, width // columns)
        self.spec = VideoSpec(config.width, config.height, FPS, net.config.latent_channels, height, width)
        layers = net.config.layers
        looked, top = sorted({layers * part // 8 for part in (3, 4, 5, 6)}), max(1, self.grid[0] * self.grid[1] // 10)
        self.scorer = Scorer(tuple(looked), top, others={f"layer-{n}": Scorer((n,), top) for n in looked})
        self.scorers: Sequence[str] = tuple(self.scorer.others)
        self.dtype = net.patch_embedding.weight.dtype
        self.sigmas = [
            float(shifted(torch.tensor(step / TIMESTEPS, dtype=torch.float64), config.shift)) for step in config.steps
        ]
        """Noise levels of a chunk's steps."""
        self._fingerprint = fingerprint(net)
        self.attention = self._set_up()
        self.workspace = Workspace(self.layout, eight_bits=self.attention.name in ROUNDED)
        """Where contexts are laid out, by one stream after the other."""
        self.passes = Passes(net, self.grid, device, self.scorer.layers, record=config.speed == "graphs")
        if config.speed == "graphs" and isinstance(codec, TinyDecoder):
            codec.record(device)
        self.darkroom = Darkroom(device)
        self._scoring = torch.cuda.Stream(device, priority=-1) if on_gpu(device) else None
        """Where what left the window is scored, beside what the device does meanwhile."""
        self._phrase = lru_cache(maxsize=64)(self._read_phrase)
        self._timelines: WeakKeyDictionary[Log, Timeline] = WeakKeyDictionary()

    def fingerprint(self) -> str:
        """Return what tells these weights, as they were loaded, from others."""
        return self._fingerprint

    def _set_up(self) -> Choice:
        """Make the transformer as fast as configured, and return the attention kernel that it uses.

        Raises:
            UserError: what is configured does not run on this device.
        """
        config, net, layout = self.config, self.net, self.layout
        for block in net.each_block():
            block.self_attn.merge()
        if config.precision == "fp8":
            if not supported(self.device):
                raise UserError(
                    f"model.wan.precision: {self.device} has no e4m3 (it needs Ada, Hopper or later); use bf16"
                )
            quantise(net)
        else:
            fuse_gelu(net)
        tokens = self.grid[0] * self.grid[1]
        attended = layout.whole * tokens
        queries = (1, layout.chunk * tokens, net.config.heads, net.config.head_dim)
        chosen = choose(config.attention, queries, attended, self.device, self.dtype)
        net.kernel, net.shares = chosen.kernel, chosen.shares(net.config.heads, self.device)
        to_text = "auto" if config.attention in ROUNDED else config.attention
        net.text_kernel = choose(to_text, queries, MAX_TOKENS, self.device, self.dtype).kernel
        net.pieces = self._pieces()
        return chosen

    def _pieces(self) -> Pieces:
        """Return how a block runs: compiled unless that is not to be waited for."""
        before, turned, between, after = self.net.pieces
        if on_gpu(self.device) and TRITON and self.net.config.head_dim.bit_count() == 1:
            from memreel.model import fused_gpu

            turned = fused_gpu.turned
        elif self.config.speed != "eager":
            turned = torch.compile(turned, dynamic=False)
        if self.config.speed == "eager":
            return Pieces(before, turned, between, after)
        return Pieces(
            torch.compile(before, dynamic=False),
            turned,
            torch.compile(between, dynamic=False),
            torch.compile(after, dynamic=False),
        )

    def open(self, seed: int) -> WanStream:
        """Open a stream whose noise is a function of (``seed``, chunk index, step) alone."""
        return WanStream(self, seed)

    def open_many(self, seeds: Sequence[int]) -> Together:
        """Open a stream for each seed; their chunks go through the transformer as one batch."""
        return Together([self.open(seed) for seed in seeds])

    @on_model_thread
    @torch.inference_mode()
    def read(self, text: str) -> TextContext:
        """Encode a prompt as the transformer was trained to read it, padding included."""
        states = padded(self.text.states(text)).to(self.device, self.dtype)
        return self.net.text_context(states, None)

    @on_model_thread
    @torch.inference_mode()
    def _read_phrase(self, text: str) -> TextContext:
        """Encode a phrase for scoring: the keys of its own tokens, without padding, at the scoring layers."""
        if self._scoring is not None:  # a text may be one that is being encoded as a prompt
            self._scoring.wait_stream(torch.cuda.default_stream(self.device))
        found = self.net.text_context(self.text.states(text).unsqueeze(0).to(self.device, self.dtype), None)
        wanted = set(self.scorer.layers)
        return TextContext([k if i in wanted else k[:, :0] for i, k in enumerate(found.keys)], [], None)

    def timeline(self, log: Log) -> Timeline:
        """Return the decoding of a log's chunks, which goes on where the last call left off."""
        return self._timelines.setdefault(log, Timeline(self.codec, log, self.darkroom))

    @on_model_thread
    def decode(self, log: Log, index: int) -> Pictures:
        """Decode a finished chunk to the pictures that `WanStream.generate` gave; in order each is decoded once."""
        return self.timeline(log).pictures(index)

    @on_model_thread
    def recall(self, log: Log, index: int) -> EvictedChunk:
        """Make a finished chunk's keys, values, queries and pictures again, as they were when it left the window.

        Every clean pass up to then is done again.
        """
        last = self.open(0).restore(log, index + self.layout.local // self.layout.chunk + 1)
        if last is None or last.evicted is None or last.evicted.index != index:
            raise ModelError(f"wan: chunk {index} did not leave the window where it should have")
        reach(mark(self.device))  # scoring takes it for finished
        return last.evicted

    @on_model_thread
    @torch.inference_mode()
    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        """Score how visible each phrase is in each frame of a chunk, ``[frames, phrases]`` in 0..1."""
        if not phrases:
            return torch.zeros(evicted.latents.shape[0], 0)
        with torch.cuda.stream(self._scoring):  # its clean pass was over before the newest chunk's latents
            queries, chosen = self.scorer.asked(evicted.queries, scorer)
            return visibility(queries, [self._phrase(p) for p in phrases], self._phrase(""), chosen)


def load(config: ModelConfig) -> WanModel:
    """Load a Wan model from the configured files onto the configured device.

    Raises:
        UserError: a file is missing or of something else; all that are missing are named together.
        ModelError: the device has no room for it.
    """
    wan, device, files = config.wan or WanConfig(), config.device, files_of(config)
    missing = [file for file in files.all() if file.path is None]
    if missing:
        others = f" (and {', '.join(file.name for file in missing[1:])})" if missing[1:] else ""
        try:
            missing[0].require()
        except UserError as error:
            raise UserError(f"{error}{others}") from None
    plain = torch.float32 if wan.precision == "fp32" else torch.bfloat16
    text_device = device if wan.text_device == "auto" else "cpu"
    try:
        net = load_transformer(
            files.checkpoint.require(),
            device,
            plain,
            entry=wan.entry,
            lora=files.lora.require() if files.lora else None,
            lora_scale=wan.lora_scale,
        )
        codec_file = files.codec.require()
        codec = load_tiny(codec_file, device, plain) if wan.codec == "tiny" else load_vae(codec_file, device, plain)
        text = load_text(files.text.require(), files.tokenizer.require(), text_device, plain)
    except torch.OutOfMemoryError as error:
        raise ModelError(f"wan: {device} has too little free memory for the weights; free some of it") from error
    return WanModel(wan, net, text, codec, device)
