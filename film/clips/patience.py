"""How long a provider is waited for, how often it is asked again, and when it is left alone for a while.

Retries are tenacity's, the breaker is fluxgate's; here stand their settings, and what memreel adds: a provider that
says how long it wants to be left alone is obeyed, and a breaker may be asked from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fluxgate import CircuitBreaker
from fluxgate.errors import CallNotPermittedError
from fluxgate.permits import All
from fluxgate.retries import Cooldown
from fluxgate.trackers import TypeOf
from fluxgate.trippers import Closed, FailureRate, HalfOpened, MinRequests
from fluxgate.windows import CountWindow
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from memreel.film.clips.wire import Throttled, Unavailable, WireError

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Times in seconds and counts, by default those of the film's plan.

    A task is created in ``tries``, the first pause being ``pause`` and doubling, each with a random part; a provider
    that asks for more than ``longest_pause`` is passed over instead. A task is looked at every ``poll`` for at most
    ``deadline``, which the breaker does not count. The breaker opens when half of the last ``window`` requests failed
    (``least`` at least), and lets one through after ``cool``. ``request`` is one HTTP request's timeout; at most
    ``in_flight`` clips are being made at once.
    """

    tries: int = 3
    pause: float = 1.0
    longest_pause: float = 60.0
    poll: float = 5.0
    deadline: float = 600.0
    request: float = 60.0
    window: int = 10
    least: int = 4
    cool: float = 30.0
    in_flight: int = 3

    def retrying(self, before_sleep: Callable[[RetryCallState], None]) -> Retrying:
        """Return the loop in which a request is tried: again if the provider is throttling or unavailable."""
        backoff = wait_exponential_jitter(initial=self.pause, exp_base=2, jitter=self.pause, max=self.longest_pause)

        def wait(state: RetryCallState) -> float:
            return max(backoff(state), asked_pause(state) or 0.0)

        def stop(state: RetryCallState) -> bool:
            return stop_after_attempt(self.tries)(state) or (asked_pause(state) or 0.0) > self.longest_pause

        return Retrying(
            retry=retry_if_exception_type((Throttled, Unavailable)),
            wait=wait,
            stop=stop,
            before_sleep=before_sleep,
            reraise=True,
        )


def asked_pause(state: RetryCallState) -> float | None:
    """Return the pause that the provider asked for in its last answer."""
    error = state.outcome.exception() if state.outcome else None
    return error.after if isinstance(error, Throttled) else None


class Tripped(WireError):
    """The breaker is open: the provider is not asked now."""


class Breaker:
    """Keeps requests from a provider that fails; one per provider and process.

    Requests under it go one after another, so that the one that probes a recovering provider is alone.
    """

    def __init__(self, patience: Patience) -> None:
        """Begin closed: requests go through."""
        failing = FailureRate(0.5)
        self._lock = threading.Lock()
        self._circuit = CircuitBreaker(
            window=CountWindow(patience.window),
            tracker=TypeOf(Unavailable),
            tripper=(Closed() & MinRequests(patience.least) & failing) | (HalfOpened() & failing),
            retry=Cooldown(patience.cool),
            permit=All(),
        )

    @property
    def open(self) -> bool:
        """Whether requests are being kept back."""
        return self._circuit.info().state == "open"

    def call(self, send: Callable[[], T]) -> T:
        """Send a request through the breaker.

        Raises:
            Tripped: the breaker is open; nothing was sent.
            WireError: as ``send``.
        """
        with self._lock:
            try:
                return self._circuit.call(send)
            except CallNotPermittedError:
                raise Tripped("it has been failing and is left alone for a while") from None

    def failed(self) -> None:
        """Count a task that the provider took and then failed at."""

        def fail() -> None:
            raise Unavailable("a task failed")

        with self._lock:
            try:
                self._circuit.call(fail)
            except (Unavailable, CallNotPermittedError):
                return
