"""What the commands share on the terminal: common options, the console, lines to stderr.

Results go to stdout, everything on the way there to stderr. This module knows no command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from memreel.errors import MemreelError

Config = Annotated[str, typer.Option("--config", "-c", help="Preset name or YAML file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; may be repeated.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the noise; the same seed repeats a video.")]
Json = Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")]
Runs = Annotated[Path, typer.Argument(metavar="RUN", help="A video's folder, or the --out folder.")]


def overrides(settings: list[str] | None, seed: int | None) -> list[str]:
    """Return all settings as ``key=value``; ``--seed`` is one of them and comes last."""
    return [*(settings or ()), *([] if seed is None else [f"seed={seed}"])]


def console(stderr: bool = False, plain: bool = False) -> Console:
    """Return the terminal to print tables and displays on; a plain one gets lines, and no display that moves."""
    from rich.console import Console

    return Console(stderr=stderr, force_terminal=False if plain else None)


def say(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr)


def one_line(error: MemreelError) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split())
