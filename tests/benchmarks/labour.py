"""Work for the benchmark's processes, in a module that they can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from memreel.errors import UserError

Answer = tuple[int, int, str | None]


def double(process: int, number: int) -> Answer:
    """Return the process, twice the number and by how many threads libraries may compute."""
    return process, 2 * number, os.environ.get("OMP_NUM_THREADS")


def killed_once(process: int, trap: str) -> str:
    """Die by the system's hand where nobody has died before."""
    if trap and not Path(trap).exists():
        Path(trap).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return trap


def always_killed(process: int, number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refused(process: int, number: int) -> int:
    raise UserError(f"number {number} is wrong")


def endless(process: int, number: int) -> int:
    time.sleep(3600)
    return number
