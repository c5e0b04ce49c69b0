"""A reel: one video that an agent makes step by step, prompt by prompt and chunk by chunk.

It keeps the same state that the graph keeps and calls the same session's verbs, only that the caller decides what comes
next. One reel serves one agent; calls wait for each other. This module knows nothing of LangChain.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.graph.binding import run_path
from memreel.graph.context import RunContext
from memreel.graph.live import live_session
from memreel.graph.past import keep_state, past_state
from memreel.graph.session import Session
from memreel.graph.state import MemreelState, prompt_at, script_length
from memreel.memory.records import BankState, Entity, Frame
from memreel.script import check_prompts


class Reel:
    """A video in the making; opened by the first call that needs it, and again after `finish`."""

    has_script = False
    """Whether there are prompts to follow, for `next_prompt`."""

    def __init__(self, config: RunConfig, out: str | Path, video_id: str) -> None:
        """Name the folder; nothing is loaded or written yet."""
        self._config = config
        self._out = str(out)
        self._video_id = video_id
        self._session: Session | None = None
        self._state: MemreelState = {}
        self._lock = threading.RLock()

    def generate(self, prompt: str | None, chunks: int, memory: Sequence[str] | None) -> dict[str, Any]:
        """Generate ``chunks`` more chunks, under a new prompt if one is given; see the tool for the rest."""
        with self._lock:
            session = self._prepare(prompt, memory)
            begun = self._state["index"]
            with session:
                for _ in range(chunks):
                    self._state |= session.generate(self._state)
                    self._state |= session.admit(self._state)
                    keep_state(session.folder, self._state)
            return self._made(begun)

    def next_prompt(self) -> dict[str, Any]:
        """Move on to the script's next prompt, as it is written there.

        Raises:
            UserError: there is none.
        """
        with self._lock:
            state = self._state
            if not self._under_way() or state["prompt_id"] >= script_length(state):
                raise UserError("next_prompt: the script has no further prompt; call finish_video")
            self._begin_prompt(prompt_at(state, state["prompt_id"] + 1))
            return self._position()

    def rewind(self, chunks: int) -> dict[str, Any]:
        """Go back to where the video had ``chunks`` chunks; what came after is forgotten."""
        with self._lock:
            session = self._under_way()
            made = self._state["index"] if session is not None else 0
            if session is None or chunks >= made:
                raise UserError(f"rewind: the video has {made} chunks; give a smaller number of chunks to keep")
            self._go_to(session, chunks)
            return self._position()

    def correct(self, global_id: int, really: int | None) -> dict[str, Any]:
        """Give an entity of the current prompt another ID, or a new one; the prompt's memory is chosen anew."""
        with self._lock:
            session = self._under_way()
            if session is None or not self._state["prompt_id"]:
                raise UserError("correct_identity: the video has no prompt yet")
            self._state |= session.reassign(self._state, global_id, really)
            with session:
                self._state |= session.retrieve(self._state)
            return self._position()

    def frame(self, frame_id: str) -> dict[str, Any]:
        """Return a memory frame's record and where its picture lies."""
        with self._lock:
            bank = self._bank()
            [name] = self._frames([frame_id], "show_frame")
            frame = bank["frames"][name]
            shows = {str(i): bank["cast"][str(i)]["name"] for i in frame["associated_entities"]}
            return {**frame, "shows": shows, "picture": str(self._open().folder.path / frame["frame_path"])}

    def score_evicted(self, phrases: Sequence[str]) -> dict[str, Any]:
        """Score each latent frame of the chunk that last left the window for each phrase."""
        with self._lock:
            session = self._under_way()
            chunk = session.chunk if session is not None else None
            if session is None or chunk is None or chunk.evicted is None:
                raise UserError("score_evicted_chunk: no chunk has left the window yet; generate more first")
            scores = session.model.score(chunk.evicted, list(phrases)).tolist()
            rows = [
                {
                    "frame": frame,
                    "scores": {phrase: round(score, 4) for phrase, score in zip(phrases, row, strict=True)},
                }
                for frame, row in enumerate(scores)
            ]
            return {"index": chunk.evicted.index, "frames": rows}

    def match(self, prompt: str) -> list[dict[str, Any]]:
        """Say who a prompt speaks of, without changing the cast."""
        with self._lock:
            prompt = check_prompts([prompt], "match_entities")[0]
            session, bank = self._open(), self._bank()
            entities = session.who(prompt, bank)
            return [{**entity, "known": str(entity["global_id"]) in bank["cast"]} for entity in entities]

    def recall(self, global_ids: Sequence[int]) -> list[Frame]:
        """Return the frames that a prompt with these cast members would start with."""
        with self._lock:
            bank = self._bank()
            entities: list[Entity] = []
            for global_id in dict.fromkeys(global_ids):
                member = bank["cast"].get(str(global_id))
                if member is None:
                    known = (
                        ", ".join(f"{number} ({other['name']})" for number, other in bank["cast"].items())
                        or "nobody yet"
                    )
                    raise UserError(f"recall_memory: no global ID {global_id} in the cast; known: {known}")
                entities.append({"entity": member["name"], "kind": member["kind"], "attrs": [], "global_id": global_id})
            return self._open().bank.supposed_frames(bank, entities)

    def search(self, query: str, limit: int) -> dict[str, Any]:
        """Return the cast members and the earlier prompts nearest in meaning to ``query``."""
        with self._lock:
            query = check_prompts([query], "search_memory")[0]
            bank, session = self._bank(), self._open()
            [found] = session.bank.candidates(bank, [query], limit)
            return {
                "cast": [
                    {
                        "global_id": c.global_id,
                        "name": bank["cast"][str(c.global_id)]["name"],
                        "similarity": round(c.similarity, 4),
                    }
                    for c in found
                ],
                "prompts": [
                    {"prompt_id": number, "prompt": bank["prompts"][str(number)]["text"]}
                    for number in session.bank.prompts_like(bank, query)[:limit]
                ],
            }

    def cast(self) -> list[dict[str, Any]]:
        """Return everyone and everything known, with the memory frames that show each."""
        with self._lock:
            bank = self._bank()
            return [
                {
                    "global_id": member["global_id"],
                    "name": member["name"],
                    "kind": member["kind"],
                    "attributes": member["all_attrs"],
                    "prompts": sorted({instance["prompt_id"] for instance in member["instances"]}),
                    "frames": [
                        frame["frame_id"]
                        for frame in bank["frames"].values()
                        if member["global_id"] in frame["associated_entities"]
                    ],
                }
                for member in bank["cast"].values()
            ]

    def finish(self) -> dict[str, Any]:
        """Complete the video and its report; the next call begins another video."""
        with self._lock:
            session = self._under_way()
            if session is None or not self._state["index"]:
                raise UserError("finish_video: nothing has been generated yet; call generate_chunk first")
            with session:
                self._state |= session.close_prompt(self._state)
                self._state |= session.finish(self._state)
            seconds = round(self._state["index"] * session.model.spec.chunk_seconds, 3)
            return {"video": self._state["video"], "report": str(session.folder.report), "video_seconds": seconds}

    def _prepare(self, prompt: str | None, memory: Sequence[str] | None) -> Session:
        """Make everything ready for the next chunk: a new prompt if one is given, memory frames if they are chosen."""
        if prompt is not None:
            prompt = check_prompts([prompt], "generate_chunk")[0]
        elif not self._under_way() or not self._state["prompt_id"]:
            raise UserError("generate_chunk: the video has no prompt yet; give one")
        session = self._open()
        chosen = None if memory is None else self._frames(memory, "generate_chunk")
        if prompt is not None:
            self._begin_prompt(prompt)
        if chosen is not None:
            self._state = {**self._state, "bank": {**self._state["bank"], "memory": chosen}}
        return session

    def _begin_prompt(self, prompt: str) -> None:
        """Read the prompt and make it current; on an error the reel stays where it was."""
        session, state = self._open(), self._state
        number = state["prompt_id"]
        if number:
            state = {**state, **session.close_prompt(state)}
        place = number - state["earlier"]
        state = {**state, "prompts": [*state["prompts"][:place], prompt, *state["prompts"][place + 1 :]]}
        state |= session.parse(state)
        state |= session.match(state)
        state |= session.retrieve(state)
        self._state = state

    def _position(self) -> dict[str, Any]:
        """Say where the video stands."""
        state, session = self._state, self._open()
        return {
            "prompt_id": state["prompt_id"],
            "text": state["text"],
            "entities": state["entities"],
            "memory": state["bank"]["memory"],
            "chunks": state["index"],
            "video_seconds": round(state["index"] * session.model.spec.chunk_seconds, 3),
        }

    def _made(self, begun: int) -> dict[str, Any]:
        """Tell of the chunks from number ``begun`` on, as the log has them."""
        keys = ("index", "chunk_id", "evicted", "kept_frame", "memory")
        events = self._open().folder.read_events()
        made = [event for event in events if event["type"] == "chunk" and event["index"] >= begun]
        return {**self._position(), "chunks": [{key: event[key] for key in keys} for event in made]}

    def _frames(self, memory: Sequence[str], tool: str) -> list[str]:
        """Return the ids of memory frames, each once, if they are there and fit."""
        frames = self._state["bank"]["frames"]
        chosen = list(dict.fromkeys(memory))
        unknown = [name for name in chosen if name not in frames]
        if unknown:
            known = ", ".join(frames) or "none yet"
            raise UserError(f"{tool}: no memory frame '{unknown[0]}'; known: {known}")
        if len(chosen) > self._config.memory.slots:
            raise UserError(f"{tool}: {len(chosen)} memory frames; at most {self._config.memory.slots} fit")
        return chosen

    def _bank(self) -> BankState:
        """Return the bank with every prompt so far."""
        return self._open().journal.bank(self._state)

    def _under_way(self) -> Session | None:
        """Return the open session; one that was finished or that failed is none."""
        return self._session if self._session is not None and not self._session.closed else None

    def _go_to(self, session: Session, chunks: int) -> None:
        """Stand where the video had so many chunks; with none, before its first prompt."""
        path = session.folder.path
        self._state = past_state(session.folder, chunks)
        self._session = live_session(path, self._state, lambda: self._config)

    def _open(self) -> Session:
        """Return the open session, or begin a video in a folder that does not exist yet."""
        if session := self._under_way():
            return session
        context = RunContext(out=self._out)
        number, video_id = 1, self._video_id
        while run_path(context, video_id).exists():
            number, video_id = number + 1, f"{self._video_id}-{number + 1}"
        session = Session.start(run_path(context, video_id), video_id, [], self._config, None)
        self._session, self._state = session, session.opening(video_id, [])
        keep_state(session.folder, self._state)
        return session
