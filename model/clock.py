"""Moments of a device's work, marked without waiting for it and read later, and work that runs beside other work.

On a GPU a mark is an event in the current stream, so the time between two is the device's own; on a CPU, where work is
done when it is called for, it is the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

Mark = float | torch.cuda.Event
SIDES = 8
"""Queues of a GPU for work beside other work."""


def on_gpu(device: str | torch.device) -> bool:
    """Tell whether a device runs what it is given later, in streams."""
    return torch.device(device).type == "cuda"


def mark(device: str | torch.device) -> Mark:
    """Mark this moment of the device's current stream."""
    if not on_gpu(device):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def reach(moment: Mark) -> None:
    """Wait until the device has come to a moment."""
    if not isinstance(moment, float):
        moment.synchronize()


def seconds(earlier: Mark, later: Mark) -> float:
    """Return the seconds between two moments of one device that it has come to."""
    if isinstance(earlier, float) or isinstance(later, float):
        assert isinstance(earlier, float)
        assert isinstance(later, float)
        return later - earlier
    return float(earlier.elapsed_time(later)) / 1000


@lru_cache(maxsize=8)
def _sides(device: torch.device) -> tuple[torch.cuda.Stream, ...]:
    return tuple(torch.cuda.Stream(device) for _ in range(SIDES))


@contextmanager
def beside(device: torch.device, number: int, since: Mark) -> Iterator[None]:
    """Give a GPU what is called here to do beside other work, from a moment on; on a CPU it is done at once.

    Args:
        device: the device.
        number: which of its `SIDES` queues for such work is used.
        since: what must be over before.
    """
    if isinstance(since, float):
        yield
        return
    stream = _sides(device)[number]
    stream.wait_event(since)
    with torch.cuda.stream(stream):
        yield


def together(device: torch.device, count: int) -> None:
    """Let what comes next wait for the first ``count`` queues of work that runs beside."""
    if on_gpu(device):
        for stream in _sides(device)[:count]:
            torch.cuda.current_stream(device).wait_stream(stream)
