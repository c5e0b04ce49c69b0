"""``memreel show``: the cast and the memory of runs as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memreel.commands.terminal import Runs, console

if TYPE_CHECKING:
    from rich.console import Console

    from memreel.output.record import RunRecord


def show(path: Runs) -> None:
    """Print the cast and the memory of finished or unfinished runs."""
    from memreel.output.record import read_record
    from memreel.output.run_folder import run_folders

    screen = console()
    for folder in run_folders(path):
        record = read_record(folder)
        state = "finished" if record.finished else "not finished"
        screen.print(
            f"{record.video_id}: {len(record.prompts)} prompts, {len(record.chunks)} chunks, {state}",
            style="bold",
            markup=False,
            highlight=False,
        )
        _print_cast(screen, record)
        _print_memory(screen, record)


def _print_cast(screen: Console, record: RunRecord) -> None:
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
    screen.print(table)


def _print_memory(screen: Console, record: RunRecord) -> None:
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
    screen.print(table)
