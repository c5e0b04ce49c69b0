"""A session: what one video under way needs in this process besides the graph's state.

It holds the shared model, the stream, the bank, the prompt reader, the run folder and the video file, and offers the
steps of the work as verbs: each takes the state, does one thing, and returns the state's update. Nodes and tools call
the same verbs. A session knows nothing of LangGraph; the state is the truth, a session only what cannot stand in it.

What a verb writes is on the disk when it returns (but for pictures that a device is still at work on, which are made
again if they are lost), so a state never refers to what could be lost, and a session can be restored for any state from
the run folder alone (`restore`). What a killed process did after its last state is undone.

Sessions are found by their run folder, one per folder, and keep other processes out of it; `memreel.graph.live` finds
the one that belongs to a state. As a context manager a session ends when the block fails.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType

import memreel.model
from memreel.agent.enrich import enrich
from memreel.agent.reading import PromptReader, prompt_reader
from memreel.configs.schema import RunConfig
from memreel.errors import MemreelError, StoreError, UserError
from memreel.graph.ahead import LookAhead
from memreel.graph.checks import Checks, looker_for
from memreel.graph.journal import Journal, parted
from memreel.graph.latents import log_of, write_latents
from memreel.graph.record import agent_json, chapters, chunk_event, prompt_event, run_event, run_json
from memreel.graph.snapshots import Snapshots
from memreel.graph.state import ChunkRef, MemreelState, before_first_prompt, prompt_at, script_length, slid
from memreel.graph.stopwatch import Stopwatch
from memreel.memory.archive import to_json
from memreel.memory.bank import Bank
from memreel.memory.cast import reassign
from memreel.memory.earlier import without_earlier
from memreel.memory.frames import FrameStore
from memreel.memory.index import Candidate
from memreel.memory.records import BankState, Entity
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import Chunk, EvictedChunk, VideoModel, place_of
from memreel.output.behind import Behind
from memreel.output.events import Event
from memreel.output.growing import GrowingVideo
from memreel.output.report import write_report
from memreel.output.run_folder import RunFolder

_open: dict[Path, Session] = {}
_lock = threading.Lock()


class Session:
    """One video under way: open it with `start`, run the verbs in order, end with `finish` or `abort`."""

    def __init__(
        self, folder: RunFolder, config: RunConfig, model: VideoModel, reader: PromptReader, *, anew: bool = True
    ) -> None:
        """Open a stream of ``model``, and the video file in ``folder``; ``anew`` empties it first.

        A folder in which nothing was logged yet is taken as it is.

        Raises:
            UserError: the configuration asks for more than the model has, another process makes a video in the folder,
                or it cannot be written.
        """
        self.id = uuid.uuid4().hex[:12]
        self.config = config
        self.model = model
        self.reader = reader
        self.store = FrameStore(folder.stream / "memory", folder.frames)
        self.bank = Bank(config.memory, model, self.store, sentence_encoder().embed, config.seed)
        self._held = folder.hold()
        try:
            if not anew:
                folder.reopen()
            elif not (folder.exists() and folder.events.stat().st_size == 0):
                folder = RunFolder.create(folder.path)
            spec = model.spec
            self.writer = GrowingVideo(folder.film, spec.width, spec.height, spec.fps, playlist=config.video.hls)
            self._behind = Behind(self.writer)
        except BaseException:
            self._held.release()
            raise
        self.folder = folder
        self.stream = model.open(config.seed)
        self._snapshots = Snapshots(folder, self.stream)
        self.journal = Journal(folder)
        """The event log so far, and the prompts that the state has left to it."""
        self.write: Callable[[Event], None] | None = None
        """Where events go besides the log: LangGraph's custom stream while a node runs."""
        self.chunk: Chunk | None = None
        """The newest chunk, with its pictures and the chunk that it pushed out."""
        self.closed = False
        self._watch = Stopwatch()
        self._began = time.perf_counter()
        self._prompt: tuple[int, str] | None = None
        looker = looker_for(config, model.name)
        self._checks = Checks(looker, config, folder, self._recalled) if looker else None
        self._ahead = LookAhead(lambda prompt, bank: self.reader.parse(prompt, bank, self._candidates(bank)))

    @classmethod
    def start(
        cls,
        path: Path,
        video_id: str,
        prompts: Sequence[str],
        config: RunConfig,
        write: Callable[[Event], None] | None,
        *,
        live: bool = False,
    ) -> Session:
        """Open a session in the run folder ``path`` and log the run's first event.

        What an earlier run left there is removed, and a session of this process that still stood there ends.

        Raises:
            UserError: the folder cannot be written, or the configuration asks for more than the model has, or for a
                director without a chat model.
            ModelError: the video model or the sentence encoder cannot be loaded.
        """
        began = time.perf_counter()
        model = memreel.model.load(config.model)
        reader = prompt_reader(config.agent)
        if config.agent.profile == "agent" and reader.chat is None:
            raise UserError("agent.profile=agent needs a chat model: set agent.model or MEMREEL_LLM_MODEL")
        if earlier := open_session(path):
            earlier.abort("replaced")
        session = cls(RunFolder(path), config, model, reader)
        session.write = write
        session._began = began
        session._watch.spend({"load": time.perf_counter() - began})
        session.register()
        run = run_event(video_id, prompts, config, model=model, reader=reader, session_id=session.id, live=live)
        session.emit({**run, "seconds": session._watch.lap()})
        return session

    def restore(self, state: MemreelState) -> None:
        """Stand where ``state`` stands, from the run folder: log, memory frames, video, stream.

        Events and files of a later moment are removed; they come again. Memory frames that are missing or damaged are
        made again from the latents, and so are the pictures of the video's pieces.

        Raises:
            StoreError: latents or the event log are damaged or lost; the message names the file.
        """
        log, index, frames = log_of(self.folder), state["index"], state["bank"]["frames"]
        with self._watch.timed("restore"):
            for event in self.journal.restore(state):
                self._watch.totals.update(event.get("seconds", {}))
            self.store.sweep(frames)
            for name, frame in frames.items():
                if not self.store.intact(name):
                    recalled = self.model.recall(log, frame["index"])
                    self.bank.keep(recalled, frame["frame"], name)
            self.writer.restore(index, lambda number: self.model.decode(log, number))
            self.chunk = self._snapshots.restore(log, index)
        self._began -= sum(self._watch.totals.values())

    def emit(self, event: Event) -> None:
        """Append ``event`` to the run's log and send it to whoever watches."""
        self.journal.append(event)
        self._show(event)

    def opening(self, video_id: str, prompts: Sequence[str], live: bool = False) -> MemreelState:
        """Return the state of a video before its first prompt."""
        directed = self.config.agent.profile == "agent"
        return {**before_first_prompt(video_id, prompts, self.id, directed, live), **self.journal.stands()}

    def parse(self, state: MemreelState) -> MemreelState:
        """Move on to the next prompt and read it: who and what is in it, not yet who is who.

        A prompt that was known while the one before it rendered has been read meanwhile.
        """
        number = state["prompt_id"] + 1
        with self._watch.timed("parse"):
            made = self._ahead.take(prompt_at(state, number), self.journal.bank(state))
        return {
            "prompt_id": number,
            "chunk_id": 0,
            "chunks": self.config.chunks_per_prompt,
            "parsed": made.reading.entities,
            "reading": {
                "by": made.reading.read_by,
                "seconds": round(made.seconds, 6),
                "waited": round(made.waited, 6),
                "place": made.reading.place,
                "notes": made.reading.notes,
                "calls": made.reading.calls,
            },
        }

    def match(self, state: MemreelState) -> MemreelState:
        """Give each entity its global ID and enter all of them, and the prompt, into the bank."""
        bank, prompt = self.journal.bank(state), prompt_at(state, state["prompt_id"])
        with self._watch.timed("match"):
            entities = self.reader.match(prompt, state["parsed"], bank, self._candidates(bank))
            bank = self.bank.register(bank, state["prompt_id"], prompt, entities)
        return {"entities": entities, "bank": without_earlier(bank, state["earlier"])}

    def reassign(self, state: MemreelState, global_id: int, really: int | None) -> MemreelState:
        """Give an entity of the current prompt another global ID, or a new one.

        Raises:
            UserError: the prompt has no such entity, or it cannot have that ID.
        """
        number = state["prompt_id"]
        bank = reassign(self.journal.bank(state), number, global_id, really)
        return {"entities": bank["prompts"][str(number)]["entities"], "bank": without_earlier(bank, state["earlier"])}

    def retrieve(self, state: MemreelState) -> MemreelState:
        """Choose what the prompt starts with: its memory frames and its enriched text. Logs the prompt."""
        prompt, entities = prompt_at(state, state["prompt_id"]), state["entities"]
        with self._watch.timed("retrieve"):
            bank = self.bank.retrieve(self.journal.bank(state), state["prompt_id"])
            text = prompt
            if self.config.prompt.enrich:
                text = enrich(prompt, entities, bank["cast"])
        update: MemreelState = {"bank": without_earlier(bank, state["earlier"]), "text": text}
        self.emit({**prompt_event({**state, **update}), "seconds": self._watch.lap()})
        return {**update, **self.journal.stands()}

    def generate(self, state: MemreelState) -> MemreelState:
        """Generate the next chunk under the state's text and memory; write its latents and its pictures.

        Raises:
            ModelError: the video model failed.
            StoreError: a memory frame cannot be read, or the disk is full.
        """
        index, current = state["index"], (state["prompt_id"], state["text"])
        if state["prompt_id"] < script_length(state):
            bank = self.journal.bank(state)
            told = bank if self._checks is None else self._checks.outlook({**state, "bank": bank})
            if told is not None:
                self._ahead.expect(prompt_at(state, state["prompt_id"] + 1), told)
        with self._watch.timed("bank"):
            memory = self.bank.frames(state["bank"])
        if self._prompt != current:
            self.stream.set_prompt(state["text"])
            self._prompt = current
        before, chunk = self.chunk, self.stream.generate(memory)
        self.chunk = chunk
        self._watch.spend(chunk.seconds)
        if before is not None and before.late:  # what was not over by its own event
            self._watch.spend(dict(before.later))
        ref: ChunkRef = {"index": index, "prompt_id": state["prompt_id"], "chunk_id": state["chunk_id"] + 1}
        with self._watch.timed("save"):
            places = [astuple(place_of(frame)) for frame in memory]
            write_latents(
                self.folder, chunk, {**ref, "text": state["text"], "memory": chunk.attended, "places": places}
            )
        with self._watch.timed("encode"):
            self._behind.add(chunk.developed, late=chunk.late)
        window, evicted = slid(state["window"], ref, chunk.evicted.index if chunk.evicted is not None else None)
        return {
            "index": index + 1,
            "chunk_id": ref["chunk_id"],
            "window": window,
            "attended": chunk.attended,
            "evicted": evicted,
        }

    def admit(self, state: MemreelState) -> MemreelState:
        """Let the bank look at the chunk that left the window, for the prompt that made it. Logs the newest chunk."""
        bank, born, kept, chunk = self.journal.bank(state), state["evicted"], None, self.chunk
        self.store.settle()  # what was dropped a chunk ago: the states since then are kept by now
        if born is not None:
            if chunk is None or chunk.evicted is None or chunk.evicted.index != born["index"]:
                raise StoreError(f"chunk {born['index']} is to be scored, but this process no longer holds it")
            with self._watch.timed("bank"):
                bank, kept = self.bank.admit(
                    bank, chunk.evicted, born["prompt_id"], born["chunk_id"], state["prompt_id"]
                )
        with self._watch.timed("save"):
            self._snapshots.take(bank["frames"])
        pushed = dict(state["pushed"])
        push = pushed.pop(str(state["prompt_id"]), None)
        event = chunk_event({**state, "bank": bank}, kept, push, time.time())
        self.emit({**event, "seconds": self._watch.lap()})
        self._emit_faults()
        checks = state["checks"] if self._checks is None else self._checks.begin({**state, "bank": bank})
        bank = without_earlier(bank, state["earlier"])
        return {"bank": bank, "pushed": pushed, "checks": checks, "evicted": None, **self.journal.stands()}

    def close_prompt(self, state: MemreelState) -> MemreelState:
        """Record the memory that the current prompt ends with; take in what was seen of its entities, logging it.

        Prompts that are long behind leave the state for the log.
        """
        bank, checks, seen = self.journal.bank(state), state["checks"], list[Event]()
        if self._checks is not None:
            with self._watch.timed("verify"):
                bank, checks, seen = self._checks.take({**state, "bank": bank})
        update, left = parted(state, self.bank.close_prompt(bank, state["prompt_id"]))
        for event in [*seen, *left]:
            self.emit(event)
        return {**update, "checks": checks, **self.journal.stands()}

    def finish(self, state: MemreelState) -> MemreelState:
        """Complete the video, the JSON files and the report; log the end. The session is closed then."""
        folder, bank = self.folder, self.journal.bank(state)
        with self._watch.timed("encode"):
            self._behind.settle()
            pictures = self.writer.count
            self.writer.close(chapters(folder.read_events(), [*self.writer.starts, pictures]))
        with self._watch.timed("save"):
            self.store.settle()
            folder.write_json(folder.memory_bank, to_json(bank))
            folder.write_json(folder.llm_agent, agent_json(bank))
        self._watch.lap()
        self._snapshots.settle()
        self._emit_faults()
        facts = run_json(
            state["video_id"],
            self.config,
            model=self.model,
            reader=self.reader.name,
            chunks=state["index"],
            pictures=pictures,
            seconds=dict(self._watch.totals),
            elapsed=time.perf_counter() - self._began,
        )
        folder.write_json(folder.run, facts)
        done: Event = {"type": "done", "status": "done", "video": folder.video.name}
        done |= {key: facts[key] for key in ("chunks", "pictures", "seconds", "pictures_per_second", "ratio")}
        folder.append_event(done)  # before the report, which reads the log
        write_report(folder)
        folder.seal()
        self._release()
        self._show(done)
        return {"video": str(folder.video)}

    def abort(self, status: str, error: str = "") -> None:
        """Give up: no finished video is made, what there is stays playable; the log says why. Once ended, nothing."""
        if self.closed:
            return
        self._behind.abort()
        self._release()
        event = {"type": "done", "status": status} | ({"error": error} if error else {})
        with contextlib.suppress(MemreelError):  # the disk may be what failed
            self.folder.append_event(event)

    def who(self, prompt: str, bank: BankState) -> list[Entity]:
        """Say who and what a prompt speaks of, by global ID; nothing is registered."""
        candidates = self._candidates(bank)
        return self.reader.match(prompt, self.reader.parse(prompt, bank, candidates).entities, bank, candidates)

    def __enter__(self) -> Session:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Abort if the block failed; otherwise stay open."""
        if kind is not None:
            self.abort("failed" if issubclass(kind, Exception) else "interrupted", f"{kind.__name__}: {error}")

    def register(self) -> None:
        """Let the session be found by its run folder."""
        with _lock:
            _open[self.folder.path] = self

    def _recalled(self, index: int) -> EvictedChunk:
        return self.model.recall(log_of(self.folder), index)

    def _emit_faults(self) -> None:
        for event in self._snapshots.faults():
            self.emit(event)

    def _show(self, event: Event) -> None:
        if self.write is not None:
            self.write(event)

    def _release(self) -> None:
        self.closed = True
        self._behind.close()
        self._snapshots.close()
        self.stream.finalize()
        self.chunk = None
        self._held.release()
        with _lock:
            if _open.get(self.folder.path) is self:
                del _open[self.folder.path]

    def _candidates(self, bank: BankState) -> Callable[[Sequence[str]], list[list[Candidate]]]:
        return lambda phrases: self.bank.candidates(bank, phrases)


def open_session(path: Path) -> Session | None:
    """Return this process's session in the run folder ``path``, if there is one."""
    with _lock:
        return _open.get(path)
