"""A film set for the bank: a video model whose frames show exactly what a test paints into them.

`PaintedModel` keeps the protocol: a chunk's latents have a channel per entity, filled with how visible the entity is,
and scoring a phrase reads the channel of the entity that the phrase names. Texts are embedded by the real MiniLM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from memreel.configs.schema import MemoryConfig
from memreel.memory.bank import Bank
from memreel.memory.frames import FrameStore
from memreel.memory.records import BankState, Entity
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import EvictedChunk, Stream, VideoSpec

SCENERY = "scenery"
SHOWN = [SCENERY, "Mia", "Tom", "Ava", "notebook"]
MIA: Entity = {"entity": "Mia", "kind": "character", "attrs": ["red hair", "blue sweater"], "global_id": 1}
TOM: Entity = {"entity": "Tom", "kind": "character", "attrs": ["black hair"], "global_id": 2}
AVA: Entity = {"entity": "Ava", "kind": "character", "attrs": ["green hat"], "global_id": 3}


class PaintedModel:
    """A video model that only scores: a phrase's score is the mean of its entity's channel."""

    name = "painted"
    spec = VideoSpec(width=8, height=8, fps=16, latent_channels=len(SHOWN), latent_height=2, latent_width=2)
    memory_slots = 8
    scorers = ("even",)

    def open(self, seed: int) -> Stream:
        raise NotImplementedError("the bank never opens a stream")

    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        channels = [next((i for i, name in enumerate(SHOWN) if phrase.startswith(name)), 0) for phrase in phrases]
        return evicted.latents.mean(dim=(2, 3))[:, channels]


def painted(index: int, **visible: float | Sequence[float]) -> EvictedChunk:
    """Return an evicted chunk in which each named entity is as visible as stated, per frame or in all three."""
    latents = torch.zeros(3, len(SHOWN), 2, 2)
    for name, values in visible.items():
        per_frame = torch.tensor(values if isinstance(values, Sequence) else [values] * 3)
        latents[:, SHOWN.index(name)] = per_frame[:, None, None]
    draw = torch.Generator().manual_seed(index)
    keys = torch.randn(2, 3, 4, 1, 2, generator=draw)
    pictures = np.full((3, 8, 8, 3), index % 256, dtype=np.uint8)
    pictures[:, :, :, 0] += np.arange(3, dtype=np.uint8)[:, None, None]
    return EvictedChunk(index, latents, keys, keys + 1, torch.zeros(1, 3, 4, 1, 2), pictures)


def embedded(texts: Sequence[str]) -> np.ndarray:
    return sentence_encoder().embed(texts)


class Film:
    """A bank at work: prompts begin, chunks are evicted two chunks late, and the state is carried along."""

    MIA, TOM, AVA = MIA, TOM, AVA

    def __init__(self, folder: Path, state: BankState, seed: int = 7, **settings: object) -> None:
        self.config = MemoryConfig.model_validate({"presence": 0.2, "presence_ratio": 0.5, **settings})
        self.store = FrameStore(folder / "stream" / "memory", folder / "frames")
        self.bank = Bank(self.config, PaintedModel(), self.store, embedded, seed=seed)
        self.state = state
        self.prompt_id = 0
        self.kept: list[str | None] = []

    def begin(self, text: str, *entities: Entity) -> list[str]:
        """Start the next prompt; return the memory that it starts with."""
        if self.prompt_id:
            self.state = self.bank.close_prompt(self.state, self.prompt_id)
        self.prompt_id += 1
        self.state = self.bank.register(self.state, self.prompt_id, text, list(entities))
        self.state = self.bank.retrieve(self.state, self.prompt_id)
        return self.state["memory"]

    def evict(
        self, index: int, born_chunk_id: int, born_prompt_id: int | None = None, **visible: float | Sequence[float]
    ) -> str | None:
        """Let a painted chunk leave the window; return the id of the frame kept."""
        born = born_prompt_id or self.prompt_id
        self.state, kept = self.bank.admit(self.state, painted(index, **visible), born, born_chunk_id, self.prompt_id)
        self.kept.append(kept)
        return kept


@pytest.fixture
def paint() -> Callable[..., EvictedChunk]:
    """Paint an evicted chunk: ``paint(index, Mia=0.8, Tom=[0, 0.1, 0.9])``."""
    return painted


@pytest.fixture
def embed() -> Callable[[Sequence[str]], np.ndarray]:
    """Embed texts with the real MiniLM."""
    return embedded


@pytest.fixture
def model() -> PaintedModel:
    return PaintedModel()


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Film]:
    """Make films in the test's folder: ``film(slots=3, retrieval="identity", …)``."""

    def make(**settings: object) -> Film:
        state: BankState = {"cast": {}, "frames": {}, "prompts": {}, "memory": []}
        return Film(tmp_path, state, **settings)

    return make
