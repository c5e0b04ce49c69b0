"""A run's past: the states that its checkpoints keep, forks made from them, and the tree of runs that forks make.

Works on run folders whose checkpoints `memreel.graph.render` keeps; a graph with a checkpointer of its own has
LangGraph's ``get_state_history`` and ``update_state`` for the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from memreel.configs.schema import RunConfig
from memreel.errors import StoreError, UserError
from memreel.graph.assembly import build_graph
from memreel.graph.checkpoints import checkpoints
from memreel.graph.fork import fork, fork_path
from memreel.graph.same import made_by
from memreel.graph.state import MemreelState
from memreel.memory.bank import closed_prompt
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder


@dataclass
class Branch:
    """A run in the tree: where it lies, what it is, where it branched off, and what branched off it."""

    folder: RunFolder
    made: Event
    prompts: list[tuple[str, int]]
    """Each prompt's text and the number of its chunks."""
    finished: bool
    children: list[Branch] = field(default_factory=list)

    @property
    def at(self) -> tuple[int, int] | None:
        """Prompt and chunk after which it branched off; ``None`` for a run that began by itself."""
        forked = self.made.get("forked")
        return (forked["prompt_id"], forked["chunk_id"]) if forked else None


def made_run(folder: RunFolder) -> Event:
    """Return the event with which the run in ``folder`` began.

    Raises:
        UserError: there is no run.
    """
    made = made_by(folder)
    if made is None:
        raise UserError(f"no run at {folder.path}: give the folder that `memreel run --out` wrote")
    return made


def config_of(folder: RunFolder) -> RunConfig:
    """Return the configuration that the run in ``folder`` is made under.

    Raises:
        UserError: there is no run.
    """
    return RunConfig.model_validate(made_run(folder)["config"])


def tree_of(folder: RunFolder) -> Branch:
    """Return the whole tree that the run in ``folder`` belongs to, from its root.

    Raises:
        UserError: there is no run.
        StoreError: a log in the tree is damaged.
    """
    made, root = made_run(folder), folder
    while forked := made.get("forked"):
        above = RunFolder((root.path / forked["run"]).resolve())
        parent = made_by(above)
        if parent is None or parent["session_id"] != forked["session_id"]:
            break  # it was moved or replaced: the tree begins here
        root, made = above, parent
    return _branch(root, made)


def _branch(folder: RunFolder, made: Event) -> Branch:
    events = list(folder.read_events())
    prompts = [
        (event["prompt"], sum(e["type"] == "chunk" and e["prompt_id"] == event["prompt_id"] for e in events))
        for event in events
        if event["type"] == "prompt"
    ]
    branch = Branch(folder, made, prompts, folder.finished())
    for child, session_id in _forks(folder):
        born = made_by(child)
        if born is not None and born["session_id"] == session_id:
            branch.children.append(_branch(child, born))
    branch.children.sort(key=lambda child: (child.at, child.folder.path.name))
    return branch


def _forks(folder: RunFolder) -> Iterator[tuple[RunFolder, str]]:
    if not folder.forks.is_file():
        return
    for line in folder.forks.read_text().splitlines():
        try:
            entry = json.loads(line)
            yield RunFolder((folder.path / entry["run"]).resolve()), entry["session_id"]
        except (ValueError, KeyError):  # half a line of a killed process: its fork was not begun
            continue


def fork_at(
    origin: RunFolder,
    prompt_id: int,
    chunk_id: int | None,
    prompts: Sequence[str],
    out: Path,
    config: RunConfig | None = None,
) -> RunFolder:
    """Branch off after a chunk: ``prompts`` follow, instead of what followed there; without any, the same script does.

    Args:
        origin: the run, finished or not.
        prompt_id: the prompt after whose chunk to branch, from 1.
        chunk_id: that chunk, from 1; ``None``: the prompt's last.
        prompts: what comes then.
        out: folder in which the fork's run folder is made, named after its place.
        config: what the fork is made under from there, if not what the origin was.

    Returns:
        The fork's folder, ready to be gone on with.

    Raises:
        UserError: there is no such chunk, or ``out`` cannot be written.
        StoreError: the origin is damaged, or its checkpoints are lost.
    """
    made, chunk_id = made_run(origin), _chunk_id(origin, prompt_id, chunk_id)
    state = state_at(origin, prompt_id, chunk_id)
    if prompts:
        state["prompts"] = [*state["prompts"][: prompt_id - state["earlier"]], *prompts]
        state["chunks"] = chunk_id
        state["bank"] = closed_prompt(state["bank"], prompt_id)
    settings = config or RunConfig.model_validate(made["config"])
    run = {
        "live": False,
        "config": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "chunks_per_prompt": settings.chunks_per_prompt,
        "memory_slots": settings.memory.slots,
    }
    path = fork_path(out.absolute(), state)
    moved: MemreelState = {**state, "live": False, **fork(origin, state, path, run)}
    folder = RunFolder(path)
    with checkpoints(folder.checkpoints) as saver:
        build_graph(settings, saver).update_state(_thread(path.name), moved, as_node="update_memory")
    return folder


def state_at(folder: RunFolder, prompt_id: int, chunk_id: int) -> MemreelState:
    """Return the state of a run after a chunk, as its checkpoints keep it.

    Raises:
        StoreError: they do not have it.
    """
    made = made_run(folder)
    if folder.checkpoints.is_file():
        with checkpoints(folder.checkpoints) as saver:
            graph = build_graph(RunConfig.model_validate(made["config"]), saver)
            for found in graph.get_state_history(_thread(made["video_id"])):
                state = cast(MemreelState, found.values)
                here = (state.get("prompt_id"), state.get("chunk_id")) == (prompt_id, chunk_id)
                if here and found.next and found.next != ("update_memory",):
                    if state["session_id"] == made["session_id"]:
                        return state
                    break
    raise StoreError(f"{folder.checkpoints} does not have the state after chunk {chunk_id} of prompt {prompt_id}")


def _chunk_id(folder: RunFolder, prompt_id: int, chunk_id: int | None) -> int:
    """Return the chunk to branch after, if it is there."""
    chunks: dict[int, int] = {}
    for event in folder.read_events():
        if event["type"] == "chunk":
            chunks[event["prompt_id"]] = event["chunk_id"]
    if not chunks:
        raise UserError(f"{folder.path} has no chunk yet to fork at")
    if prompt_id not in chunks:
        raise UserError(f"{folder.path} has no prompt {prompt_id}: it has prompts 1 to {max(chunks)}")
    if chunk_id is not None and not 1 <= chunk_id <= chunks[prompt_id]:
        raise UserError(f"{folder.path}: prompt {prompt_id} has chunks 1 to {chunks[prompt_id]}, not {chunk_id}")
    return chunks[prompt_id] if chunk_id is None else chunk_id


def _thread(video_id: str) -> RunnableConfig:
    thread: dict[str, Any] = {"thread_id": video_id}
    return {"configurable": thread}
