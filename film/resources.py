"""What a film may use of the machine: estimates, what is admitted, what is done when memory runs short.

A job's need is estimated at 512 MB and 100 MB for each second of video until one was measured; jobs are ordered by
priority and admitted while their needs fit into 80 % of memory. A watch reads memory all the while: above 85 % idle
models are dropped and intermediates compressed; if it is above 95 % when read again, intermediates are offloaded and
nothing more is admitted until it is below 85 %, and a job that has waited too long for that fails. What "idle" or
"intermediate" means is the caller's `Relief`; how memory is read can be changed, so a limit may be set for a process
alone.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from memreel.errors import ModelError, UserError

MB = 1024.0 * 1024.0
BASE_MB, MB_PER_SECOND = 512.0, 100.0
SECONDS_PER_SECOND = 15.0
"""Seconds that a second of video takes to make, until one was measured."""
INTERVAL_S = 0.5
PATIENCE_S = 600.0
"""Seconds that a job waits for memory that others hold, at most."""
SETTLE = 0.5
"""How much a new measurement counts against the earlier ones."""
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Job:
    """A clip that is to be made: its playing time, how urgent, whether on this machine, on a GPU, at what quality."""

    key: str
    seconds: float
    priority: int = 0
    local: bool = True
    gpu: bool = False
    premium: bool = False


@dataclass(frozen=True)
class Need:
    """What a job takes: memory in MB, share of the GPU, processor cores, seconds by the clock."""

    memory_mb: float
    gpu: float
    cpu: float
    wall_seconds: float


@dataclass(frozen=True)
class Limits:
    """How much there is, and the shares of memory at which something happens."""

    memory_mb: float
    admit: float = 0.8
    relieve: float = 0.85
    stop: float = 0.95
    gpu: float = 1.0
    cpu: float = float(os.cpu_count() or 1)


class Relief:
    """What can be let go of when memory runs short; each does what it can and may be called at any time."""

    def drop_idle_models(self) -> None:
        """Let go of models that nothing uses; they are loaded again when they are wanted."""

    def compress(self) -> None:
        """Keep intermediates in less memory."""

    def offload(self) -> None:
        """Let go of everything that lies on the disk as well: intermediates, and models between two uses."""


class Estimates:
    """What jobs take: the rule of thumb until jobs of their kind were measured. Used by several threads."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self._memory: dict[bool, float] = {}
        self._speed: dict[bool, float] = {}

    def need(self, job: Job) -> Need:
        """Return what a job is expected to take."""
        memory = self._memory.get(job.local, BASE_MB + MB_PER_SECOND * job.seconds)
        speed = self._speed.get(job.local, SECONDS_PER_SECOND)
        gpu = (1.0 if job.premium else 0.5) if job.gpu else 0.0
        return Need(memory, gpu, 1.0 if job.local else 0.1, job.seconds * speed)

    def knows(self, job: Job) -> bool:
        """Tell whether a job of this kind has been measured."""
        return job.local in self._memory

    def measured(self, job: Job, memory_mb: float, wall_seconds: float) -> None:
        """Take what a job really took: memory as the most that was seen, time as a moving mean."""
        self._memory[job.local] = max(memory_mb, 1.0, SETTLE * self._memory.get(job.local, 0.0))
        speed = wall_seconds / job.seconds
        self._speed[job.local] = speed + (self._speed.get(job.local, speed) - speed) * (1 - SETTLE)


def batches(jobs: Sequence[Job], estimates: Estimates, limits: Limits) -> list[list[Job]]:
    """Return the jobs in the order and company in which they can be done: by priority, each batch within the limits."""
    out: list[list[Job]] = []
    used = Need(0.0, 0.0, 0.0, 0.0)
    for job in sorted(jobs, key=lambda job: (-job.priority, job.key)):
        need = estimates.need(job)
        fits = (
            used.memory_mb + need.memory_mb <= limits.admit * limits.memory_mb
            and used.gpu + need.gpu <= limits.gpu
            and used.cpu + need.cpu <= limits.cpu
        )
        if not out or not fits:
            out.append([])
            used = Need(0.0, 0.0, 0.0, 0.0)
        out[-1].append(job)
        used = Need(used.memory_mb + need.memory_mb, used.gpu + need.gpu, used.cpu + need.cpu, 0.0)
    return out


class Resources:
    """Admits jobs and watches memory while they run."""

    def __init__(
        self,
        limits: Limits,
        relief: Relief,
        emit: Callable[[dict[str, Any]], None],
        used_mb: Callable[[], float] | None = None,
        interval_s: float = INTERVAL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Watch ``used_mb`` (the machine's memory in use if not given) against ``limits``; say what is done.

        Memory is read every ``interval_s``; a job is kept waiting for it for ``patience_s`` at most.
        """
        self.limits, self.estimates = limits, Estimates()
        self._relief, self._emit = relief, emit
        self._used_mb = used_mb or machine_used_mb
        self._interval, self._patience = interval_s, patience_s
        self._running: dict[str, Need] = {}
        self._change = threading.Condition()
        self._stopped = self._high = False
        self._waiting = 0
        self._watch: threading.Thread | None = None
        self.peak_mb = 0.0

    @contextmanager
    def admitted(self, job: Job) -> Iterator[None]:
        """Wait until a job fits, keep its share while the block runs, measure what it took.

        Raises:
            UserError: it would not fit if it were alone.
            ModelError: memory stayed full for too long, whoever fills it.
        """
        need = self.estimates.need(job)
        room = self.limits.admit * self.limits.memory_mb
        if need.memory_mb > room:
            raise UserError(
                f"clip {job.key} of {job.seconds:g} s needs about {need.memory_mb:.0f} MB of memory, "
                f"{room:.0f} MB may be used: plan shorter scenes, or set film.memory_mb higher"
            )
        with self._change:
            self._waiting += 1
            try:
                need = self._when_it_fits(job, need)
            finally:
                self._waiting -= 1
            alone = not self._running
            self._running[job.key] = need
            self._look_after()
        before, began = process_used_mb(), time.perf_counter()
        self.peak_mb = max(self.peak_mb, before) if not alone else before
        try:
            yield
            if alone:
                self.peak_mb = max(self.peak_mb, process_used_mb())
                self.estimates.measured(job, self.peak_mb - before, time.perf_counter() - began)
        finally:
            with self._change:
                del self._running[job.key]
                self._change.notify_all()

    def _when_it_fits(self, job: Job, need: Need) -> Need:
        """Wait until a job fits and return what it needs by then. The lock is held."""
        give_up_at = time.monotonic() + self._patience
        while self._stopped or (self._running and not self._fits(need)):
            if self._stopped and not self._running and time.monotonic() >= give_up_at:
                raise ModelError(
                    f"clip {job.key}: memory has been full for {self._patience:g} s, {self._share():.0%} of "
                    f"{self.limits.memory_mb:.0f} MB are in use: close what uses it, and the same command goes on"
                )
            self._look_after()
            self._change.wait(self._interval)
            need = self.estimates.need(job)
        return need

    @property
    def stopped(self) -> bool:
        """Whether nothing is admitted now."""
        return self._stopped

    def read(self) -> float:
        """Read memory once, relieve it where it has to be, and return the share in use (after that)."""
        share = self._share()
        if share > self.limits.relieve:
            self._relief.drop_idle_models()
            self._relief.compress()
            give_back()
            after = self._share()
            if not self._high:
                self._say("relieved", share, after)
            share = after
            self._high = share > self.limits.relieve
            if share > self.limits.stop:
                self._relief.offload()
                give_back()
                after = self._share()
                if not self._stopped:
                    self._say("stopped", share, after)
                self._stopped, share = True, after
        if self._stopped and share <= self.limits.relieve:
            self._stopped = False
            self._say("resumed", share, share)
            with self._change:
                self._change.notify_all()
        return share

    def _fits(self, need: Need) -> bool:
        running = self._running.values()
        return (
            sum(one.memory_mb for one in running) + need.memory_mb <= self.limits.admit * self.limits.memory_mb
            and sum(one.gpu for one in running) + need.gpu <= self.limits.gpu
            and sum(one.cpu for one in running) + need.cpu <= self.limits.cpu
        )

    def _share(self) -> float:
        self.peak_mb = max(self.peak_mb, process_used_mb())  # a job is measured by its own process, whoever else grows
        return self._used_mb() / self.limits.memory_mb

    def _say(self, what: str, before: float, after: float) -> None:
        self._emit(
            {"type": "resources", "did": what, "before": round(before, 3), "after": round(after, 3)}
            | {"memory_mb": round(self.limits.memory_mb)}
        )

    def _look_after(self) -> None:
        """Start the watch, if none runs; it ends with the last job that runs or waits. The lock is held."""
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._watching, name="memory-watch", daemon=True)
            self._watch.start()

    def _watching(self) -> None:
        while True:
            with self._change:
                if not self._running and not self._waiting:
                    self._watch = None
                    return
            self.read()
            with self._change:
                self._change.wait(self._interval)


def machine_mb() -> float:
    """Return the memory of this machine, or of the container it is, in MB."""
    total = float(psutil.virtual_memory().total)
    try:
        text = CGROUP.read_text().strip()
        return min(total, float(text)) / MB if text.isdigit() else total / MB
    except OSError:
        return total / MB


def machine_used_mb() -> float:
    """Return the machine's memory in use that cannot be given away, in MB."""
    memory = psutil.virtual_memory()
    return float(memory.total - memory.available) / MB


def process_used_mb() -> float:
    """Return this process's own memory, in MB."""
    return float(psutil.Process().memory_info().rss) / MB


def give_back() -> None:
    """Return freed memory to the system, where that can be asked for."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
