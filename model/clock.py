"""Moments of a device's work, marked without waiting for it and read later.

On a GPU a mark is an event in the current stream, so the time between two is the device's own; on a CPU, where work is
done when it is called for, it is the wall clock.
"""

from __future__ import annotations

import time

import torch

Mark = float | torch.cuda.Event


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
