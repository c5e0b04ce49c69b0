"""``memreel live | push``: a stream that waits for prompts, and prompts for it from elsewhere."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memreel.commands.making import Job, make_all, require_free, require_usable
from memreel.commands.terminal import Config, Json, Seed, Settings, console, overrides, say
from memreel.errors import MemreelError

if TYPE_CHECKING:
    from memreel.graph.stream import LiveStream

HELP = (
    "A line is the next prompt; !LINE takes effect at the next chunk; /show says where the video stands; /end ends it."
)


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
    say(f"memreel: watch {stream.folder.film.growing} while it grows. {HELP}")
    threading.Thread(target=_listen, args=(stream,), name="prompts", daemon=True).start()
    make_all([Job(script, out, run_config, force, stream)], json_)


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
    if prompt is not None:
        inbox.push(folder, prompt, "now" if now else "next")
    if end:
        inbox.end(folder)


def _listen(stream: LiveStream) -> None:
    """Push what is typed, line by line; the end of the input ends the stream."""
    for line in sys.stdin:
        text = line.strip()
        try:
            if text == "/end":
                break
            if text == "/show":
                _show(stream)
            elif text:
                stream.push(text.removeprefix("!"), "now" if text.startswith("!") else "next")
        except MemreelError as error:
            say(f"memreel: {error}")
    stream.end()


def _show(stream: LiveStream) -> None:
    from memreel.output.progress import RunProgress

    if not stream.folder.exists():
        say("memreel: still loading")
        return
    screen = console(stderr=True)
    progress = RunProgress(screen, stream.folder.path.name, None)
    progress.recall(stream.folder.read_events())
    screen.print(progress.render())
