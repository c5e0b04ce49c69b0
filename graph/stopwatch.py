"""Seconds by stage: what a video's work has taken since its last event, and in all. Knows nothing of the stages."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping


class Stopwatch:
    """Adds up seconds under the names of stages."""

    def __init__(self) -> None:
        """Begin with nothing spent."""
        self.totals: Counter[str] = Counter()
        """Seconds of all laps so far, by stage."""
        self._lap: dict[str, float] = {}

    def spend(self, seconds: Mapping[str, float]) -> None:
        """Add seconds, by stage, to the present lap."""
        for stage, more in seconds.items():
            self._lap[stage] = self._lap.get(stage, 0.0) + more

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add what the block takes to the present lap."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spend({stage: time.perf_counter() - began})

    def lap(self) -> dict[str, float]:
        """End the present lap and return its seconds by stage, to the microsecond."""
        self.totals.update(self._lap)
        lap, self._lap = {stage: round(seconds, 6) for stage, seconds in self._lap.items()}, {}
        return lap
