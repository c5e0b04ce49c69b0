"""Waiting for what may never come: a wait ends with its time, or at once when the process is told to end.

Ctrl-C reaches the main thread alone, while answers are waited for in the threads of nodes; `ENDING` tells them.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

ENDING = threading.Event()
"""Set while the process ends at once: nobody waits any more."""
GLANCE_S = 0.1


def result_of(answer: Future[T], seconds: float) -> T:
    """Return the result of ``answer``, waiting for it so many seconds.

    Raises:
        TimeoutError: it has not come by then.
        KeyboardInterrupt: the process ends.
    """
    deadline = time.monotonic() + seconds
    while not answer.done():
        if ENDING.is_set():
            raise KeyboardInterrupt
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        wait([answer], min(GLANCE_S, left))
    return answer.result()


def pause(seconds: float) -> None:
    """Do nothing for so many seconds.

    Raises:
        KeyboardInterrupt: the process ends.
    """
    if ENDING.wait(seconds):
        raise KeyboardInterrupt
