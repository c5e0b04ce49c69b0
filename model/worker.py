"""The one thread on which models compute, whoever asks.

Each thread that computes on a CPU gets its own team of helper threads from OpenMP, and once there are more of them than
processors they no longer wait for work awake, so that every small operation pays for waking them up (libgomp,
``GOMP_SPINCOUNT``). On a GPU one thread also keeps the order of the launches. What computes is therefore marked
``@on_model_thread``; within that thread a marked function is called as any other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
_here = threading.local()


def on_model_thread(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make ``work`` run on the models' thread; the caller waits for its result or its error."""

    @wraps(work)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        if getattr(_here, "computes", False):
            return work(*args, **kwargs)
        return _thread.submit(lambda: _compute(work, *args, **kwargs)).result()

    return call


@on_model_thread
def compute_threads() -> int:
    """Return by how many threads models compute on a CPU: PyTorch keeps that number for each thread by itself."""
    return torch.get_num_threads()


def _compute(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    _here.computes = True
    return work(*args, **kwargs)


def _start_again() -> None:
    """Give a forked process its own thread: that of its parent is not there."""
    global _thread, _here
    _thread, _here = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model"), threading.local()


os.register_at_fork(after_in_child=_start_again)
