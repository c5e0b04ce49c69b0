"""``memreel report``: the page is built again."""

from __future__ import annotations

from memreel.commands.terminal import Runs


def report(path: Runs) -> None:
    """Build report.html again from what lies in the run folder."""
    from memreel.output.report import write_report
    from memreel.output.run_folder import run_folders

    for folder in run_folders(path):
        print(write_report(folder))
