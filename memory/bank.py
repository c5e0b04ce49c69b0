"""The bank: the services that the graph's nodes and tools call, over a state that is handed in and handed back.

One `Bank` a run. All truth is in the `BankState`: every method returns a new state and leaves the one it was given as
it was, so checkpoints and edits of the state just work. What the `Bank` itself holds (FAISS indexes, the last tensors)
is a cache that any state can rebuild. It knows nothing of LangGraph, of prompts' wording or of the stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from memreel.configs.schema import MemoryConfig
from memreel.errors import UserError, did_you_mean
from memreel.memory import cast, ranking
from memreel.memory.frames import FrameStore
from memreel.memory.index import Candidate, Embed, TextIndex
from memreel.memory.records import BankState, Entity, Frame, PromptRecord, frame_id, phrase
from memreel.memory.retrieval import RETRIEVALS, Request, Retrieval
from memreel.memory.scoring import SCORINGS, Appraisal, best_frame
from memreel.model.protocol import EvictedChunk, MemoryFrame, VideoModel


class Bank:
    """Cast, memory frames and the choice between them, for one run."""

    def __init__(
        self,
        config: MemoryConfig,
        model: VideoModel,
        store: FrameStore,
        embed: Embed,
        seed: int,
        retrieval: Retrieval | None = None,
    ) -> None:
        """Set up the configured strategies.

        Args:
            config: slots, bounds, strategies and taste.
            model: the video model that scores frames for phrases.
            store: where tensors and pictures of the kept frames lie.
            embed: turns texts into unit vectors ``[texts, width]``.
            seed: the run's seed, for strategies that draw.
            retrieval: a strategy of the caller's own, in place of the configured one.

        Raises:
            UserError: more slots are configured than the video model has, or a scorer that it has not.
        """
        if config.slots > model.memory_slots:
            raise UserError(
                f"memory.slots is {config.slots}, but the video model '{model.name}' attends to "
                f"{model.memory_slots} memory frames at most: set memory.slots={model.memory_slots} or less"
            )
        if config.scorer is not None and config.scorer not in model.scorers:
            raise UserError(
                f"memory.scorer: the video model '{model.name}' has no scorer '{config.scorer}'"
                f"{did_you_mean(config.scorer, model.scorers)}; known: null, {', '.join(model.scorers)}"
            )
        self._config = config
        self._store = store
        self._scoring = SCORINGS[config.strategy](model, seed, config.scorer)
        self._retrieval = retrieval or RETRIEVALS[config.retrieval]
        self._seed = seed
        self._taste = ranking.Taste.of(config, self._scoring.sees)
        self._cast_index = TextIndex(embed)
        self._prompt_index = TextIndex(embed)

    def candidates(self, bank: BankState, phrases: Sequence[str], k: int = 5) -> list[list[Candidate]]:
        """Return for each phrase the ``k`` cast members that it most likely means, best first."""
        found = self._cast_index.nearest(cast.phrase_rows(bank), phrases, k)
        return [[Candidate(global_id, similarity) for global_id, similarity in row] for row in found]

    def similar_prompts(self, bank: BankState, prompt_id: int) -> list[int]:
        """Return the prompts before ``prompt_id``, the most similar text first."""
        earlier = [(int(key), record["text"]) for key, record in bank["prompts"].items() if int(key) < prompt_id]
        [found] = self._prompt_index.nearest(earlier, [_prompt(bank, prompt_id)["text"]], len(earlier))
        return [key for key, _ in found]

    def register(self, bank: BankState, prompt_id: int, text: str, entities: Sequence[Entity]) -> BankState:
        """Enter a prompt and its entities: new cast members, further names, attributes and appearances of known ones.

        Raises:
            UserError: a global ID is below 1, or two entities of the prompt share one.
        """
        return cast.register(bank, prompt_id, text, entities)

    def retrieve(self, bank: BankState, prompt_id: int) -> BankState:
        """Set the memory that a registered prompt starts with, by the configured retrieval strategy.

        Raises:
            UserError: the prompt was never registered.
        """
        _prompt(bank, prompt_id)
        request = Request(
            bank, prompt_id, self._config.slots, self._taste, lambda: self.similar_prompts(bank, prompt_id), self._seed
        )
        return {**bank, "memory": self._retrieval.choose(request)}

    def admit(
        self, bank: BankState, evicted: EvictedChunk, born_prompt_id: int, born_chunk_id: int, prompt_id: int
    ) -> tuple[BankState, str | None]:
        """Take in a chunk that left the local window, and return the new state and the id of the frame kept, if any.

        Its best frame is scored for those whom the prompt that generated it portrays (``born_prompt_id``), competes for
        the memory of the current one (``prompt_id``), and is kept if it won a slot or if the archive wants it; what the
        archive does not want any more is let go. The new frame's files are written before others are deleted, and
        admitting the same chunk to the same state again does the same.

        Raises:
            UserError: a prompt is not registered, or the state's memory cannot be (see `frames`).
            ModelError: the video model's scores are unusable.
            StoreError: the run folder cannot be written.
        """
        born = _prompt(bank, born_prompt_id)
        _prompt(bank, prompt_id)
        self._check_memory(bank)
        who, words = cast.portrayed(bank, born_prompt_id), self._config.words
        phrases = {e["global_id"]: phrase(bank["cast"][str(e["global_id"])], words) for e in who}
        best = best_frame(self._scoring, evicted, phrases, born["text"], self._config)
        name = frame_id(born_prompt_id, born_chunk_id, best.frame)
        newcomer = _record(name, best, born_prompt_id, born_chunk_id, evicted.index)

        frames = {**bank["frames"], name: newcomer}
        memory = self._retrieval.compete(
            {**bank, "frames": frames}, newcomer, prompt_id, self._config.slots, self._taste
        )
        gone = ranking.unwanted({**bank, "frames": frames, "memory": memory}, self._config, self._taste)

        if name not in gone:
            path = self.keep(evicted, best.frame, name)
            frames[name] = {**newcomer, "frame_path": path}
        for old in sorted(gone - {name}):
            self._store.drop(old)
        after: BankState = {
            **bank,
            "frames": {key: frame for key, frame in frames.items() if key not in gone},
            "prompts": {key: _without(record, gone) for key, record in bank["prompts"].items()},
            "memory": memory,
        }
        return after, None if name in gone else name

    def keep(self, evicted: EvictedChunk, frame: int, name: str) -> str:
        """Write one frame of a chunk under an id, as ``memory.store`` says; return its picture's path in the run.

        Raises:
            StoreError: the run folder cannot be written.
        """
        kept = evicted.frame(frame, name, latent_only=self._config.store == "latent")
        return self._store.put(kept, evicted.pictures[frame])

    def frames(self, bank: BankState) -> list[MemoryFrame]:
        """Return the tensors of the current memory, in slot order, on the CPU.

        Raises:
            UserError: the state's memory lists a frame that it does not have, or more than there are slots.
            StoreError: a frame's file is missing or damaged.
        """
        self._check_memory(bank)
        return [self._store.get(name) for name in bank["memory"]]

    def close_prompt(self, bank: BankState, prompt_id: int) -> BankState:
        """Record the memory with which a prompt ends, for prompts that will be most like it.

        Raises:
            UserError: the prompt was never registered.
        """
        return closed_prompt(bank, prompt_id)

    def supposed_frames(self, bank: BankState, entities: Sequence[Entity]) -> list[Frame]:
        """Return the frames that a prompt with these entities would start with, best first; nothing is registered."""
        text = ", ".join(entity["entity"] for entity in entities)
        bank, number = self._supposed(bank, text, entities)
        return [bank["frames"][name] for name in self.retrieve(bank, number)["memory"]]

    def prompts_like(self, bank: BankState, text: str) -> list[int]:
        """Return the numbers of the prompts so far, the one nearest in meaning to ``text`` first."""
        return self.similar_prompts(*self._supposed(bank, text, []))

    def _supposed(self, bank: BankState, text: str, entities: Sequence[Entity]) -> tuple[BankState, int]:
        """Return the bank as if a further prompt had been registered, and that prompt's number."""
        number = len(bank["prompts"]) + 1
        return self.register(bank, number, text, list(entities)), number

    def _check_memory(self, bank: BankState) -> None:
        """Refuse a memory that only an edit of the state can have made."""
        if len(bank["memory"]) > self._config.slots:
            raise UserError(
                f"the bank's memory lists {len(bank['memory'])} frames, but there are {self._config.slots} slots: "
                "take some out, or set memory.slots higher"
            )
        for name in bank["memory"]:
            if name not in bank["frames"]:
                raise UserError(f"the bank's memory lists '{name}', which is none of its frames: take it out")


def closed_prompt(bank: BankState, prompt_id: int) -> BankState:
    """Return ``bank`` with the memory recorded that a prompt ends with; see `Bank.close_prompt`."""
    record: PromptRecord = {**_prompt(bank, prompt_id), "memory": list(bank["memory"])}
    return {**bank, "prompts": {**bank["prompts"], str(prompt_id): record}}


def _record(name: str, best: Appraisal, prompt_id: int, chunk_id: int, index: int) -> Frame:
    return {
        "frame_id": name,
        "frame_path": "",
        "prompt_id": prompt_id,
        "chunk_id": chunk_id,
        "frame": best.frame,
        "index": index,
        "score": best.score,
        "entity_scores": {str(global_id): score for global_id, score in best.entity_scores.items()},
        "associated_entities": best.present,
    }


def _prompt(bank: BankState, prompt_id: int) -> PromptRecord:
    record = bank["prompts"].get(str(prompt_id))
    if record is None:
        known = ", ".join(bank["prompts"]) or "none yet"
        raise UserError(f"the bank knows no prompt {prompt_id} (known: {known}): register it first")
    return record


def _without(record: PromptRecord, gone: set[str]) -> PromptRecord:
    if gone.isdisjoint(record["memory"]):
        return record
    return {**record, "memory": [name for name in record["memory"] if name not in gone]}
