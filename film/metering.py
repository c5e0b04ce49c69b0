"""What chat models cost a film: every request is counted, and paid for out of the same budget as the clips.

Before a request, the most that it can cost is reserved: no text has more tokens than bytes, an answer no more than it
is allowed. After it, what the server says it took replaces that; where it says nothing, the reservation stands. A
request that the budget does not allow is not sent, and whoever asked does without. A model whose price is in no table
is counted in tokens alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from memreel.agent.llm import Unavailable
from memreel.agent.reading import ChatCall
from memreel.film.clips.ledger import CHAT, BudgetError, Entry, Ledger
from memreel.film.clips.table import table

MOST_WRITTEN = 8000
"""Tokens that an answer may have, where there is a price for them."""
PICTURE_TOKENS = 2500
"""More than any priced model counts for a picture of the size that is sent."""
OVERHEAD = 500
"""Tokens around a request that its text does not show."""


class TokenMeter:
    """Counts one chat model's requests in a film's ledger; may be asked by several threads."""

    def __init__(self, model: str, ledger: Ledger) -> None:
        """Count the requests to ``model``."""
        self._model, self._ledger = model, ledger
        self._price = table().chat_price(model)
        self._lock = threading.Lock()
        self._entry: Entry | None = None
        self._spent = self._open = 0.0

    @property
    def most_written(self) -> int | None:
        """Tokens that an answer may have; ``None``: as many as it likes."""
        return MOST_WRITTEN if self._price else None

    def begin(self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> float:
        """Reserve the most that a request can cost, and return it.

        Raises:
            Unavailable: the budget does not allow it.
        """
        worst = self._usd(_most_read(messages, tools), MOST_WRITTEN)
        with self._lock:
            entry = self._entry or self._opened()
            try:
                self._entry = self._ledger.raise_to(entry, self._spent + self._open + worst)
            except BudgetError:
                raise Unavailable("the budget allows no further request") from None
            self._open += worst
            self._entry = self._ledger.change(self._entry, state="sending", settled=False)
        return worst

    def end(self, reserved: float, call: ChatCall) -> None:
        """Replace what was reserved by what a request took."""
        told = call["input_tokens"] + call["output_tokens"] > 0
        usd = self._usd(call["input_tokens"], call["output_tokens"]) if told else reserved
        if call["outcome"].startswith("HTTP"):  # refused: not charged
            usd = 0.0
        with self._lock:
            assert self._entry is not None
            self._open -= reserved
            self._spent += usd
            counts = {
                "calls": self._entry.calls + 1,
                "read": self._entry.read + call["input_tokens"],
                "written": self._entry.written + call["output_tokens"],
                "reserved": round(self._spent + self._open, 6),
            }
            if self._open > 1e-9:
                self._entry = self._ledger.change(self._entry, **counts)
            else:
                self._open = 0.0
                self._entry = self._ledger.settle(self._entry, "done", self._spent, **counts)

    def _opened(self) -> Entry:
        note = "" if self._price else "no price known: tokens are counted, no money"
        draft = Entry(-1, CHAT, "", CHAT, CHAT, self._model, 0.0, 0.0, note=note, priced=self._price is not None)
        [entry] = self._ledger.reserve([draft])
        return entry

    def _usd(self, read: int, written: int) -> float:
        return (read * self._price.read + written * self._price.written) / 1e6 if self._price else 0.0


def _most_read(messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> int:
    """Return a number of tokens that a request cannot exceed."""
    tokens = OVERHEAD + len(json.dumps(list(tools), ensure_ascii=False).encode())
    for message in messages:
        parts = [message.content] if isinstance(message.content, str) else message.content
        for part in parts:
            picture = isinstance(part, dict) and part.get("type") == "image_url"
            text = part if isinstance(part, str) else str(part.get("text", ""))
            tokens += PICTURE_TOKENS if picture else len(text.encode())
    return tokens
