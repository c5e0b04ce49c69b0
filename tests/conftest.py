"""What tests of several folders share: strict serialisation, no tracing, and the video model that they run on.

`embedded_model` is the real thing, at about a second a chunk. Where a test needs a model that fails, that remembers
what it was told, or very many chunks, there is `small_model`: it streams as the real models do (sink, memory, two
chunks of local window, noise by seed and index) on arrays small enough for a video in a second. What a chunk looks like
depends on its text, its memory frames and the chunks before it, so a test notices when any of them is not what it
should be.
"""

from __future__ import annotations

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from memreel.configs.schema import ModelConfig, RunConfig
from memreel.errors import ModelError
from memreel.model import load as load_model
from memreel.model.protocol import Chunk, EvictedChunk, Log, MemoryFrame, Pictures, VideoModel, VideoSpec


def digest(text: str) -> float:
    """Return a number in 0..1 that stands for a text."""
    return zlib.crc32(text.encode()) / 2**32


def written(spec: VideoSpec, index: int, latents: torch.Tensor) -> EvictedChunk:
    """Return what a small stream holds of a chunk; one picture a latent frame."""
    levels = (latents.mean(1).clamp(0, 1) * 255).to(torch.uint8)
    rows, columns = spec.height // spec.latent_height, spec.width // spec.latent_width
    large = levels.repeat_interleave(rows, 1).repeat_interleave(columns, 2)[..., None].expand(-1, -1, -1, 3).numpy()
    tokens = latents.flatten(2).transpose(1, 2)[None, :, :, None]
    return EvictedChunk(index, latents, tokens, tokens, tokens, large)


class SmallStream:
    """A stream whose local window holds two chunks."""

    def __init__(self, spec: VideoSpec, slots: int, seed: int) -> None:
        self.index = 0
        self.texts: list[str] = []
        self.fail_at: int | None = None
        self._spec, self._slots, self._seed = spec, slots, seed
        self._local: list[EvictedChunk] = []

    def set_prompt(self, text: str) -> None:
        self.texts.append(text)

    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        if not self.texts or len(memory) > self._slots or self.index == self.fail_at:
            raise ModelError(f"small: cannot generate chunk {self.index}")
        spec = self._spec
        draw = torch.Generator().manual_seed(self._seed * 1_000_003 + self.index)
        shape = (spec.chunk_frames, spec.latent_channels, spec.latent_height, spec.latent_width)
        latents = torch.randn(shape, generator=draw) * 0.2 + digest(self.texts[-1])
        for before in [frame.latent for frame in memory] + [old.latents[-1] for old in self._local]:
            latents = latents + before * 0.1
        return self._finish(self.index, latents, [frame.frame_id for frame in memory])

    def restore(self, log: Log, index: int) -> Chunk | None:
        self._local.clear()
        self.index = 0
        last = None
        for number in range(max(0, index - 3), index):
            last = self._finish(number, log(number).latents, log(number).attended)
        return last

    def _finish(self, index: int, latents: torch.Tensor, attended: list[str]) -> Chunk:
        held = written(self._spec, index, latents)
        self._local.append(held)
        evicted = self._local.pop(0) if len(self._local) > 2 else None
        self.index = index + 1
        seconds = {"denoise": 0.01, "clean": 0.001, "decode": 0.002}
        pictures = held.pictures.repeat(self._spec.pictures_per_latent, 0)
        return Chunk(index, latents, lambda: pictures, evicted, attended, seconds)

    def finalize(self) -> None:
        self._local.clear()


class SmallModel:
    """Opens small streams and remembers them; scores by text and content."""

    name = "small"
    device = "cpu"
    spec = VideoSpec(width=128, height=64, fps=16, latent_channels=4, latent_height=4, latent_width=4)
    memory_slots = 3
    scorers = ()

    def __init__(self) -> None:
        self.streams: list[SmallStream] = []
        self.fail_at: int | None = None

    def fingerprint(self) -> str:
        return "none"

    def open(self, seed: int) -> SmallStream:
        stream = SmallStream(self.spec, self.memory_slots, seed)
        stream.fail_at = self.fail_at
        self.streams.append(stream)
        return stream

    def decode(self, log: Log, index: int) -> Pictures:
        return written(self.spec, index, log(index).latents).pictures.repeat(self.spec.pictures_per_latent, 0)

    def recall(self, log: Log, index: int) -> EvictedChunk:
        return written(self.spec, index, log(index).latents)

    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        level = evicted.latents.mean((1, 2, 3)).sigmoid()
        return torch.stack([0.3 + 0.6 * ((level * 97 + digest(phrase)) % 1) for phrase in phrases], 1)


@pytest.fixture
def embedded_model(monkeypatch: pytest.MonkeyPatch) -> VideoModel:
    """Let every session of the test run on the model that comes with memreel, loaded once a process."""
    monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
    return load_model(ModelConfig())


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> SmallModel:
    """Let every session of the test run on one `SmallModel`."""
    model = SmallModel()

    def load(config: ModelConfig) -> SmallModel:
        assert config.name == "sketch"
        return model

    monkeypatch.setattr("memreel.model.load", load, raising=False)
    monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
    return model


@pytest.fixture
def settings() -> Callable[..., RunConfig]:
    """Make a configuration: ``settings(chunks_per_prompt=6, memory={"slots": 2})``."""
    return lambda **values: RunConfig.model_validate({"chunks_per_prompt": 4, **values})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder that runs are written to."""
    return tmp_path / "runs"
