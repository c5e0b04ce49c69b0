"""What RecallBench compares: memory strategies, each without and with enrichment, and controls of the memory itself.

A variant is written as it is reported: ``identity``, ``identity+enrich``, ``identity@gold`` (entities and IDs from the
schedule), ``identity@analyst`` and ``identity@llm`` (read by these, whatever the configuration says), ``identity@1``
(one memory frame), ``identity@store=latent`` (another setting of the bank), ``identity@altered`` (the
memory of the same story with other looks), ``identity@wrong`` (another script's memory). Two strategies need more than
the bank's state and are made here: `PromptAttention` (the model's queries of every frame so far) and `Oracle` (the true
schedule); the others are the bank's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch
import yaml
from pydantic import ValidationError

from memreel.benchmarks.recallbench.scripts import BenchScript
from memreel.configs.schema import MemoryConfig, RunConfig
from memreel.errors import UserError, did_you_mean
from memreel.memory.ranking import Taste
from memreel.memory.records import BankState, Frame
from memreel.memory.retrieval import Request, Retrieval, fill
from memreel.model.protocol import EvictedChunk, VideoModel

EVERYTHING: dict[str, object] = {"frames_per_entity": 64, "scenery_frames": 4096}
STRATEGIES: Mapping[str, dict[str, object]] = {
    "none": {"retrieval": "none"},
    "recency": {"strategy": "recency", "retrieval": "recency", **EVERYTHING},
    "first": {"strategy": "recency", "retrieval": "first", **EVERYTHING},
    "random": {"strategy": "random", "retrieval": "random", **EVERYTHING},
    "attention": EVERYTHING,
    "semantic": {"retrieval": "semantic"},
    "identity": {},
    "oracle": EVERYTHING,
}
"""Settings of the bank by strategy; ``attention`` and ``oracle`` bring a retrieval of their own as well."""
Lend = Literal["altered", "wrong"]
Reads = Literal["gold", "analyst", "llm"]


@dataclass(frozen=True)
class Variant:
    """A row of the table: a strategy, whether prompts are enriched, who reads, whose memory, the bank's settings.

    ``reads`` is ``None`` where the configuration says who reads the prompts; the oracle needs no reader.
    """

    strategy: str
    enrich: bool = False
    reads: Reads | None = None
    lend: Lend | None = None
    settings: tuple[tuple[str, object], ...] = ()

    @property
    def name(self) -> str:
        """Return how the variant is written."""
        set_to = [str(value) if key == "slots" else f"{key}={value}" for key, value in self.settings]
        marks = [*([self.reads] if self.reads else []), *set_to, *([self.lend] if self.lend else [])]
        return "".join([self.strategy, *(f"@{mark}" for mark in marks), "+enrich" if self.enrich else ""])

    def memory(self, config: MemoryConfig) -> MemoryConfig:
        """Return the bank's settings under this variant."""
        return MemoryConfig.model_validate({**config.model_dump(), **STRATEGIES[self.strategy], **dict(self.settings)})


def variants(names: Sequence[str]) -> list[Variant]:
    """Return the variants that ``names`` spell, each once.

    Raises:
        UserError: an unknown strategy or mark.
    """
    return list(dict.fromkeys(parse_variant(name) for name in names))


def parse_variant(text: str) -> Variant:
    """Return the variant that ``text`` spells.

    Raises:
        UserError: an unknown strategy or mark.
    """
    body, plus, tail = text.strip().partition("+")
    strategy, *marks = body.split("@")
    if strategy not in STRATEGIES:
        raise UserError(
            f"there is no strategy '{strategy}'{did_you_mean(strategy, STRATEGIES)}; known: {', '.join(STRATEGIES)}"
        )
    if plus and tail != "enrich":
        raise UserError(f"'{text}': after + only 'enrich' may stand")
    variant = Variant(strategy, enrich=bool(plus))
    for mark in marks:
        if mark in get_args(Reads):
            variant = replace(variant, reads=cast(Reads, mark))
        elif mark in ("altered", "wrong"):
            variant = replace(variant, lend=cast(Lend, mark))
        else:
            key, is_setting, value = mark.partition("=") if "=" in mark else ("slots", mark.isdecimal(), mark)
            if not is_setting:
                raise UserError(
                    f"'{text}': unknown mark '@{mark}'; known: @gold, @analyst, @llm, @altered, @wrong, @1, @2, "
                    "@3 …, and settings of the bank, such as @store=latent"
                )
            variant = replace(variant, settings=(*variant.settings, (key, yaml.safe_load(value))))
    try:
        variant.memory(MemoryConfig())
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"]))
        known = "" if name in MemoryConfig.model_fields else did_you_mean(name, MemoryConfig.model_fields)
        raise UserError(f"'{text}': memory.{name}: {fault['msg'].lower()}{known}") from None
    return variant


TABLE = variants([f"{name}{tail}" for name in STRATEGIES for tail in ("", "+enrich")])
"""Every strategy side by side."""
CONTROLS = variants(
    [
        "identity@gold",
        "identity@gold+enrich",
        "identity@1",
        "identity@6",
        "identity@store=latent",
        "identity@presence=0@presence_ratio=0",
        "identity@prefer_alone=0@prefer_described=0@sink_discount=0",
        "identity@altered",
        "identity@wrong",
    ]
)
"""What says whether the memory is used at all, and which part of the chain loses what: IDs from the schedule, fewer and
more frames, latents instead of keys and values, whoever a prompt names taken for seen, scores as they are, lent memory.
"""
SCORERS = variants(
    [
        "identity@scorer=even",
        "identity@scorer=layer-4",
        "identity@words=name@scorer=name",
        "identity@words=attributes@scorer=attributes",
    ]
)
"""Which of `sketch`'s attention heads and which of an entity's words tell who is in a frame; a scorer was fitted to
each."""
READERS = variants(["identity@analyst", "identity@analyst+enrich"])
"""Controls besides, where a chat model reads the prompts of the others."""


def controls(config: RunConfig) -> list[Variant]:
    """Return the controls that the configured video model can do: those with as many slots, and with its scorers."""
    from memreel.model.sketch.model import SketchModel

    known = [*CONTROLS, *(SCORERS if config.model.name == SketchModel.name else ())]
    return [variant for variant in known if variant.memory(config.memory).slots <= slots_of(config)]


def slots_of(config: RunConfig) -> int:
    """Return how many memory frames the configured video model attends to at most; nothing is loaded for it."""
    from memreel.model.sketch.model import SketchModel

    return config.model.wan.memory if config.model.wan else SketchModel.memory_slots


class PromptAttention:
    """Frames chosen by the video model's attention of the prompt's text, with no regard to who is in them."""

    def __init__(self, model: VideoModel) -> None:
        self._model = model
        self._seen: dict[int, EvictedChunk] = {}
        self._scores: dict[tuple[int, str], list[float]] = {}

    @property
    def retrieval(self) -> Retrieval:
        """Return it as a strategy of the bank."""
        return Retrieval(self._choose, self._compete)

    def see(self, evicted: EvictedChunk) -> None:
        """Keep what scoring needs of a chunk."""
        none = torch.zeros(0)
        self._seen[evicted.index] = replace(evicted, keys=none, values=none)

    def _score(self, frame: Frame, text: str) -> float:
        key = (frame["index"], text)
        if key not in self._scores:
            self._scores[key] = [row[0] for row in self._model.score(self._seen[frame["index"]], [text]).tolist()]
        return self._scores[key][frame["frame"]]

    def _best(self, frames: Sequence[Frame], text: str, slots: int) -> list[str]:
        ranked = sorted(frames, key=lambda frame: (self._score(frame, text), frame["index"]), reverse=True)
        return [frame["frame_id"] for frame in ranked[:slots]]

    def _choose(self, request: Request) -> list[str]:
        text = request.bank["prompts"][str(request.prompt_id)]["text"]
        return self._best(list(request.bank["frames"].values()), text, request.slots)

    def _compete(self, bank: BankState, newcomer: Frame, prompt_id: int, slots: int, taste: Taste) -> list[str]:
        del taste
        names = dict.fromkeys([*bank["memory"], newcomer["frame_id"]])
        return self._best([bank["frames"][n] for n in names], bank["prompts"][str(prompt_id)]["text"], slots)


class Oracle:
    """Frames in which, by the schedule, whoever the prompt speaks of is to be seen: described there, alone, newest."""

    def __init__(self, script: BenchScript, chunks: int, chunk_seconds: float, chunk_frames: int) -> None:
        self._script, self._chunks = script, chunks
        self._seconds, self._frames = chunk_seconds, chunk_frames

    @property
    def retrieval(self) -> Retrieval:
        """Return it as a strategy of the bank."""
        return Retrieval(self._choose, fill)

    def shown(self, frame: Frame) -> set[int]:
        """Return who is wholly to be seen in a frame."""
        t = (frame["index"] % self._chunks + (frame["frame"] + 1) / self._frames) * self._seconds
        return self._script.story.visible(frame["index"] // self._chunks, t)

    def _choose(self, request: Request) -> list[str]:
        wanted = set(self._script.story.scenes[request.prompt_id - 1].mentions)
        pool = [frame for frame in request.bank["frames"].values() if self.shown(frame) & wanted]
        chosen: list[str] = []
        still_open = set(wanted)
        while pool and len(chosen) < request.slots:
            if not any(self.shown(frame) & still_open for frame in pool):
                still_open = set(wanted)
            best = max(pool, key=lambda frame: self._rank(frame, still_open))
            pool.remove(best)
            chosen.append(best["frame_id"])
            still_open -= self.shown(best)
        return chosen

    def _rank(self, frame: Frame, wanted: set[int]) -> tuple[int, int, int, int]:
        shown = self.shown(frame)
        mentions = self._script.story.scenes[frame["index"] // self._chunks].mentions
        described = sum(mentions.get(key, False) for key in shown & wanted)
        return len(shown & wanted), described, -len(shown), frame["index"]
