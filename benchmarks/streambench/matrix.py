"""Measures a stream in every combination of settings, each in a process of its own, within a budget of time.

What is most worth knowing comes first. A report is printed as soon as it is there; a combination that fails, however
it dies, leaves a line that says so, and the next one begins.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

CELLS = [
    {"precision": precision, "speed": speed, "codec": codec, "local": local}
    for codec, local in (("tiny", 6), ("wan", 6), ("tiny", 3), ("wan", 3))
    for speed in ("graphs", "compile", "eager")
    for precision in ("bf16", "fp8")
]
"""Settings of ``model.wan``. With sink, memory and the current chunk, a local window of 6 makes 15 latent frames."""
ENOUGH = 15.0
"""Seconds left below which no further combination is begun."""


def cells(shared: Sequence[str], budget: float, cap: float) -> Iterator[dict[str, Any]]:
    """Yield a report for each combination.

    Args:
        shared: arguments that all have in common.
        budget: seconds for everything; what does not fit any more is reported as not measured.
        cap: seconds for one combination.
    """
    ends = time.monotonic() + budget
    for cell in CELLS:
        left = ends - time.monotonic()
        if left < ENOUGH:
            yield _failed(cell, "not measured: the budget was spent")
        else:
            yield _measured(cell, shared, min(left, cap))


def _measured(cell: dict[str, Any], shared: Sequence[str], seconds: float) -> dict[str, Any]:
    settings = [part for key, value in cell.items() for part in ("--set", f"model.wan.{key}={value}")]
    command = [sys.executable, "-m", "memreel.benchmarks.stream", *shared, *settings, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return _failed(cell, f"took longer than {seconds:.0f} s")
    try:
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return _failed(cell, f"status {done.returncode}: {said[-1] if said else 'no word'}", said[-30:])
    return report


def _failed(cell: dict[str, Any], error: str, said: Sequence[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {"error": error, "settings": {"sink": 3, "memory": 3, **cell}}
    return found | ({"stderr": list(said)} if said else {})
