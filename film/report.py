"""placeholder"""

from __future__ import annotations

from memreel.output.run_folder import RunFolder


def write_film_report(folder: RunFolder) -> None:
    """Nothing."""
