"""One hosted model as a `ClipModel`: what it can do, what a clip would cost, and the making of it.

Choosing among several, and turning to another when one fails, is the router's; how a clip is made safely, `making`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memreel.film.clips.fitting import Fitted, fit
from memreel.film.clips.ledger import Books
from memreel.film.clips.making import Making, Terms, fingerprint
from memreel.film.clips.patience import Breaker, Patience
from memreel.film.clips.protocol import Capabilities, Clip, ClipRequest, Cost, Emit
from memreel.film.clips.table import Model, Provider, table
from memreel.film.clips.wire import Wire

PAINTING_SECONDS = 30.0
"""Seconds of waiting that a painted first frame adds."""


@dataclass
class Office:
    """What the models of one provider share: its row of the table, its breaker, and how its API is opened."""

    provider: Provider
    breaker: Breaker
    connect: Callable[[Model], Wire]


class HostedModel:
    """A `ClipModel` at a provider; usable from several threads."""

    def __init__(
        self, name: str, office: Office, books: Books, patience: Patience, gate: threading.BoundedSemaphore
    ) -> None:
        """Name a model of the table; nothing is sent and no key is needed yet.

        Args:
            name: the model's name in ``providers.yaml``.
            office: its provider's wire and breaker.
            books: the ledgers under the film's budget.
            patience: how long to wait and how often to try.
            gate: lets so many clips through at a time.
        """
        self.name = name
        self.row = table().models[name]
        self.office = office
        self.books = books
        self._patience, self._gate = patience, gate
        self._opened: Wire | None = None

    def _wire(self) -> Wire:
        """Return the provider's API, opened when it is first asked for."""
        self._opened = self._opened or self.office.connect(self.row)
        return self._opened

    @property
    def provider(self) -> str:
        """The provider's name in the table."""
        return self.row.provider

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do; fixed while it lives."""
        return self.row.capabilities()

    def estimate(self, request: ClipRequest) -> Cost:
        """Say what the clip would cost. Nothing is sent.

        Raises:
            UserError: the model cannot serve the request, not even adapted; the message names the limit.
        """
        return self._cost(fit(self.name, self.row, request))

    def adaptions(self, request: ClipRequest) -> tuple[str, ...]:
        """Say what would be adapted, in sentences.

        Raises:
            UserError: as `estimate`.
        """
        return fit(self.name, self.row, request).notes

    def picks_up(self, request: ClipRequest, folder: Path) -> bool:
        """Tell whether a clip or a task of this very request is there already: it would not be paid for again."""
        entries = self.books.at(folder).of(request.key, fingerprint(request), self.name)
        return any(entry.state in ("running", "done") and not entry.note for entry in entries)

    def generate(self, request: ClipRequest, folder: Path, emit: Emit) -> Clip:
        """Make the clip as ``folder/<key>.mp4`` and return it; a finished one of the same request is returned as it is.

        Raises:
            UserError: as `estimate`; `KeyMissing`; `BudgetError`.
            ModelError: the model failed, after its retries; what it charged is in the ledger.
            StoreError: the folder cannot be written.
        """
        fitted = fit(self.name, self.row, request)
        with self._gate:
            office, ledger = self.office, self.books.at(folder)
            terms = Terms(self.name, self.row, office.provider, office.breaker, self._wire, ledger, self._patience)
            return Making(terms, request, fitted, folder, emit).clip()

    def _cost(self, fitted: Fitted) -> Cost:
        usd = fitted.offer.usd_per_second * fitted.seconds + (fitted.painting.painter.usd if fitted.painting else 0.0)
        credit = self.office.provider.usd_per_credit
        return Cost(
            usd=round(usd, 6),
            credits=round(usd / credit, 3) if credit else 0.0,
            wall_seconds=self.row.speed * fitted.seconds + (PAINTING_SECONDS if fitted.painting else 0.0),
        )
