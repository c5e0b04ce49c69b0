"""The command line: ``memreel run | show | report | doctor``.

Reads options, asks the library, prints. Results go to stdout, everything on the way there to stderr. Exit status: 0
done, 1 the run failed, 2 the user's input or configuration is wrong (one line, no traceback), 130 interrupted (Ctrl-C),
143 terminated (SIGTERM). Heavy modules are imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memreel.errors import MemreelError, UserError

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from memreel.configs import RunConfig
    from memreel.output.record import RunRecord
    from memreel.script import Script

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

app = typer.Typer(
    name="memreel",
    help="Long videos whose people and things stay themselves: an agent, an entity memory, a streaming video model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="memreel", standalone_mode=False)
    except UsageError as error:
        text = error.format_message()  # type: ignore[attr-defined]
        if text:  # without one, the help has just been printed
            _say(f"memreel: {text} (try memreel --help)")
        return 2
    except MemreelError as error:
        _say(f"memreel: {_one_line(error)}")
        return error.exit_status
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status in (INTERRUPTED, TERMINATED):
        _say(f"memreel: {'interrupted' if status == INTERRUPTED else 'terminated'}")
    return status if isinstance(status, int) else 0


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"memreel {version('memreel')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    script: Annotated[str, typer.Argument(help="Script: .jsonl (a line a video), .txt (a line a prompt), - (stdin).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the videos; each gets a folder of its own.")],
    config: Annotated[str, typer.Option("--config", "-c", help="Preset name or YAML file.")] = "sketch",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the noise; the same seed repeats a video.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, replacing the runs that lie in --out.")] = False,
) -> None:
    """Make the videos of a script; unfinished runs of it are continued after their last finished chunk."""
    import time

    from memreel.configs import load_config
    from memreel.script import read_scripts

    began = time.perf_counter()
    scripts = read_scripts(script)
    overrides = [*(settings or ()), *([] if seed is None else [f"seed={seed}"])]
    run_config = load_config(config, overrides)
    for video in scripts:
        _require_free(video, out, run_config, force)
    _require_usable(run_config)

    results = []
    with _stoppable() as stop:
        for video in scripts:
            results.append(_make(video, out, run_config, force, stop))
            if results[-1]["status"] == "interrupted":
                break
    failed = [result for result in results if result["status"] != "done"]
    seconds = time.perf_counter() - began
    plays = sum(result["video_seconds"] for result in results)
    if json_:
        import json

        summary = {"videos": results, "seconds": round(seconds, 3), "ratio": round(plays / seconds, 3)}
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _print_results(results)
    if failed:
        stopped = 128 + (stop[0] if stop else signal.SIGINT)
        raise typer.Exit(stopped if failed[-1]["status"] == "interrupted" else 1)


def _require_free(script: Script, out: Path, config: RunConfig, force: bool) -> None:
    """Refuse a folder that cannot take the run, before anything is made."""
    from memreel.graph.same import require_same
    from memreel.output.run_folder import RunFolder

    folder = RunFolder(out / script.video_id)
    folder.require_free()
    if force or not folder.exists():
        return
    if folder.finished() and folder.report.exists():
        raise UserError(f"{folder.path} already holds a finished run; choose another --out, or --force to replace it")
    require_same(folder, config, prompts=script.prompts)


def _require_usable(config: RunConfig) -> None:
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


def _make(script: Script, out: Path, config: RunConfig, force: bool, stop: list[int]) -> dict[str, Any]:
    """Make one video; a model's or the disk's failure, or a signal in ``stop``, becomes the result's status."""
    import time

    from memreel.output.progress import RunProgress

    path = out / script.video_id
    result: dict[str, Any] = {"id": script.video_id, "status": "failed", "path": str(path), "video_seconds": 0.0}
    began = time.perf_counter()
    try:
        with RunProgress(_console(stderr=True), script.video_id, len(script.prompts)) as progress:
            from memreel.graph.render import render
            from memreel.graph.same import made_by
            from memreel.output.run_folder import RunFolder

            if not force and made_by(folder := RunFolder(path)):
                progress.catch_up(folder.read_events())
            with closing(render(script, out, config, resume=not force)) as events:  # type: ignore[type-var]
                for rendered in events:
                    progress.update(rendered.event)
                    if rendered.event["type"] == "done":
                        result |= _made(path, rendered.event)
                    elif stop:
                        raise KeyboardInterrupt
    except UserError:
        raise
    except MemreelError as error:
        result["error"] = _one_line(error)
        _say(f"memreel: {script.video_id}: {result['error']}")
    except KeyboardInterrupt:
        result["status"] = "interrupted"
    result["seconds"] = round(time.perf_counter() - began, 3)
    if result["video_seconds"]:
        result["ratio"] = round(result["video_seconds"] / result["seconds"], 3)
    return result


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
def _stoppable() -> Iterator[list[int]]:
    """Let the first Ctrl-C or SIGTERM be noted in the list given, to stop after the chunk; the second one strikes."""
    stop: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(number)
        _say("memreel: stopping after this chunk, the same command goes on from there (Ctrl-C again: at once)")

    earlier = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _print_results(results: Sequence[dict[str, Any]]) -> None:
    for result in results:
        if result["status"] == "done":
            print(
                f"{result['id']}: {result['video_seconds']:.1f} s of video in {result['seconds']:.1f} s "
                f"({result['ratio']:.2f}× real time)\n  {result['video']}\n  {result['report']}"
            )
        else:
            print(f"{result['id']}: {result['status']}; what there is lies in {result['path']}")


@app.command()
def show(path: Annotated[Path, typer.Argument(metavar="RUN", help="A video's folder, or the --out folder.")]) -> None:
    """Print the cast and the memory of finished or unfinished runs."""
    from memreel.output.record import read_record
    from memreel.output.run_folder import run_folders

    console = _console()
    for folder in run_folders(path):
        record = read_record(folder)
        state = "finished" if record.finished else "not finished"
        console.print(
            f"{record.video_id}: {len(record.prompts)} prompts, {len(record.chunks)} chunks, {state}",
            style="bold",
            markup=False,
            highlight=False,
        )
        _print_cast(console, record)
        _print_memory(console, record)


def _print_cast(console: Console, record: RunRecord) -> None:
    from rich.table import Table
    from rich.text import Text

    from memreel.output.progress import cast_colour

    table = Table("ID", "Name", "Kind", "Attributes", "Prompts", title="Cast", title_justify="left")
    for member in record.cast.values():
        table.add_row(
            str(member.global_id),
            Text(member.name, style=cast_colour(member.global_id)),
            member.kind,
            Text(", ".join(member.attrs)),
            ", ".join(map(str, member.prompt_ids)),
        )
    console.print(table)


def _print_memory(console: Console, record: RunRecord) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("Frame", "Prompt", "Chunk", "Shows (score)", "In memory", title="Memory", title_justify="left")
    for frame in record.frames.values():
        if frame.stored or not record.finished:
            names = [
                f"{record.cast[i].name} {score:.2f}"
                for i, score in sorted(frame.scores.items(), key=lambda item: -item[1])
                if i in record.cast
            ]
            table.add_row(
                frame.frame_id,
                str(frame.prompt_id),
                str(frame.chunk_id),
                Text(", ".join(names)),
                "yes" if frame.frame_id in record.memory else "",
            )
    console.print(table)


@app.command()
def report(path: Annotated[Path, typer.Argument(metavar="RUN", help="A video's folder, or the --out folder.")]) -> None:
    """Build report.html again from what lies in the run folder."""
    from memreel.output.report import write_report
    from memreel.output.run_folder import run_folders

    for folder in run_folders(path):
        print(write_report(folder))


@app.command()
def doctor() -> None:
    """Check that everything a run needs is here; name the command for what is not."""
    from memreel.doctor import examine

    console = _console()
    missing = 0
    for finding in examine():
        mark, style = ("ok", "green") if finding.ok else ("missing", "red") if finding.needed else ("unset", "yellow")
        missing += not finding.ok and finding.needed
        line = f"{mark:8}{finding.name:18}"
        console.print(line, style=style, end="", markup=False, highlight=False)
        cure = f"\n{'':26}→ {finding.cure}" if not finding.ok and finding.cure else ""
        console.print(finding.detail + cure, markup=False, highlight=False, soft_wrap=True)
    if missing:
        raise typer.Exit(1)


bench = typer.Typer(help="Measure what memreel does; parts and figures are described in docs/benchmarks.md.")
app.add_typer(bench, name="bench", no_args_is_help=True)


@bench.command("recall")
def bench_recall(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the account.")] = Path("runs/recall"),
    config: Annotated[str, typer.Option("--config", "-c", help="Preset name or YAML file.")] = "sketch",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; may be repeated.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All 240 scripts instead of 20.")] = False,
    scripts: Annotated[int | None, typer.Option(help="Another number of scripts.")] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Comma-separated, such as identity,identity+enrich,none; all if not given.")
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Add gold IDs, fewer frames, altered memory.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scripts.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Names and colour words unseen in training.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")] = False,
) -> None:
    """Measure whether people who come back are themselves, strategy by strategy."""
    from memreel.benchmarks.recall import command

    command(
        out,
        config,
        settings or (),
        full=full,
        scripts=scripts,
        strategies=strategies,
        controls=controls,
        seed=seed,
        held_out=held_out,
        jobs=jobs,
        as_json=json_,
    )


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _one_line(error: MemreelError) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
