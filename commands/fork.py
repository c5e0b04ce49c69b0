"""``memreel fork | resume | history``: a run branches off, goes on, and shows where it came from."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memreel.commands.live import make_live
from memreel.commands.making import Job, make_all, require_usable
from memreel.commands.terminal import Json, Seed, Settings, console, overrides
from memreel.errors import UserError

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from memreel.graph.history import Branch
    from memreel.output.run_folder import RunFolder

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A video's folder.")]


def fork(
    path: Run,
    at: Annotated[str, typer.Option(metavar="PROMPT[.CHUNK]", help="Where: 3.5 is after prompt 3's fifth chunk.")],
    prompt: Annotated[list[str] | None, typer.Option(help="What follows instead; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the fork; RUN's own if not given.")
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Branch off a run after a chunk, sharing what comes before, and make what comes then."""
    from memreel.configs import override_config
    from memreel.graph.history import config_of, fork_at
    from memreel.output.run_folder import RunFolder
    from memreel.script import check_prompts

    origin = RunFolder.open(path)
    place = re.fullmatch(r"([1-9]\d*)(?:\.([1-9]\d*))?", at)
    if place is None:
        raise UserError(f"--at {at}: not a place; give PROMPT.CHUNK, both counted from 1, such as 3.5, or PROMPT")
    given = overrides(settings, seed)
    prompts = check_prompts(prompt, "--prompt") if prompt else ()
    if not (prompts or given):
        raise UserError("nothing differs from there: give --prompt, --seed or --set")
    config = override_config(config_of(origin), given)
    require_usable(config)
    chunk = None if place[2] is None else int(place[2])
    folder = fork_at(origin, int(place[1]), chunk, prompts, path.parent if out is None else out, config)
    make_all([_job(folder)], json_)


def resume(path: Run, json_: Json = False) -> None:
    """Go on with an unfinished run, a fork's too; a finished one is left as it is. Prompts for a live one are typed."""
    from memreel.graph.history import made_run
    from memreel.graph.stream import LiveStream
    from memreel.output.run_folder import RunFolder

    folder = RunFolder.open(path)
    job = _job(folder)
    require_usable(job.config)
    if not made_run(folder).get("live") or folder.finished():
        make_all([job], json_)
        return
    stream = LiveStream(job.script.prompts, job.out, job.config, video_id=folder.path.name, resume=True)
    make_live(replace(job, live=stream), stream, json_, listen=sys.stdin.isatty())  # else whoever pushes ends it


def history(path: Run) -> None:
    """Show the tree of runs that forks have made, with their prompts."""
    from rich.tree import Tree

    from memreel.graph.history import tree_of
    from memreel.output.run_folder import RunFolder

    root, here = tree_of(RunFolder.open(path)), path.resolve()
    tree = Tree(_title(root, here))
    _grow(tree, root, here, 0)
    console().print(tree, highlight=False)


def _job(folder: RunFolder) -> Job:
    from memreel.graph.history import config_of, made_run
    from memreel.script import Script

    prompts = tuple(made_run(folder)["prompts"])
    return Job(Script(folder.path.name, prompts), folder.path.parent, config_of(folder))


def _grow(tree: Tree, branch: Branch, here: Path, since: int) -> None:
    """Add a branch's prompts from number ``since`` (0-based) on, and below each the forks that leave it."""
    from rich.text import Text

    for number, (prompt, chunks) in enumerate(branch.prompts[since:], start=since + 1):
        node = tree.add(Text(f"{number}  {prompt}  ({chunks} chunk{'s' if chunks != 1 else ''})"))
        for child in branch.children:
            if child.at is not None and child.at[0] == number:
                _grow(node.add(_title(child, here)), child, here, number)


def _title(branch: Branch, here: Path) -> Text:
    from rich.text import Text

    at = f"at {branch.at[0]}.{branch.at[1]}: " if branch.at else ""
    state = "finished" if branch.finished else "not finished"
    folder = branch.folder.path
    chunks = sum(count for _, count in branch.prompts)
    return Text(f"{at}{folder.name} ({chunks} chunks, {state})", style="bold" if folder.resolve() == here else "")
