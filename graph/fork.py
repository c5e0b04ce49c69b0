"""Forks: a run that branches off another at one of its states, in a folder of its own.

What both have in common is shared by hard links, since no artefact is ever written into: latents, the video's pieces,
the memory frames of the state and the stream's snapshots till then; only the log's lines are copied. From then on a
fork is a run like any other. A state that an open or later run has left behind (LangGraph's ``get_state_history``,
``update_state``) is a fork's beginning too: it is never continued in the folder whose later states refer to what it
would replace.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memreel.errors import StoreError
from memreel.graph.journal import script_of
from memreel.graph.latents import latents_path
from memreel.graph.same import made_by
from memreel.graph.session import open_session
from memreel.graph.snapshots import files_of, snapshots_of
from memreel.graph.state import MemreelState
from memreel.output.durable import share, write_whole
from memreel.output.run_folder import RunFolder


def branched(path: Path, state: MemreelState) -> MemreelState:
    """Return what ``state`` must become to be gone on with: nothing, or its place in a fork, which is made.

    A state is left behind if its run has gone on: this process's session is past it, or the log of the run in ``path``
    is past it by more than the one step that a killed process may have begun.

    Raises:
        StoreError: the run folder is damaged, or the fork cannot be written.
    """
    director = state.get("director")
    if director is not None and director["unlogged"]:
        return {}  # the director went back on the spot: nothing later is to be kept
    session = open_session(path)
    if session is not None:
        if session.id != state["session_id"]:
            return {}
        behind = session.journal.lines > state["logged"] or session.stream.index > state["index"]
    else:
        behind = _steps_after(RunFolder(path), state) > 1
    if not behind:
        return {}
    return fork(RunFolder(path), state, fork_path(path.parent, state))


def fork(origin: RunFolder, state: MemreelState, path: Path, run: dict[str, Any] | None = None) -> MemreelState:
    """Make the run folder ``path`` stand where ``state`` stood in ``origin``; ``run`` changes its first event.

    Returns:
        The state's keys that say where it lies now.

    Raises:
        UserError: the folder cannot be written or is no run's.
        StoreError: what the state refers to is lost in ``origin``, or the disk is full.
    """
    made = made_by(origin)
    if made is None or made["session_id"] != state["session_id"]:
        raise StoreError(f"{origin.path}: another run has started in this folder; its states cannot be forked any more")
    lines = origin.log_lines(state["logged"])
    folder = RunFolder(path)
    held = folder.hold()
    session_id = uuid.uuid4().hex[:12]
    try:
        folder = RunFolder.create(path)
        for old in _common(origin, state):
            new = folder.path / old.relative_to(origin.path)
            new.parent.mkdir(parents=True, exist_ok=True)
            share(old, new)
        place = {"prompt_id": state["prompt_id"], "chunk_id": state["chunk_id"], "index": state["index"]}
        script = script_of(map(json.loads, lines), state)
        first = made | {"video_id": path.name, "session_id": session_id, "prompts": script} | (run or {})
        first["forked"] = {"run": os.path.relpath(origin.path, path), "session_id": made["session_id"], **place}
        write_whole(folder.events, b"".join([json.dumps(first, ensure_ascii=False).encode() + b"\n", *lines[1:]]))
        with origin.forks.open("a") as file:
            file.write(json.dumps({"run": os.path.relpath(path, origin.path), "session_id": session_id}) + "\n")
    except OSError as error:
        raise StoreError(f"cannot fork {origin.path} to {path}: {error}") from error
    finally:
        held.release()
    return {"video_id": path.name, "session_id": session_id, "log": folder.log_digest(state["logged"]), "taken": 0}


def fork_path(out: Path, state: MemreelState) -> Path:
    """Return a free folder for a fork at ``state``, named after its place: ``film-at-3.5``."""
    name = f"{state['video_id']}-at-{state['prompt_id']}.{state['chunk_id']}"
    number, path = 1, out / name
    while path.exists():
        number += 1
        path = out / f"{name}-{number}"
    return path


def _common(origin: RunFolder, state: MemreelState) -> Iterator[Path]:
    """Yield the files of ``origin`` that the state refers to; what can be made again from latents may be missing."""
    for index in range(state["index"]):
        yield latents_path(origin, index)
    optional = [origin.film.head, *(origin.film.piece(index) for index in range(state["index"]))]
    for name in state["bank"]["frames"]:
        optional += [origin.stream / "memory" / f"{name}.safetensors", origin.frames / f"{name}.png"]
    for index, snapshot in snapshots_of(origin).items():
        if index <= state["index"]:
            optional += files_of(snapshot)
    yield from (path for path in optional if path.is_file())


def _steps_after(folder: RunFolder, state: MemreelState) -> int:
    """Count what the run of ``state`` did after it, as far as it is logged."""
    made = made_by(folder)
    if made is None or made["session_id"] != state["session_id"]:
        return 0
    directed, steps, begun = state.get("director") is not None, 0, False
    for event in list(folder.read_events())[state["logged"] :]:
        if event["type"] == "prompt" and directed:  # one of those that a step of the director's begins with
            begun = True
        elif event["type"] in ("prompt", "chunk", "director") or event.get("status") == "done":
            steps, begun = steps + 1, False
    return steps + begun
