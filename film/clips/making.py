"""The making of one clip at one model: reserve, create, wait, download, verify, settle.

The order is what keeps money safe: nothing is sent that is not reserved, a task's id is on the disk as soon as it is
known, and a clip is done only when its file can be played and is long enough. Whoever starts again over the same folder
goes on with the task that was already paid for. This module knows no provider's API; what may be asked of a model has
been seen to (`fitting`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tenacity import RetryCallState

from memreel.errors import ModelError, UserError
from memreel.film.clips.fitting import Fitted, paint
from memreel.film.clips.footage import Unplayable, examine
from memreel.film.clips.ledger import BudgetError, Entry, Ledger
from memreel.film.clips.patience import Breaker, Patience, Tripped
from memreel.film.clips.protocol import Clip, ClipRequest, Cost, Emit
from memreel.film.clips.table import Model, Provider
from memreel.film.clips.wire import Gone, KeyRefused, Refused, Task, Throttled, Unavailable, Wire, WireError
from memreel.output.durable import part_of, put_in_place

T = TypeVar("T")
SHORT_BY = 0.25
"""Seconds that a clip may be shorter than it was made to be."""


class KeyMissing(UserError):
    """No key for a provider, or one that it does not accept."""


class ClipFailed(ModelError):
    """This model did not make the clip; another may."""


@dataclass(frozen=True)
class Terms:
    """By what a clip is made: the model and its rows of the table, its breaker, how its API is opened, the money."""

    name: str
    model: Model
    provider: Provider
    breaker: Breaker
    open_wire: Callable[[], Wire]
    ledger: Ledger
    patience: Patience


class Making:
    """The making of one clip at one model; `clip` is to be called once."""

    def __init__(self, terms: Terms, request: ClipRequest, fitted: Fitted, folder: Path, emit: Emit) -> None:
        """Prepare to make ``request``, already ``fitted`` to the model, in ``folder``."""
        self.terms, self.request, self.fitted = terms, request, fitted
        self.ledger, self.patience = terms.ledger, terms.patience
        self.folder = folder.resolve()
        self.wish = fingerprint(request)
        self.path = self.folder / f"{request.key}.mp4"
        self._emit = emit
        self._wire: Wire | None = None

    def clip(self) -> Clip:
        """Make the clip, or go on making it, or return the finished one.

        Raises:
            UserError: `KeyMissing`, `BudgetError`.
            ModelError: the model failed, after its retries; what it charged is in the ledger.
            StoreError: the folder cannot be written.
        """
        done = self._entry("clip", "done")
        if done is not None and self.path.is_file():
            return self._clip(examine(self.path).seconds, done)
        for note in self.fitted.notes:
            self.emit("clip_adapted", note=note)
        self._wire = self.terms.open_wire()
        entries = self._entries()
        try:
            if self.fitted.painting:
                self._paint(entries)
            entry = entries["clip"]
            entry, length = self._task(entry, lambda: self.wire.start_clip(self.fitted), self.path, self._check)
        except KeyRefused as error:
            keys = " or ".join(self.terms.provider.keys)
            raise KeyMissing(f"{self.who} does not accept the key in {keys}: {error}") from error
        except Tripped as error:
            raise ClipFailed(f"clip {self.request.key}: {self.who} is not asked: {error}") from error
        except (WireError, Unplayable) as error:
            raise ClipFailed(f"clip {self.request.key}: {self.who}: {error}") from error
        finally:
            self._release(entries)
        return self._clip(length, entry)

    @property
    def who(self) -> str:
        """The model, for people."""
        return f"{self.terms.provider.title} ({self.terms.name})"

    @property
    def wire(self) -> Wire:
        """The provider's API."""
        assert self._wire is not None
        return self._wire

    def emit(self, kind: str, **values: Any) -> None:
        """Log what happens."""
        self._emit({"type": kind, "key": self.request.key, "model": self.terms.name, **values})

    def _entry(self, step: str, *states: str) -> Entry | None:
        """Return the newest entry of a step that stands so, leaving out those that were given up."""
        found = [
            entry
            for entry in self.ledger.of(self.request.key, self.wish, self.terms.name)
            if entry.step == step and entry.state in states and not entry.note
        ]
        return found[-1] if found else None

    def _entries(self) -> dict[str, Entry]:
        """Return an entry for each step: one to be gone on with, or a new reservation for all that are missing."""
        found = {step: self._entry(step, "running", "done") for step in self._steps()}
        if found["clip"] and found["clip"].state == "done":  # its file is gone: ask the provider for it again
            found["clip"] = self.ledger.change(found["clip"], state="running")
        missing = [self._draft(step, usd) for step, usd in self._steps().items() if found[step] is None]
        if missing:
            missing = self.ledger.reserve(missing)
        for entry in found.values():
            if entry is not None:
                self.emit("clip_resumed", step=entry.step, task_id=entry.task_id)
        return {entry.step: entry for entry in [*filter(None, found.values()), *missing]}

    def _steps(self) -> dict[str, float]:
        """Return what each step costs."""
        steps = {"painting": self.fitted.painting.painter.usd} if self.fitted.painting else {}
        return steps | {"clip": self.fitted.offer.usd_per_second * self.fitted.seconds}

    def _draft(self, step: str, usd: float) -> Entry:
        return Entry(
            number=-1,
            key=self.request.key,
            wish=self.wish,
            step=step,
            provider=self.terms.model.provider,
            model=self.terms.name,
            seconds=self.fitted.seconds if step == "clip" else 0.0,
            reserved=usd * self.terms.provider.reserve,
        )

    def _release(self, entries: dict[str, Entry]) -> None:
        """Give back what was reserved for steps that were never sent."""
        for entry in entries.values():
            if self.ledger.entries[entry.number].state == "reserved":
                self.ledger.change(entry, state="released", note="nothing was sent")

    def _paint(self, entries: dict[str, Entry]) -> None:
        """Have the first frame painted, and put it into the request."""
        painting = self.fitted.painting
        assert painting is not None
        picture = self.folder / f"{self.request.key}.first.png"
        if not (entries["painting"].state == "done" and picture.is_file()):
            entry = entries["painting"]
            if entry.state == "done":
                entry = self.ledger.change(entry, state="running")
            self._task(
                entry,
                lambda: self.wire.start_painting(painting, self.fitted.seed),
                picture,
                self._check_painting,
            )
        self.fitted = paint(self.fitted, picture, self.terms.model)

    def _task(
        self, entry: Entry, start: Callable[[], Task], path: Path, check: Callable[[Path], float]
    ) -> tuple[Entry, float]:
        """Carry one task through, from wherever it stands, until its result is at ``path``."""
        if entry.task_id is None:
            entry = self._create(entry, start)
        entry, task = self._await(entry)
        usd, credits = self._charged(entry, task)
        entry = self.ledger.settle(entry, "running", usd, credits)
        self.emit("clip_cost", step=entry.step, usd=entry.usd, credits=credits, reserved_usd=entry.reserved)
        if task.progress != "succeeded" or not task.outputs:
            self._give_up(entry, f"{task.code or task.progress}: {task.reason}".rstrip(": "))
            if task.fault == "provider":
                self.terms.breaker.failed()
            raise Refused(
                f"task {task.task_id} failed ({task.code or task.progress}): {task.reason or 'no reason given'}"
            )
        try:
            length = self._download(task, path, check)
        except (Unplayable, Unavailable, Gone, Throttled) as error:
            self._give_up(entry, str(error))
            self.terms.breaker.failed()
            raise
        entry = self.ledger.change(entry, state="done", file=path.name)
        return entry, length

    def _create(self, entry: Entry, start: Callable[[], Task]) -> Entry:
        """Create the task, and have its id on the disk before anything else is done with it."""
        standing = [entry]

        def send() -> Task:
            if standing[0].state == "uncertain":  # what may have been taken counts: another try, another reservation
                standing[0] = self.ledger.reserve([replace(entry, state="reserved")])[0]
            standing[0] = self.ledger.sending(standing[0])
            try:
                return self.terms.breaker.call(start)
            except Unavailable as error:
                maybe = f"it may have been charged: {error}"
                fields = {"state": "uncertain", "note": maybe} if error.maybe_taken else {"state": "reserved"}
                standing[0] = self.ledger.change(standing[0], **fields)
                raise
            except WireError:
                standing[0] = self.ledger.change(standing[0], state="reserved")
                raise

        opened = self.terms.breaker.open
        try:
            task: Task = self.patience.retrying(self._say_retry)(send)
        except WireError as error:
            if standing[0].state == "reserved":
                self.ledger.change(standing[0], state="released", note=f"not taken: {error}"[:300])
            raise
        finally:
            if self.terms.breaker.open and not opened:
                self.emit("clip_breaker", provider=self.terms.model.provider, state="open")
        entry = self.ledger.change(standing[0], state="running", task_id=task.task_id)
        self.emit("clip_task", step=entry.step, task_id=task.task_id, progress=task.progress)
        if task.usd is not None and task.usd > entry.reserved:
            return self._raise_to(entry, task.usd)
        return entry

    def _raise_to(self, entry: Entry, usd: float) -> Entry:
        """Reserve what the provider says the task may cost, or have it cancelled."""
        try:
            return self.ledger.raise_to(entry, usd)
        except BudgetError:
            self._try(lambda: self.wire.cancel(str(entry.task_id)))
            task = self._try(lambda: self.wire.look(str(entry.task_id)))
            charged, credits = self._charged(entry, task) if task and task.ended else (usd, 0.0)
            self.ledger.settle(entry, "failed", charged, credits, note="cancelled: dearer than was reserved")
            raise

    def _say_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        self.emit("clip_retry", attempt=state.attempt_number, wait_seconds=round(wait, 3), error=str(error))

    def _await(self, entry: Entry) -> tuple[Entry, Task]:
        """Look at the task until it has ended, or until it is too late."""
        task_id, told, give_up_at = str(entry.task_id), "", time.monotonic() + self.patience.deadline
        while True:
            try:
                task: Task | None = self.wire.look(task_id)
            except (Unavailable, Throttled) as error:
                task = None
                self.emit("clip_retry", attempt=0, wait_seconds=self.patience.poll, error=str(error))
            except (Gone, Refused) as error:
                if not entry.settled:
                    self.ledger.change(entry, state="uncertain", note=f"the task is gone: {error}")
                else:
                    self._give_up(entry, f"the task is gone: {error}")
                raise
            if task is not None and task.ended:
                return entry, task
            if task is not None and task.progress != told:
                told = task.progress
                self.emit("clip_task", step=entry.step, task_id=task_id, progress=told)
            if time.monotonic() >= give_up_at:
                return entry, self._too_late(entry, task)
            time.sleep(self.patience.poll)

    def _too_late(self, entry: Entry, task: Task | None) -> Task:
        """Give a slow task up: cancelled while it waits, which costs nothing; left alone once it runs.

        A running task stays paid for, so it stays reserved, and a later start over the folder picks it up.
        """
        if task is not None and task.progress == "waiting":
            self._try(lambda: self.wire.cancel(task.task_id))
            after = self._try(lambda: self.wire.look(task.task_id))
            if after is not None and after.ended:
                return after
        self.terms.breaker.failed()
        raise Unavailable(f"task {entry.task_id} did not end within {self.patience.deadline:g} s; it stays reserved")

    def _try(self, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except WireError:
            return None

    def _charged(self, entry: Entry, task: Task) -> tuple[float, float]:
        """Return dollars and credits: the provider's own figure, or else what was estimated for a success."""
        if task.usd is not None:
            return task.usd, task.credits
        return (self._steps().get(entry.step, entry.reserved) if task.progress == "succeeded" else 0.0), 0.0

    def _give_up(self, entry: Entry, why: str) -> None:
        self.ledger.change(entry, state="failed", note=why[:300])

    def _download(self, task: Task, path: Path, check: Callable[[Path], float]) -> float:
        """Fetch the result at once, under a temporary name until it has been checked; return its length."""
        standing = [task]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)

        def fetch() -> float:
            try:
                self.wire.fetch(standing[0].outputs[0], part)
                return check(part)
            except Gone as error:  # addresses expire: the task has fresh ones
                standing[0] = self.wire.look(task.task_id)
                raise Unavailable(f"the result is not at its address: {error}") from error
            except _Damaged as error:
                raise Unavailable(str(error)) from error

        try:
            length: float = self.patience.retrying(self._say_retry)(fetch)
            put_in_place(part, path)
            return length
        finally:
            part.unlink(missing_ok=True)

    def _check_painting(self, path: Path) -> float:
        try:
            paint(self.fitted, path, self.terms.model)
        except UserError as error:
            raise _Damaged(str(error)) from error
        return 0.0

    def _check(self, path: Path) -> float:
        """Return a clip's length in seconds, if it can be played and is as long as it was made to be."""
        try:
            footage = examine(path)
        except Unplayable as error:
            raise _Damaged(str(error).replace(str(path), "the download")) from error
        if footage.seconds < self.fitted.seconds - SHORT_BY:
            raise Unplayable(f"the clip has {footage.seconds:.2f} s, {self.fitted.seconds} s were asked")
        return footage.seconds

    def _clip(self, seconds: float, entry: Entry) -> Clip:
        entries = self.ledger.of(self.request.key, self.wish, self.terms.name)
        cost = Cost(usd=round(sum(e.counts for e in entries), 6), credits=sum(e.credits for e in entries))
        self.emit("clip_done", seconds=seconds, usd=cost.usd)
        return Clip(
            path=self.path,
            seconds=seconds,
            provider=self.terms.model.provider,
            model=self.terms.name,
            cost=cost,
            task_id=entry.task_id,
            notes=self.fitted.notes,
            repeats=1 if self.request.first_frame and self.fitted.first_frame else 0,
        )


class _Damaged(Exception):
    """A download is not what the provider made: it is worth fetching again."""


def fingerprint(request: ClipRequest) -> str:
    """Return what tells one wish from another under the same key: its words, its length, its pictures' contents."""

    def content(path: Path | None) -> str | None:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() if path else None
        except OSError as error:
            raise UserError(f"clip {request.key}: cannot read {path}: {error.strerror or error}") from error

    said = [
        request.prompt,
        request.seconds,
        request.seed,
        request.ratio,
        request.quality,
        content(request.first_frame),
        content(request.last_frame),
        [[reference.tag, reference.caption, content(reference.path)] for reference in request.references],
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
