"""``memreel run``: a script becomes videos; what is unfinished is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memreel.commands.making import Job, make_all, require_free, require_usable
from memreel.commands.terminal import Config, Json, Seed, Settings, overrides


def run(
    script: Annotated[str, typer.Argument(help="Script: .jsonl (a line a video), .txt (a line a prompt), - (stdin).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the videos; each gets a folder of its own.")],
    config: Config = "sketch",
    settings: Settings = None,
    seed: Seed = None,
    json_: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, replacing the runs that lie in --out.")] = False,
) -> None:
    """Make the videos of a script; unfinished runs of it are continued after their last finished chunk."""
    from memreel.configs import load_config
    from memreel.script import read_scripts

    scripts = read_scripts(script)
    run_config = load_config(config, overrides(settings, seed))
    for video in scripts:
        require_free(video, out, run_config, force)
    require_usable(run_config)
    make_all([Job(video, out, run_config, force) for video in scripts], json_)
