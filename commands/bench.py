"""``memreel bench``: what memreel does, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memreel.commands.terminal import Config, Json, Settings
from memreel.world.palette import HeldOut

bench = typer.Typer(help="Measure what memreel does; parts and figures are described in docs/benchmarks.md.")


@bench.command("recall")
def bench_recall(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the account.")] = Path("runs/recall"),
    config: Config = "sketch",
    settings: Settings = None,
    full: Annotated[bool, typer.Option("--full", help="All 240 scripts instead of 20.")] = False,
    scripts: Annotated[int | None, typer.Option(help="Another number of scripts.")] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Comma-separated, such as identity,identity+enrich,none; all if not given.")
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="Add gold IDs, fewer frames, altered memory.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scripts.")] = 0,
    held_out: Annotated[HeldOut, typer.Option("--held-out", help="Words that training never saw.")] = "nothing",
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A chat model that sees reads the pictures, or nobody.")
    ] = None,
    crops: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="DETECTOR ENCODER", help="Folders of checkpoints: tell people by their crops as well."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes, on the machine's GPUs by turns.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so long, with an account of the finished scripts.")
    ] = None,
    json_: Json = False,
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
        judge=judge,
        crops=crops,
        jobs=jobs,
        seconds=seconds,
        as_json=json_,
    )
