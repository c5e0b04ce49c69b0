"""Plain Python over the graph: a script goes in, events and pictures come out while the video is made.

`render` drives one video and keeps its checkpoints in the run folder's ``state.sqlite``; `generate` does so for a whole
script and gives out the chunks. Closing either iterator stops the run and closes its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from memreel.configs import load_config, parse_config
from memreel.configs.schema import RunConfig
from memreel.errors import StoreError
from memreel.graph.assembly import build_graph
from memreel.graph.binding import run_path
from memreel.graph.context import RunContext
from memreel.graph.session import Session, open_session
from memreel.model.protocol import Pictures
from memreel.output.run_folder import RunFolder
from memreel.script import Script, check_prompts, read_scripts


@dataclass(frozen=True)
class Rendered:
    """One event of a run, as it stands in its log; with the chunk's pictures if it is a chunk's.

    ``pictures`` is uint8 ``[12, height, width, 3]``.
    """

    video_id: str
    event: dict[str, Any]
    pictures: Pictures | None


@dataclass(frozen=True)
class GeneratedChunk:
    """A finished chunk: the video it belongs to, its event, its pictures uint8 ``[12, height, width, 3]``."""

    video_id: str
    event: dict[str, Any]
    pictures: Pictures


def render(script: Script, out: str | Path = "runs", config: RunConfig | str | None = None) -> Iterator[Rendered]:
    """Make one video in ``out/<video id>``, yielding every event as it happens.

    Closing the iterator before the end stops the run: the chunks' latents, the memory frames and the log stay, no video
    file is left.

    Raises:
        UserError: the configuration is wrong or the folder cannot be written.
        ModelError: a model failed.
        StoreError: the disk failed.
    """
    context = RunContext(out=str(out))
    path = run_path(context, script.video_id)
    if earlier := open_session(path):
        earlier.abort("replaced")
    folder = RunFolder.create(path)
    with SqliteSaver.from_conn_string(str(folder.checkpoints)) as saver:
        graph = build_graph(config, saver)
        events = graph.stream(
            {"prompts": list(script.prompts), "video_id": script.video_id},
            {"configurable": {"thread_id": script.video_id}},
            context=context,
            stream_mode="custom",
        )
        session: Session | None = None
        try:
            with closing(events):  # type: ignore[type-var]
                for event in events:
                    session = session or open_session(path)
                    yield Rendered(script.video_id, event, _pictures(session, event))
        finally:
            if session is not None:
                session.abort("stopped")


def generate(
    script: str | Path | Sequence[str] | Script,
    out: str | Path = "runs",
    config: RunConfig | str | None = None,
    seed: int | None = None,
) -> Iterator[GeneratedChunk]:
    """Turn a script into videos, yielding each chunk as soon as it is finished.

    Args:
        script: a file (see `memreel.script`), or the prompts of one video as a list, or a `Script`.
        out: folder in which each video's run folder is made.
        config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset.
        seed: seed of the noise, if not the configuration's.

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
    return _chunks(scripts, out, settings)


def _chunks(scripts: Sequence[Script], out: str | Path, config: RunConfig) -> Iterator[GeneratedChunk]:
    for script in scripts:
        with closing(render(script, out, config)) as events:  # type: ignore[type-var]
            for rendered in events:
                if rendered.pictures is not None:
                    yield GeneratedChunk(rendered.video_id, rendered.event, rendered.pictures)


def _pictures(session: Session | None, event: dict[str, Any]) -> Pictures | None:
    """Return the pictures of a chunk event: the graph rests while its event is handed out, so they are the newest."""
    if event.get("type") != "chunk":
        return None
    if session is None or session.chunk is None or session.chunk.index != event["index"]:
        raise StoreError(f"chunk {event['index']} was handed out after its session had ended")
    return session.chunk.pictures
