"""``memreel doctor``: what is there, what is missing, how to get it."""

from __future__ import annotations

import typer

from memreel.commands.terminal import Config, Settings, console, overrides


def doctor(config: Config = "sketch", settings: Settings = None) -> None:
    """Check that everything a run needs is here; name the command for what is not."""
    from memreel.configs import load_config
    from memreel.doctor import examine

    screen = console()
    missing = 0
    for finding in examine(load_config(config, overrides(settings, None))):
        mark, style = ("ok", "green") if finding.ok else ("missing", "red") if finding.needed else ("unset", "yellow")
        missing += not finding.ok and finding.needed
        line = f"{mark:8}{finding.name:18}"
        screen.print(line, style=style, end="", markup=False, highlight=False)
        cure = f"\n{'':26}→ {finding.cure}" if not finding.ok and finding.cure else ""
        screen.print(finding.detail + cure, markup=False, highlight=False, soft_wrap=True)
    if missing:
        raise typer.Exit(1)
