"""Shares the benchmark's takes among processes, each with the video model loaded once.

Every process computes by one thread and has a GPU of its own choice by turns, if the model runs on GPUs. Work is handed
out one take at a time and in order, so that a run that is stopped leaves whole scripts. A process that dies (killed for
memory, say) gives its take back to the others, which go on without it. Knows nothing of what a take is about.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from memreel.errors import MemreelError, ModelError

Task = TypeVar("Task")
Result = TypeVar("Result")
TRIES = 2
"""Processes that may die of one task before the run is given up."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What libraries read when they are loaded: later they may have made their threads already."""


@dataclass
class _Hand(Generic[Task]):
    """One process, its end of the line, and what it is at work on."""

    process: SpawnProcess
    line: Connection
    task: Task | None = None


def share(
    work: Callable[[int, Task], Result], tasks: Sequence[Task], jobs: int, until: float | None = None
) -> Iterator[Result]:
    """Do every task and give the results as they come, in whatever order.

    Args:
        work: is called in a process with that process's number, from 0, and a task; an importable function.
        tasks: what to do, in the order in which it is begun.
        jobs: processes; never more than there are tasks.
        until: moment of `time.monotonic` at which everything stops; what is unfinished then is not given.

    Raises:
        MemreelError: the first that ``work`` raises.
        ModelError: a task was given to several processes that died, or none is left.
    """
    waiting, dead = deque(tasks), dict[int, int]()
    with _environment(ONE_THREAD):
        hands = [_begin(work, number) for number in range(min(jobs, len(waiting)))]
    try:
        for hand in hands:
            _give(hand, waiting)
        while busy := {hand.line: hand for hand in hands if hand.task is not None}:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            for line in wait(list(busy), left):
                hand = busy[line]  # type: ignore[index]
                try:
                    told = hand.line.recv()
                except (EOFError, OSError):
                    told = None
                if told is None:
                    _bury(hand, hands, waiting, dead)
                elif isinstance(told, MemreelError):
                    raise told
                else:
                    _give(hand, waiting)
                    yield told
            for hand in hands:
                if hand.task is None and waiting:
                    _give(hand, waiting)
    finally:
        for hand in hands:
            hand.process.terminate()
        for hand in hands:
            hand.process.join()
            hand.line.close()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Let processes that are started meanwhile find these variables."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(work: Callable[[int, Any], Any], number: int) -> _Hand[Any]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_labour, args=(theirs, work, number), name=f"takes-{number}", daemon=True)
    process.start()
    theirs.close()
    return _Hand(process, ours)


def _give(hand: _Hand[Any], waiting: deque[Any]) -> None:
    hand.task = waiting.popleft() if waiting else None
    if hand.task is not None:
        with suppress(OSError):  # it is dead, which its line tells when it is listened to
            hand.line.send(hand.task)


def _bury(hand: _Hand[Any], hands: list[_Hand[Any]], waiting: deque[Any], dead: dict[int, int]) -> None:
    """Take a dead process out, and put its task first in the row again."""
    hand.process.join()
    hands.remove(hand)
    hand.line.close()
    lost = hand.task
    dead[id(lost)] = dead.get(id(lost), 0) + 1
    how = f"status {hand.process.exitcode}" + (", perhaps for lack of memory" if hand.process.exitcode == -9 else "")
    if dead[id(lost)] >= TRIES or not hands:
        raise ModelError(
            f"a process of the benchmark died ({how}) and no other could do its work; the same command goes on from "
            "here, with fewer --jobs if memory was short"
        )
    waiting.appendleft(lost)


def _labour(line: Connection, work: Callable[[int, Any], Any], number: int) -> None:
    """Do what comes over the line until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who shares the work
    while True:
        try:
            task = line.recv()
        except EOFError:
            return
        try:
            told = work(number, task)
        except MemreelError as error:
            told = error
        try:
            line.send(told)
        except OSError:
            return
