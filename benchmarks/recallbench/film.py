"""Renders one script under one variant, through memreel's own reader, bank, enrichment and stream.

The steps are those of the graph, without its run folder: no video file, no log, memory frames in a temporary folder.
Pictures go to whoever watches. Nothing here judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from memreel.agent.analyst import Analyst
from memreel.agent.enrich import enrich
from memreel.agent.reading import Candidates, ParsedEntity, PromptReader, Reading, prompt_reader
from memreel.benchmarks.recallbench.scripts import BenchScript
from memreel.benchmarks.recallbench.strategies import Oracle, PromptAttention, Variant
from memreel.configs.schema import AgentConfig, RunConfig
from memreel.errors import UserError
from memreel.memory.bank import Bank
from memreel.memory.frames import FrameStore
from memreel.memory.index import Embed
from memreel.memory.records import BankState, Entity, empty_bank
from memreel.model.protocol import Chunk, MemoryFrame, VideoModel
from memreel.world.sentences import attributes, head

if TYPE_CHECKING:
    from memreel.agent.llm import Chat

Watch = Callable[[int, int, Chunk], None]
"""(prompt from 1, chunk of the prompt from 1, chunk)."""


@dataclass
class Film:
    """What is left of a rendering besides its pictures.

    ``memory`` has the frames that each prompt began with, ``covered`` the beings that these truly show, ``who`` the
    global ID that each being of the schedule was taken for, by prompt. ``readings`` are the prompts as they were read.
    """

    memory: dict[int, list[MemoryFrame]] = field(default_factory=dict)
    covered: dict[int, set[int]] = field(default_factory=dict)
    who: dict[int, dict[int, int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


class GoldReader:
    """Reads prompts off the schedule: entities, attributes and IDs are right by definition."""

    name = "gold"
    chat: Chat | None = None

    def __init__(self, script: BenchScript) -> None:
        self._story = script.story

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:
        """Return who and what is in the next prompt."""
        del prompt, candidates
        entities: list[ParsedEntity] = [
            {"entity": e["entity"], "kind": e["kind"], "attrs": e["attrs"], "same_as": e["global_id"], "new": False}
            for e in self._entities(len(bank["prompts"]))
        ]
        return Reading(entities, self.name)

    def match(self, prompt: str, parsed: list[ParsedEntity], bank: BankState, candidates: Candidates) -> list[Entity]:
        """Return them with the schedule's IDs."""
        del prompt, parsed, candidates
        return self._entities(len(bank["prompts"]))

    def _entities(self, number: int) -> list[Entity]:
        scene, out = self._story.scenes[number], list[Entity]()
        for key, described in scene.mentions.items():
            being = self._story.beings[key]
            out.append(
                {
                    "entity": head(being) if being.name else head(being).lower(),
                    "kind": "object" if being.is_object else "character",
                    "attrs": attributes(being) if described else [],
                    "global_id": key + 1,
                }
            )
        return out


def reader_for(variant: Variant, script: BenchScript, config: AgentConfig) -> PromptReader:
    """Return who reads a script's prompts under a variant.

    Raises:
        UserError: the chat model is to read, but none is configured, or it cannot be used.
    """
    if variant.reads == "gold" or variant.strategy == "oracle":
        return GoldReader(script)
    if variant.reads == "analyst":
        return Analyst()
    reader = prompt_reader(config)
    if variant.reads == "llm" and reader.chat is None:
        raise UserError(f"{variant.name}: no chat model is configured: set agent.model or MEMREEL_LLM_MODEL")
    return reader


def shoot(
    model: VideoModel,
    script: BenchScript,
    variant: Variant,
    config: RunConfig,
    embed: Embed,
    watch: Watch | None = None,
    lent: Mapping[int, Sequence[MemoryFrame]] | None = None,
) -> Film:
    """Render a script; the noise is a function of the configuration's seed and the script's number.

    Args:
        model: the video model.
        script: what to render.
        variant: strategy, enrichment, who reads, how many slots.
        config: everything else.
        embed: the bank's sentence encoder.
        watch: sees every chunk.
        lent: memory frames by prompt to attend to instead of the bank's own.
    """
    spec, chunks = model.spec, config.chunks_per_prompt
    seed = config.seed * 100_003 + script.number
    memory_config = variant.memory(config.memory)
    truth = Oracle(script, chunks, spec.chunk_seconds, spec.chunk_frames)
    attention = PromptAttention(model) if variant.strategy == "attention" else None
    own = truth.retrieval if variant.strategy == "oracle" else attention.retrieval if attention else None
    reader = reader_for(variant, script, config.agent)
    film = Film()
    with TemporaryDirectory(prefix="memreel-recall-") as folder:
        store = FrameStore(Path(folder) / "memory", Path(folder) / "frames")
        bank = Bank(memory_config, model, store, embed, seed, own)
        state, stream = empty_bank(), model.open(seed)
        born: dict[int, tuple[int, int]] = {}
        for number, prompt in enumerate(script.prompts, 1):
            candidates = _candidates(bank, state)
            reading = reader.parse(prompt, state, candidates)
            film.readings.append(reading)
            entities = reader.match(prompt, reading.entities, state, candidates)
            state = bank.retrieve(bank.register(state, number, prompt, entities), number)
            text = enrich(prompt, entities, state["cast"]) if variant.enrich else prompt
            stream.set_prompt(text)
            film.texts.append(text)
            film.memory[number] = bank.frames(state)
            film.covered[number] = {key for name in state["memory"] for key in truth.shown(state["frames"][name])}
            film.who[number] = taken_for(script, number, entities)
            for chunk_id in range(1, chunks + 1):
                foreign = (lent or {}).get(number)
                given = bank.frames(state) if foreign is None else _foreign(foreign, model.memory_slots)
                chunk = stream.generate(given)
                born[chunk.index] = (number, chunk_id)
                if watch is not None:
                    watch(number, chunk_id, chunk)
                if chunk.evicted is not None:
                    if attention is not None:
                        attention.see(chunk.evicted)
                    state, _ = bank.admit(state, chunk.evicted, *born.pop(chunk.evicted.index), number)
            state = bank.close_prompt(state, number)
        stream.finalize()
    return film


def taken_for(script: BenchScript, number: int, entities: Sequence[Entity]) -> dict[int, int]:
    """Return which global ID each being that a prompt mentions was given: by its name, role or noun in the wording."""
    out: dict[int, int] = {}
    for key in script.story.scenes[number - 1].mentions:
        being = script.story.beings[key]
        calls = [being.name, being.role, being.noun.split()[-1]]
        for call in (call.casefold() for call in calls if call):
            hits = [e["global_id"] for e in entities if call in e["entity"].casefold().replace(",", " ").split()]
            if len(hits) == 1:
                out[key] = hits[0]
                break
    return out


def _candidates(bank: Bank, state: BankState) -> Candidates:
    return lambda phrases: bank.candidates(state, phrases)


def _foreign(frames: Sequence[MemoryFrame], slots: int) -> list[MemoryFrame]:
    """Number frames of another video below 0, so that none is taken for one of this video's sink or window."""
    return [replace(frame, index=-1 - frame.index) for frame in frames[:slots]]
