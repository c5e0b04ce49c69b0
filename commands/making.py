"""Making videos for a command: what is refused before, the display while it goes, what became of each after.

Shared by every command that renders. Heavy modules are imported inside the functions.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from memreel.agent.waiting import ENDING
from memreel.commands.terminal import console, one_line, say
from memreel.errors import MemreelError, UserError

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from memreel.configs import RunConfig
    from memreel.graph.render import Rendered
    from memreel.graph.stream import LiveStream
    from memreel.output.progress import RunProgress
    from memreel.script import Script

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def require_free(script: Script, out: Path, config: RunConfig, force: bool) -> None:
    """Refuse a folder that cannot take the run, before anything is made."""
    from memreel.graph.same import require_same
    from memreel.output.run_folder import RunFolder

    folder = RunFolder(out / script.video_id)
    folder.require_free()
    if force or not folder.exists():
        return
    if folder.complete():
        raise UserError(f"{folder.path} already holds a finished run; choose another --out, or --force to replace it")
    require_same(folder, config, prompts=script.prompts)


def require_usable(config: RunConfig) -> None:
    """Load what the runs will use, so that settings that cannot work are refused before anything is made."""
    import memreel.model
    from memreel.agent.reading import prompt_reader

    model = memreel.model.load(config.model)
    prompt_reader(config.agent)
    if config.memory.slots > model.memory_slots:
        raise UserError(
            f"memory.slots={config.memory.slots}: {model.name} attends to {model.memory_slots} memory frames at most; "
            f"set it to {model.memory_slots} or less"
        )


@dataclass(frozen=True)
class Job:
    """A video to make: its script, the folder that its run folder lies in, its configuration, whether to start over.

    ``live`` is the stream if it is a live one.
    """

    script: Script
    out: Path
    config: RunConfig
    force: bool = False
    live: LiveStream | None = None

    def events(self) -> Iterator[Rendered]:
        """Make the video, yielding its events."""
        from memreel.graph.render import render

        if self.live is not None:
            return self.live.events()
        return render(self.script, self.out, self.config, resume=not self.force)


def make_all(jobs: Sequence[Job], as_json: bool) -> None:
    """Make videos one after the other, past failed ones; print what became of them and exit with the status."""
    began = time.perf_counter()
    results = []
    with stoppable() as stop:
        for job in jobs:
            results.append(make(job, stop, display(job, console(stderr=True))))
            if results[-1]["status"] == "interrupted":
                break
    conclude(results, time.perf_counter() - began, stop, as_json)


def conclude(results: Sequence[dict[str, Any]], seconds: float, stop: Sequence[int], as_json: bool) -> None:
    """Print what became of videos, and exit: 0 all done, 1 one failed, 130 or 143 stopped by a signal."""
    plays = sum(result["video_seconds"] for result in results)
    if as_json:
        summary = {"videos": list(results), "seconds": round(seconds, 3), "ratio": round(plays / seconds, 3)}
        print(json.dumps(summary, ensure_ascii=False))
    else:
        for result in results:
            _print(result)
    statuses = {result["status"] for result in results}
    if "interrupted" in statuses:
        raise typer.Exit(128 + (stop[0] if stop else signal.SIGINT))
    if statuses - {"done"}:
        raise typer.Exit(1)


def _print(result: dict[str, Any]) -> None:
    if result["status"] == "done":
        took = (
            f"in {result['seconds']:.1f} s ({result['ratio']:.2f}× real time)" if result["seconds"] else "made before"
        )
        print(f"{result['id']}: {result['video_seconds']:.1f} s of video {took}")
        print(f"  {result['video']}\n  {result['report']}")
    else:
        where = f"; what there is lies in {result['path']}" if Path(result["path"]).is_dir() else ""
        print(f"{result['id']}: {result['status']}{where}")


def display(job: Job, screen: Console) -> RunProgress:
    """Return the display of a job's making."""
    from memreel.output.progress import RunProgress

    return RunProgress(screen, job.script.video_id, None if job.live else len(job.script.prompts))


def make(job: Job, stop: Sequence[int], progress: RunProgress) -> dict[str, Any]:
    """Make one video; a model's or the disk's failure, or a signal in ``stop``, becomes the result's status."""
    script, path = job.script, job.out / job.script.video_id
    result: dict[str, Any] = {"id": script.video_id, "status": "failed", "path": str(path), "video_seconds": 0.0}
    with (
        outcome(result),
        progress,
    ):
        from memreel.graph.same import made_by
        from memreel.output.run_folder import RunFolder

        if not job.force and made_by(folder := RunFolder(path)):
            progress.catch_up(folder.read_events())
        with closing(job.events()) as events:  # type: ignore[type-var]
            for rendered in events:
                progress.update(rendered.event)
                if rendered.event["type"] == "done":
                    result |= _made(path, rendered.event)
                elif stop:
                    raise KeyboardInterrupt
    if result["video_seconds"]:
        result["ratio"] = round(result["video_seconds"] / result["seconds"], 3)
    return result


@contextmanager
def outcome(result: MutableMapping[str, Any]) -> Iterator[None]:
    """Time what is made in the block; a model's or the disk's failure, or a signal, becomes the result's status.

    Raises:
        UserError: as the block; it is the user's turn.
    """
    began = time.perf_counter()
    try:
        yield
    except UserError:
        raise
    except MemreelError as error:
        result["error"] = one_line(error)
        say(f"memreel: {result['id']}: {result['error']}")
    except KeyboardInterrupt:
        result["status"] = "interrupted"
    result["seconds"] = round(time.perf_counter() - began, 3)


def _made(path: Path, done: dict[str, Any]) -> dict[str, Any]:
    from memreel.output.run_folder import RunFolder

    folder = RunFolder(path)
    facts = folder.read_json(folder.run)
    return {
        "status": "done",
        "video": str(folder.video),
        "report": str(folder.report),
        "memory_bank": str(folder.memory_bank),
        "llm_agent": str(folder.llm_agent),
        "chunks": done["chunks"],
        "pictures": done["pictures"],
        "video_seconds": facts["video_seconds"],
        "seed": facts["seed"],
        "reader": facts["reader"],
    }


@contextmanager
def stoppable(step: str = "chunk") -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM be noted in the list given, to stop after the step; the second one strikes."""
    stop: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if stop:
            ENDING.set()
            raise KeyboardInterrupt
        stop.append(number)
        say(f"memreel: stopping after this {step}, the same command goes on from there (Ctrl-C again: at once)")

    earlier = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        ENDING.clear()
