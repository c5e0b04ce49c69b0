"""What a provider's adapter offers: start a task, look at it, cancel it, fetch what it made; and how that can fail.

Adapters put one fitted request into one SDK's words and SDK errors into the few kinds that the caller treats
differently. They neither wait nor retry nor count money: `hosted` does, the same way for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Literal, Protocol

from memreel.film.clips.fitting import Fitted, Painting

Progress = Literal["waiting", "running", "succeeded", "failed", "cancelled"]


class WireError(Exception):
    """Root of what can go wrong at a provider; never leaves `memreel.film.clips`."""


class Refused(WireError):
    """The provider will not do this: the request is at fault, asking again is no use."""


class KeyRefused(WireError):
    """The provider does not accept the key."""


class Gone(WireError):
    """What was asked for is not (or no longer) there: a task, or an address that has expired."""


class Unavailable(WireError):
    """The provider is at fault for now. ``maybe_taken``: a task may have been created all the same."""

    def __init__(self, message: str, maybe_taken: bool = False) -> None:
        super().__init__(message)
        self.maybe_taken = maybe_taken


class Throttled(WireError):
    """Too many requests; ``after`` is how many seconds the provider wants to be left alone, if it said so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class Task:
    """A task as it stands at the provider.

    ``usd`` and ``credits`` are the provider's own figure: the most it may charge while the task goes on, what it has
    charged once it has ended; ``None`` where it does not say. ``outputs`` are addresses, or ``data:`` URIs, of what was
    made; ``reason`` and ``code`` say why it failed, and ``fault`` whether the provider is at fault or the request.
    """

    task_id: str
    progress: Progress
    usd: float | None = None
    credits: float = 0.0
    outputs: tuple[str, ...] = ()
    code: str | None = None
    reason: str = ""
    fault: Literal["provider", "request"] = "provider"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.progress in ("succeeded", "failed", "cancelled")


class Wire(Protocol):
    """One provider's API. All methods raise `WireError` alone."""

    def start_clip(self, fitted: Fitted) -> Task:
        """Create a task that makes the clip."""

    def start_painting(self, painting: Painting, seed: int) -> Task:
        """Create a task that paints a first frame; asked only where the table names a painter."""

    def look(self, task_id: str) -> Task:
        """Say how a task stands, with fresh addresses if it has succeeded."""

    def cancel(self, task_id: str) -> None:
        """Ask for a task to be stopped."""

    def fetch(self, output: str, path: Path) -> None:
        """Download what a task made."""


def by_status(status: int, message: str, retry_after: str | None, creating: bool) -> WireError:
    """Return the error that an HTTP status stands for.

    500 and 503 are a server's own words that it did not take the request; 502 and 504 are a gateway's, which does not
    know.
    """
    if status in (401, 403):
        return KeyRefused(message)
    if status in (404, 410):
        return Gone(message)
    if status == 429:
        return Throttled(message, seconds_of(retry_after))
    if status == 408 or status >= 500:
        return Unavailable(message, maybe_taken=creating and status in (408, 502, 504))
    return Refused(message)


def seconds_of(retry_after: str | None) -> float | None:
    """Read a ``Retry-After`` header: seconds, or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time())
        except ValueError:
            return None
