"""``memreel batch``: many scripts, several at a time, past failures; what is unfinished is gone on with.

All streams of a batch run in this process and share one model; each has its own cache and random state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memreel.commands.making import Job, conclude, display, make, require_free, require_usable, stoppable
from memreel.commands.terminal import Config, Json, Seed, Settings, console, one_line, overrides, say
from memreel.errors import UserError

if TYPE_CHECKING:
    from memreel.configs import RunConfig


def batch(
    paths: Annotated[list[str], typer.Argument(metavar="PATHS…", help="Scripts: .jsonl or .txt; a folder's scripts.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the videos; each gets a folder of its own.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Videos made at a time, on one model.")] = 1,
    config: Config = "sketch",
    settings: Settings = None,
    seed: Seed = None,
    json_: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, replacing the runs that lie in --out.")] = False,
) -> None:
    """Make the videos of many scripts; finished ones are left alone, unfinished ones gone on with, failed ones told."""
    from memreel.configs import load_config

    began = time.perf_counter()
    run_config = load_config(config, overrides(settings, seed))
    require_usable(run_config)
    todo, results = _sorted_out(paths, out, run_config, force)
    screen, told = console(stderr=True, plain=True), threading.Lock()

    def work(job: Job) -> dict[str, Any]:
        if stop:
            name = job.script.video_id
            return {"id": name, "status": "interrupted", "path": str(job.out / name), "video_seconds": 0.0}
        try:
            result = make(job, stop, display(job, screen))
        except UserError as error:  # another process took the folder, say; the others go on
            result = _refused(job.script.video_id, job.out / job.script.video_id, error)
        with told:
            say(f"memreel: {job.script.video_id}: {result['status']}")
        return result

    with stoppable() as stop, ThreadPoolExecutor(jobs, "video") as pool:
        futures = [pool.submit(work, job) for job in todo]
        while not all(future.done() for future in futures):  # rather than result(), which would hold signals up
            time.sleep(0.05)
        results += [future.result() for future in futures]
    conclude(results, time.perf_counter() - began, stop, json_)


def _sorted_out(
    paths: Sequence[str], out: Path, config: RunConfig, force: bool
) -> tuple[list[Job], list[dict[str, Any]]]:
    """Return what is to be made, and the results of what is not: finished before, or refused."""
    from memreel.graph.same import require_same
    from memreel.output.run_folder import RunFolder
    from memreel.script import Script, read_scripts

    todo: dict[str, Job] = {}
    results = []
    for path in _scripts(paths):
        scripts: list[Script] = []
        try:
            scripts = read_scripts(path)
        except UserError as error:
            results.append(_refused(Path(path).stem, Path(path), error))
        for script in scripts:
            folder = RunFolder(out / script.video_id)
            try:
                if script.video_id in todo:
                    raise UserError(
                        f"{path}: a video named {script.video_id} is in this batch already; rename the file"
                    )
                if not force and folder.complete():
                    require_same(folder, config, prompts=script.prompts)
                    facts = folder.read_json(folder.run)
                    done = {"status": "done", "video": str(folder.video), "video_seconds": facts["video_seconds"]}
                    results.append(_result(script.video_id, folder.path, report=str(folder.report), **done))
                    continue
                require_free(script, out, config, force)
            except UserError as error:
                results.append(_refused(script.video_id, folder.path, error))
            else:
                todo[script.video_id] = Job(script, out, config, force)
    return list(todo.values()), results


def _scripts(paths: Sequence[str]) -> list[str]:
    """Return the scripts' paths; a folder stands for those directly in it."""
    found: list[str] = []
    for path in paths:
        folder = Path(path)
        if folder.is_dir():
            inside = sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in (".jsonl", ".txt"))
            if not inside:
                raise UserError(f"{path}: no .jsonl or .txt script in this folder")
            found += inside
        else:
            found.append(path)
    return found


def _result(name: str, path: Path, **facts: Any) -> dict[str, Any]:
    return {"id": name, "path": str(path), "seconds": 0.0, "ratio": 0.0, "video_seconds": 0.0, **facts}


def _refused(name: str, path: Path, error: UserError) -> dict[str, Any]:
    say(f"memreel: {one_line(error)}")
    return _result(name, path, status="failed", error=one_line(error))
