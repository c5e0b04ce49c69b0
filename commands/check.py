"""``memreel check``: is a run folder what was written there?"""

from __future__ import annotations

import typer

from memreel.commands.terminal import Runs


def check(path: Runs) -> None:
    """Compare everything in runs with its checksums: latents, video, memory, states, final files; name what differs."""
    from memreel.graph.integrity import damages
    from memreel.output.run_folder import run_folders

    found = 0
    for folder in run_folders(path):
        lines = list(damages(folder))
        found += len(lines)
        print("\n".join([f"{folder.path.name}: {'damaged' if lines else 'whole'}", *(f"  {line}" for line in lines)]))
    if found:
        raise typer.Exit(1)
