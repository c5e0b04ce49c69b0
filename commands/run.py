"""``memreel run``: a script becomes videos; what is unfinished is gone on with."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from memreel.commands.making import make, require_free, require_usable, stoppable
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

    began = time.perf_counter()
    scripts = read_scripts(script)
    run_config = load_config(config, overrides(settings, seed))
    for video in scripts:
        require_free(video, out, run_config, force)
    require_usable(run_config)

    results = []
    with stoppable() as stop:
        for video in scripts:
            results.append(make(video, out, run_config, force, stop))
            if results[-1]["status"] == "interrupted":
                break
    failed = [result for result in results if result["status"] != "done"]
    seconds = time.perf_counter() - began
    plays = sum(result["video_seconds"] for result in results)
    if json_:
        summary = {"videos": results, "seconds": round(seconds, 3), "ratio": round(plays / seconds, 3)}
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _print_results(results)
    if failed:
        stopped = 128 + (stop[0] if stop else signal.SIGINT)
        raise typer.Exit(stopped if failed[-1]["status"] == "interrupted" else 1)


def _print_results(results: Sequence[dict[str, Any]]) -> None:
    for result in results:
        if result["status"] == "done":
            print(
                f"{result['id']}: {result['video_seconds']:.1f} s of video in {result['seconds']:.1f} s "
                f"({result['ratio']:.2f}× real time)\n  {result['video']}\n  {result['report']}"
            )
        else:
            print(f"{result['id']}: {result['status']}; what there is lies in {result['path']}")
