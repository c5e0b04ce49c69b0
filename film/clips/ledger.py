"""What a film's clips cost, and the tasks behind them: reserved before, settled after, never more than the budget.

Every task at a provider is one entry, on the disk before anything is sent. An entry counts against the budget from its
reservation on, with what was reserved until the provider's own figure is known; if it can no longer be known whether a
task was taken (the answer to its creation was lost), it counts in full for ever. So what is counted is never less than
what is charged, whatever breaks off. After a crash, the entries say which tasks have been paid for and are picked up.

Started over, a film's ledger goes on: the money is gone, so it counts, but the earlier tasks are nobody's any more. The
ledger knows no provider and sends nothing. One process at a time holds a film's folder.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from memreel.errors import StoreError, UserError
from memreel.output.durable import write_whole

State = Literal["reserved", "sending", "running", "done", "failed", "released", "uncertain"]
PRECISION = 6
"""Digits after the dollar's point."""
CHAT = "chat"
"""The provider under which chat models stand."""


class BudgetError(UserError):
    """A clip would cost more than is left."""


@dataclass(frozen=True)
class Entry:
    """One task at a provider.

    ``key`` and ``wish`` say for which clip (a request's key and fingerprint), ``step`` which part of it. ``usd`` and
    ``credits`` are what the provider charged, meaningful once ``settled``; before that ``reserved`` counts. ``began``
    is in seconds since 1970. ``earlier``: of a film that was started over. ``read`` and ``written`` are a chat model's
    tokens; without a price for it (``priced``) they are all that is known.
    """

    number: int
    key: str
    wish: str
    step: str
    provider: str
    model: str
    seconds: float
    reserved: float
    state: State = "reserved"
    settled: bool = False
    usd: float = 0.0
    credits: float = 0.0
    task_id: str | None = None
    began: float = 0.0
    file: str | None = None
    note: str = ""
    earlier: bool = False
    calls: int = 0
    read: int = 0
    written: int = 0
    priced: bool = True

    @property
    def counts(self) -> float:
        """Dollars of the budget that this entry takes."""
        if self.state == "released":
            return 0.0
        return self.usd if self.settled else self.reserved


class Ledger:
    """The entries of one film's folder (``ledger.json``); all methods are safe to call from several threads."""

    def __init__(self, folder: Path, budget: float | None) -> None:
        """Open the ledger of a folder, under a budget in dollars (``None``: no limit).

        Entries that a killed process left are brought up to date: what was not sent is released, what was being sent
        counts in full.

        Raises:
            StoreError: it is damaged or cannot be written.
        """
        self.path = folder / "ledger.json"
        self.budget = budget
        self._lock = threading.RLock()
        self._entries: list[Entry] = self._read()
        for entry in self._entries:
            if entry.state == "reserved":
                self.change(entry, state="released", note="nothing was sent")
            elif entry.state == "sending":
                self.change(entry, state="uncertain", note="broken off while it was sent: it may have been charged")

    def _read(self) -> list[Entry]:
        try:
            entries = json.loads(self.path.read_bytes())["entries"] if self.path.exists() else []
            return [Entry(**entry) for entry in entries]
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path} is damaged: {error}; it holds what was paid for, so restore it") from error

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        with self._lock:
            return tuple(self._entries)

    @property
    def counted(self) -> float:
        """Dollars that were charged or may yet be."""
        return round(sum(entry.counts for entry in self.entries), PRECISION)

    @property
    def left(self) -> float | None:
        """Dollars that may still be reserved; ``None``: no limit."""
        return None if self.budget is None else round(max(0.0, self.budget - self.counted), PRECISION)

    def reserve(self, drafts: Sequence[Entry]) -> list[Entry]:
        """Reserve money for the tasks of one clip, all or none; their numbers are given here.

        Raises:
            BudgetError: it does not fit into the budget; nothing was reserved.
            StoreError: it could not be written down; nothing was reserved.
        """
        with self._lock:
            asked = sum(draft.reserved for draft in drafts)
            self._require(asked, f"clip {drafts[0].key} with {drafts[-1].model}")
            new = [
                replace(draft, number=len(self._entries) + offset, reserved=round(draft.reserved, PRECISION))
                for offset, draft in enumerate(drafts)
            ]
            self._write([*self._entries, *new])
            return new

    def raise_to(self, entry: Entry, usd: float) -> Entry:
        """Reserve as much as the provider says that the task may cost.

        Raises:
            BudgetError: that does not fit into the budget; the reservation is what it was.
        """
        with self._lock:
            self._require(
                usd - entry.reserved, f"clip {entry.key}: {entry.model} may charge {usd:.2f} USD for it, which"
            )
            return self.change(entry, reserved=round(usd, PRECISION))

    def _require(self, more: float, what: str) -> None:
        if self.budget is not None and self.counted + more > self.budget + 1e-9:
            raise BudgetError(
                f"{what} needs {more:.2f} USD, and {self.left:.2f} of the {self.budget:.2f} USD budget are left: "
                "raise --budget, or ask for less"
            )

    def begin_anew(self) -> float:
        """Keep what was paid for a film that is started over, out of the new one's reach; return the dollars."""
        with self._lock:
            if any(not entry.earlier for entry in self._entries):
                self._write([replace(entry, earlier=True) for entry in self._entries])
            return self.counted

    def change(self, entry: Entry, **fields: Any) -> Entry:
        """Write down what has become of an entry, and return it."""
        with self._lock:
            changed = replace(self._entries[entry.number], **fields)
            self._write([*self._entries[: entry.number], changed, *self._entries[entry.number + 1 :]])
            return changed

    def sending(self, entry: Entry) -> Entry:
        """Note that the task is about to be sent."""
        return self.change(entry, state="sending", began=time.time())

    def settle(self, entry: Entry, state: State, usd: float, credits: float = 0.0, **fields: Any) -> Entry:
        """Replace the reservation by what the provider charged."""
        return self.change(entry, state=state, settled=True, usd=round(usd, PRECISION), credits=credits, **fields)

    def _write(self, entries: list[Entry]) -> None:
        value = {"budget_usd": self.budget, "entries": [asdict(entry) for entry in entries]}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror or error}") from error
        write_whole(self.path, json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n")
        self._entries = entries

    def of(self, key: str, wish: str, model: str) -> list[Entry]:
        """Return the entries of one wish at one model, oldest first."""
        return [
            entry
            for entry in self.entries
            if (entry.key, entry.wish, entry.model) == (key, wish, model) and not entry.earlier
        ]

    def summary(self) -> dict[str, Any]:
        """Return what was spent, for ``run.json`` and the report.

        ``usd`` and ``open_usd`` (reserved, not yet or never known) are totals; ``rows`` has one for each provider's
        model, ``chat`` one for each chat model, and ``before_usd`` is what films that were started over have cost.
        """
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        counted = [entry for entry in self.entries if entry.state != "released"]
        for entry in counted:
            if entry.provider == CHAT or entry.earlier:
                continue
            row = rows.setdefault(
                (entry.provider, entry.model),
                {"provider": entry.provider, "model": entry.model, "tasks": 0, "failed": 0, "seconds": 0.0}
                | {"credits": 0.0, "usd": 0.0, "open_usd": 0.0},
            )
            row["tasks"] += 1
            row["failed"] += entry.state in ("failed", "uncertain")
            row["seconds"] += entry.seconds if entry.state == "done" else 0.0
            row["credits"] = round(row["credits"] + entry.credits, PRECISION)
            row["usd" if entry.settled else "open_usd"] = round(
                row["usd" if entry.settled else "open_usd"] + entry.counts, PRECISION
            )
        now = [entry for entry in counted if not entry.earlier]
        return {
            "budget_usd": self.budget,
            "usd": round(sum(entry.counts for entry in now if entry.settled), PRECISION),
            "open_usd": round(sum(entry.counts for entry in now if not entry.settled), PRECISION),
            "before_usd": round(sum(entry.counts for entry in counted if entry.earlier), PRECISION),
            "rows": list(rows.values()),
            "chat": _by_model([entry for entry in now if entry.provider == CHAT]),
        }


def _by_model(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return a row for each chat model: requests, tokens, dollars if there is a price for it."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        row = rows.setdefault(
            entry.model,
            {"model": entry.model, "calls": 0, "read": 0, "written": 0, "usd": 0.0 if entry.priced else None},
        )
        for name in ("calls", "read", "written"):
            row[name] += getattr(entry, name)
        if entry.priced:
            row["usd"] = round(row["usd"] + entry.counts, PRECISION)
    return list(rows.values())


class Books:
    """One budget's ledgers, by folder: what the models of a film share."""

    def __init__(self, budget: float | None = None, home: Path | None = None) -> None:
        """Keep ledgers under a budget in dollars each (``None``: no limit).

        With ``home`` there is one alone, in that folder, wherever the clips lie.

        Raises:
            UserError: the budget is negative or not a number.
        """
        if budget is not None and not budget >= 0:
            raise UserError(f"--budget {budget:g}: give dollars, 0 or more")
        self.budget, self._home = budget, home
        self._ledgers: dict[Path, Ledger] = {}
        self._lock = threading.Lock()

    def at(self, folder: Path) -> Ledger:
        """Return the ledger of a folder, opening it at first.

        Raises:
            StoreError: it is damaged.
        """
        with self._lock:
            place = (self._home or folder).resolve()
            if place not in self._ledgers:
                self._ledgers[place] = Ledger(place, self.budget)
            return self._ledgers[place]
