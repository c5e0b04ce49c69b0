"""``memreel live | push``: a stream that waits for prompts, and prompts for it from elsewhere."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memreel.commands.making import Job, conclude, display, make, require_free, require_usable, stoppable
from memreel.commands.terminal import Config, Json, Seed, Settings, console, overrides, say
from memreel.commands.typed import HELP, typed_prompts

if TYPE_CHECKING:
    from memreel.graph.stream import LiveStream


def live(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the video.")],
    prompt: Annotated[list[str] | None, typer.Option(help="What to begin with; may be repeated.")] = None,
    name: Annotated[str, typer.Option("--id", help="Name of the video's folder.")] = "live",
    config: Config = "sketch",
    settings: Settings = None,
    seed: Seed = None,
    json_: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, replacing the stream that lies there.")] = False,
) -> None:
    """Make a video whose prompts are typed while it grows; the same command goes on with one that was stopped.

    A line is the next prompt, !LINE takes effect at the next chunk, /show says where the video stands, /end ends it.
    """
    from memreel.configs import load_config
    from memreel.graph.stream import LiveStream
    from memreel.script import Script

    run_config = load_config(config, overrides(settings, seed))
    script = Script(name, tuple(prompt or ()))
    require_free(script, out, run_config, force)
    stream = LiveStream(script.prompts, out, run_config, video_id=name, resume=not force)
    require_usable(run_config)
    make_live(Job(script, out, run_config, force, stream), stream, json_)


def push(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="The live video's folder.")],
    prompt: Annotated[str | None, typer.Argument(help="The prompt; may be left out with --end.")] = None,
    now: Annotated[bool, typer.Option("--now", help="From the next chunk on, before what waits.")] = False,
    end: Annotated[bool, typer.Option("--end", help="Let the stream end when it has nothing left to show.")] = False,
) -> None:
    """Give a live video, of any process, its next prompt."""
    from memreel.graph import inbox
    from memreel.output.run_folder import RunFolder

    folder = RunFolder.open(path)
    if prompt is None and not end:
        raise typer.BadParameter("give a prompt, or --end")
    inbox.require_live(folder)
    if prompt is not None:
        inbox.push(folder, prompt, "now" if now else "next")
    if end:
        inbox.end(folder)
    if not folder.held():
        say(f"memreel: kept; nobody makes this video just now: memreel resume {path} goes on with it")


def make_live(job: Job, stream: LiveStream, as_json: bool, listen: bool = True) -> None:
    """Make a live video, of what is typed too if it is to ``listen``; print what became of it and exit with the status.

    ``job`` is ``stream``'s.
    """
    began = time.perf_counter()
    progress = display(job, console(stderr=True, plain=listen))
    how = HELP if listen else "Prompts come by memreel push."
    say(f"memreel: watch {stream.folder.film.growing} while it grows. {how}")
    with stoppable() as stop, typed_prompts(stream, progress.render) if listen else nullcontext():
        result = make(job, stop, progress)
    conclude([result], time.perf_counter() - began, stop, as_json)
