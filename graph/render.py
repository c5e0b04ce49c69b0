"""Plain Python over the graph: a script goes in, events and pictures come out while the video is made.

`render` drives one video and keeps its checkpoints in the run folder's ``state.sqlite``; `generate` does so for a whole
script and gives out the chunks. Closing either iterator stops the run and closes its files; an unfinished run can be
gone on with, by another process too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from memreel.configs import load_config, parse_config
from memreel.configs.schema import RunConfig
from memreel.errors import StoreError
from memreel.graph.assembly import build_graph
from memreel.graph.binding import run_path
from memreel.graph.checkpoints import checkpoints
from memreel.graph.context import RunContext
from memreel.graph.inbox import inbox_size, lines_after
from memreel.graph.same import made_by, require_same
from memreel.graph.session import Session, open_session
from memreel.graph.state import MemreelInput
from memreel.model.protocol import Chunk, Pictures
from memreel.output.report import write_report
from memreel.output.run_folder import RunFolder
from memreel.script import Script, check_prompts, read_scripts

PAUSE, GLANCE = 0.25, 0.01
"""Seconds between two "waiting" events of a stream that waits for a prompt, and between two looks into its inbox."""


@dataclass(frozen=True)
class Rendered:
    """One event of a run, as it stands in its log; with the chunk if it is a chunk's."""

    video_id: str
    event: dict[str, Any]
    chunk: Chunk | None

    @property
    def pictures(self) -> Pictures | None:
        """The chunk's pictures, uint8 ``[12, height, width, 3]``; waits for them."""
        return None if self.chunk is None else self.chunk.pictures


@dataclass(frozen=True)
class GeneratedChunk:
    """A finished chunk: the video it belongs to, its event, its pictures uint8 ``[12, height, width, 3]``."""

    video_id: str
    event: dict[str, Any]
    pictures: Pictures


def render(
    script: Script,
    out: str | Path = "runs",
    config: RunConfig | str | None = None,
    *,
    resume: bool = False,
    live: bool = False,
) -> Iterator[Rendered]:
    """Make one video in ``out/<video id>``, yielding every event as it happens.

    Closing the iterator before the end stops the run: the chunks' latents, the memory frames and the log stay, no video
    file is left.

    Args:
        script: the video's prompts and id.
        out: folder in which the run folder is made.
        config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset.
        resume: go on after the last finished chunk of an unfinished run; otherwise what lies in the folder is replaced.
        live: wait for prompts in the run's inbox (see `memreel.graph.inbox`) instead of ending, until it is told to
            end; meanwhile events of type "waiting" come, which are not in the log.

    Raises:
        UserError: the configuration is wrong, the folder cannot be written, another process makes this video, or the
            run to go on with was made by another script, seed or configuration.
        ModelError: a model failed.
        StoreError: the disk failed, or the run to go on with is damaged.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    path = run_path(RunContext(out=str(out)), script.video_id)
    if earlier := open_session(path):
        earlier.abort("replaced")
    held = RunFolder(path).hold()
    try:
        yield from _rendered(script, RunFolder(path), settings, resume, live)
    finally:
        held.release()


def _rendered(script: Script, folder: RunFolder, config: RunConfig, resume: bool, live: bool) -> Iterator[Rendered]:
    going_on = resume and _has_chunks(script, folder, config)
    if not going_on:
        RunFolder.create(folder.path)
    given: MemreelInput | None = {"prompts": list(script.prompts), "video_id": script.video_id, "live": live}
    thread = _thread(script)
    last = ""
    with checkpoints(folder.checkpoints) as saver:
        graph = build_graph(config, saver)
        session: Session | None = None
        try:
            while True:
                events = graph.stream(
                    None if going_on else given,
                    thread,
                    context=RunContext(out=str(folder.path.parent)),
                    stream_mode="custom",
                    durability="sync",  # a node begins when the state before it is on the disk
                )
                with closing(events):  # type: ignore[type-var]
                    for event in events:
                        session, last = session or open_session(folder.path), event["type"]
                        yield Rendered(script.video_id, event, _chunk(session, event))
                session, going_on = session or open_session(folder.path), True
                found = graph.get_state(thread)
                if not found.interrupts:
                    break
                for _ in _waiting(folder, found.values["taken"]):
                    yield Rendered(script.video_id, {"type": "waiting", **found.interrupts[0].value}, None)
        finally:
            if session is not None:
                session.abort("stopped")
    if last != "done":  # there was nothing left to do but what may have been deleted since
        if not folder.report.is_file():
            write_report(folder)
        if not folder.checksums.is_file():
            folder.seal()
        *_, done = folder.read_events()
        yield Rendered(script.video_id, done, None)


def _waiting(folder: RunFolder, taken: int) -> Iterator[None]:
    """Yield now and then, so that whoever watches can stop, until something is in the inbox."""
    since, size = float("-inf"), -1
    while True:
        size, seen = inbox_size(folder), size
        if size != seen and lines_after(folder, taken):
            return
        if time.monotonic() - since >= PAUSE:
            since = time.monotonic()
            yield
        time.sleep(GLANCE)


def _thread(script: Script) -> RunnableConfig:
    return {"configurable": {"thread_id": script.video_id}}


def _has_chunks(script: Script, folder: RunFolder, config: RunConfig) -> bool:
    """Tell whether there is a run in ``folder`` to go on with; if not, there is no chunk to lose.

    Raises:
        UserError: it was made by another script, seed or configuration.
        StoreError: it has chunks, but the checkpoints do not go with them.
    """
    made = made_by(folder)
    if made is None:
        return False
    require_same(folder, config, prompts=script.prompts)
    if folder.checkpoints.is_file():
        with checkpoints(folder.checkpoints) as saver:
            found = build_graph(config, saver).get_state(_thread(script))
        if found.values.get("session_id") == made["session_id"]:
            return True
    if any(event.get("type") == "chunk" for event in folder.read_events()):
        raise StoreError(f"{folder.checkpoints} is missing, or is not of the run that lies there; --force starts over")
    return False


def generate(
    script: str | Path | Sequence[str] | Script,
    out: str | Path = "runs",
    config: RunConfig | str | None = None,
    seed: int | None = None,
    *,
    resume: bool = False,
) -> Iterator[GeneratedChunk]:
    """Turn a script into videos, yielding each chunk as soon as it is finished.

    Args:
        script: a file (see `memreel.script`), or the prompts of one video as a list, or a `Script`.
        out: folder in which each video's run folder is made.
        config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset.
        seed: seed of the noise, if not the configuration's.
        resume: go on with unfinished runs of the same script and configuration and yield the chunks that they lack;
            otherwise what lies in the run folders is replaced.

    Raises:
        UserError: the script or the configuration is wrong; raised by the call itself, before anything is written.
        ModelError: a model failed; while iterating, as the next.
        StoreError: the disk failed.
    """
    if isinstance(script, Script):
        scripts = [script]
    elif isinstance(script, str | Path):
        scripts = read_scripts(script)
    else:
        scripts = [Script("video", check_prompts(script, "script"))]
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    if seed is not None:
        settings = parse_config({**settings.model_dump(), "seed": seed}, "generate")
    return _chunks(scripts, out, settings, resume)


def _chunks(scripts: Sequence[Script], out: str | Path, config: RunConfig, resume: bool) -> Iterator[GeneratedChunk]:
    for script in scripts:
        with closing(render(script, out, config, resume=resume)) as events:  # type: ignore[type-var]
            for rendered in events:
                if rendered.chunk is not None:
                    yield GeneratedChunk(rendered.video_id, rendered.event, rendered.chunk.pictures)


def _chunk(session: Session | None, event: dict[str, Any]) -> Chunk | None:
    """Return the chunk of a chunk event: the graph rests while its event is handed out, so it is the newest."""
    if event.get("type") != "chunk":
        return None
    if session is None or session.chunk is None or session.chunk.index != event["index"]:
        raise StoreError(f"chunk {event['index']} was handed out after its session had ended")
    return session.chunk
