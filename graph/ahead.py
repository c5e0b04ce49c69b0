"""Look-ahead: the known next prompt is read in a thread of its own while the current one renders.

What a reading depends on is the question: the prompt, the cast and the prompts before it. A reading made ahead is used
only for the very question it was made for, so an edit of the cast or of the script in between makes it void, and a run
gives the same whether it was read ahead or not. The module knows neither LangGraph nor the session.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from memreel.agent.reading import Reading
from memreel.memory.records import BankState

Read = Callable[[str, BankState], Reading]
"""Reads a prompt, given everything known before it."""


@dataclass(frozen=True)
class ReadAhead:
    """A reading, the seconds that it took, and the seconds that its caller waited for it."""

    reading: Reading
    seconds: float
    waited: float


class LookAhead:
    """Reads one prompt ahead at a time."""

    def __init__(self, read: Read) -> None:
        """Prepare; ``read`` is called in another thread, and may run there while it is called here."""
        self._read = read
        self._question: Any = None
        self._answer: Future[tuple[Reading, float]] | None = None

    def expect(self, prompt: str, bank: BankState) -> None:
        """Begin to read ``prompt``, unless just that is under way."""
        question = _question(prompt, bank)
        if question == self._question:
            return
        answer: Future[tuple[Reading, float]] = Future()
        self._question, self._answer = question, answer
        # A daemon: a chat server that hangs is not to hold up the end of the process.
        threading.Thread(target=self._work, args=(prompt, bank, answer), name="look-ahead", daemon=True).start()

    def take(self, prompt: str, bank: BankState) -> ReadAhead:
        """Return the reading of ``prompt``: the one made ahead, waiting for its end if need be, or one made now."""
        began = time.perf_counter()
        answer = self._answer if self._question == _question(prompt, bank) else None
        self._question = self._answer = None
        if answer is None:
            answer = Future()
            self._work(prompt, bank, answer)
        reading, seconds = answer.result()
        return ReadAhead(reading, seconds, time.perf_counter() - began)

    def _work(self, prompt: str, bank: BankState, answer: Future[tuple[Reading, float]]) -> None:
        began = time.perf_counter()
        try:
            reading = self._read(prompt, bank)
            answer.set_result((reading, time.perf_counter() - began))
        except BaseException as error:  # whoever takes the answer meets it
            answer.set_exception(error)


def _question(prompt: str, bank: BankState) -> Any:
    """Return what a reading depends on; memory frames make no difference to it."""
    told = [(number, record["text"], record["entities"]) for number, record in bank["prompts"].items()]
    return prompt, bank["cast"], told
