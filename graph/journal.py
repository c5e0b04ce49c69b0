"""A run's event log as a session writes it, with what of the state lies nowhere else.

The state says how many of the log's lines it accounts for, and their checksum, so what stands in them can be left out
of it. That is done with prompts that are behind: the state keeps the newest `KEPT`, every older one is a line of the
log, and a session puts both together before it works on them. A fork that copies the log's lines and a rewind that cuts
them so carry the right prompts with them, and a state does not grow with the length of the video. This module knows the
log and the state, not what is done with either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from memreel.errors import StoreError
from memreel.graph.state import MemreelState, prompt_at
from memreel.memory.earlier import Earlier, leaving, without_earlier
from memreel.memory.records import BankState
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder

KEPT = 8
"""Prompts behind whose records stay in the state, where they can be read and edited: over a minute of video."""


class Journal:
    """The log of one run, from its first line on."""

    def __init__(self, folder: RunFolder) -> None:
        """Begin with no lines."""
        self._folder = folder
        self._digest = hashlib.sha256()
        self._earlier = Earlier()
        self.lines = 0
        """Lines of the log so far."""

    def append(self, event: Event) -> None:
        """Log an event; it is on the disk then.

        Raises:
            StoreError: it could not be written.
        """
        self._digest.update(self._folder.append_event(event))
        self.lines += 1
        if event["type"] == "earlier":
            self._earlier.take(event)

    def restore(self, state: MemreelState) -> list[Event]:
        """Stand where ``state`` stands, and return the events till then; what was logged later is cut off.

        Raises:
            StoreError: the log is damaged or lost, or not the one that the state belongs to.
        """
        lines = self._folder.log_lines(state["logged"])
        self._digest = hashlib.sha256(b"".join(lines))
        if self._digest.hexdigest() != state["log"]:
            raise StoreError(
                f"{self._folder.events} is not the log that the state belongs to: it was changed, "
                "or the run was gone on with from an earlier state"
            )
        self._folder.keep_events(state["logged"])
        self.lines = state["logged"]
        events = list(self._folder.read_events())
        for event in _left(events):
            self._earlier.take(event)
        return events

    def stands(self) -> MemreelState:
        """Return the state's keys that say what is logged by now."""
        return {"logged": self.lines, "log": self._digest.hexdigest()}

    def bank(self, state: MemreelState) -> BankState:
        """Return the state's bank with every prompt so far."""
        return self._earlier.with_earlier(state["bank"])


def parted(state: MemreelState, bank: BankState) -> tuple[MemreelState, list[Event]]:
    """Let prompts that are long behind leave a state, ``bank`` being its bank with every prompt.

    Returns:
        The state's update, good once the events that come with it are logged.
    """
    before, earlier = state["earlier"], max(state["earlier"], state["prompt_id"] - KEPT)
    left: list[Event] = [
        {"type": "earlier", **leaving(bank, number, prompt_at(state, number))}
        for number in range(before + 1, earlier + 1)
    ]
    prompts = state["prompts"][earlier - before :]
    return {"bank": without_earlier(bank, earlier), "prompts": prompts, "earlier": earlier}, left


def script_of(events: Iterable[Event], state: MemreelState) -> list[str]:
    """Return a state's script from its first prompt on, with those that left it for the log of ``events``."""
    return [*(event["record"]["text"] for event in _left(events)), *state["prompts"]]


def _left(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event["type"] == "earlier")
