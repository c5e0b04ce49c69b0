"""Many clip models as one: who makes a clip, and who does when that one cannot.

Rules in ``providers.yaml`` say who is preferred; the others follow, those with the quality asked for first, then by
price. This machine's own model may be one of them: it costs nothing and stands in when all others fail or the money is
gone. Each model gets the whole wish and fits it for itself, so a failover has its own request shape. A task that was
already paid for goes before all rules. The router sends nothing itself and knows no provider's API.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from memreel.errors import ModelError, UserError
from memreel.film.clips.hosted import HostedModel, Office
from memreel.film.clips.ledger import Books, BudgetError, Ledger
from memreel.film.clips.making import KeyMissing
from memreel.film.clips.patience import Breaker, Patience
from memreel.film.clips.protocol import Capabilities, Clip, ClipModel, ClipRequest, Cost, Emit
from memreel.film.clips.table import Model, Provider, Rule, on_vertex, table
from memreel.film.clips.wire import Wire

if TYPE_CHECKING:
    from memreel.film.clips.local import LocalStream

LOCAL = "local"
"""The provider that is this machine."""


class Candidate(ClipModel, Protocol):
    """A clip model that a router may choose: a hosted one, or the local stream."""

    @property
    def provider(self) -> str:
        """Who runs it, by its name in the table."""

    def adaptions(self, request: ClipRequest) -> tuple[str, ...]:
        """Say what would be adapted, in sentences."""

    def picks_up(self, request: ClipRequest, folder: Path) -> bool:
        """Tell whether a clip or a paid task of this very request is there already."""


@dataclass(frozen=True)
class Route:
    """Where a clip would go, for a dry run: who, why, at what cost, adapted how; and who cannot, and why not.

    ``assumed`` are the figures behind it that no provider has stated.
    """

    key: str
    model: str
    provider: str
    because: str
    cost: Cost
    notes: tuple[str, ...]
    refused: dict[str, str]
    assumed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the route as JSON values."""
        return {
            "key": self.key,
            "model": self.model,
            "provider": self.provider,
            "because": self.because,
            "usd": self.cost.usd,
            "credits": self.cost.credits,
            "wall_seconds": self.cost.wall_seconds,
            "notes": list(self.notes),
            "assumed": list(self.assumed),
            "refused": self.refused,
        }


class Router:
    """A `ClipModel` over others; usable from several threads."""

    def __init__(
        self,
        name: str,
        models: Sequence[Candidate],
        books: Books,
        absent: Mapping[str, str] | None = None,
    ) -> None:
        """Route among ``models`` under the budget of ``books``; ``absent`` says who cannot be asked, and why.

        Raises:
            UserError: there is no model to route to.
        """
        if not models:
            raise UserError(f"no clip model to choose from for '{name}'")
        self.name = name
        self.models = tuple(models)
        self.books = books
        self._absent = dict(absent or {})

    @property
    def local(self) -> LocalStream | None:
        """This machine's own model, if it is one of them."""
        found = next((model for model in self.models if model.provider == LOCAL), None)
        return cast("LocalStream | None", found)

    @property
    def alone(self) -> LocalStream | None:
        """This machine's own model, if no other can be asked for want of a key."""
        others = any(_ready(model) for model in self.models if model.provider != LOCAL)
        return None if others else self.local

    @property
    def capabilities(self) -> Capabilities:
        """What at least one of the models can do."""
        if alone := self.alone:
            return alone.capabilities
        each = [model.capabilities for model in self.models]
        return Capabilities(
            seconds=(min(one.seconds[0] for one in each), max(one.seconds[1] for one in each)),
            lengths=tuple(sorted({length for one in each for length in one.lengths}))
            if all(one.lengths for one in each)
            else (),
            ratios=tuple(dict.fromkeys(ratio for one in each for ratio in one.ratios)),
            prompt_units=max(one.prompt_units for one in each),
            references=max(one.references for one in each),
            references_with_first_frame=any(one.references_with_first_frame for one in each),
            first_frame=any(one.first_frame for one in each),
            last_frame=any(one.last_frame for one in each),
            sound=any(one.sound for one in each),
            seed=any(one.seed for one in each),
        )

    def ledger(self, folder: Path) -> Ledger:
        """Return the ledger of a film's clips: what is left of the budget, and its summary for ``run.json``."""
        return self.books.at(folder)

    def estimate(self, request: ClipRequest) -> Cost:
        """Say what the clip would cost where it would go. Nothing is sent.

        Raises:
            UserError: no model can serve the request; the message has each one's reason.
        """
        return self.route(request).cost

    def route(self, request: ClipRequest) -> Route:
        """Say where the clip would go, and why. Nothing is sent.

        Raises:
            UserError: as `estimate`.
        """
        ranked, because, refused = self._rank(request)
        model, cost = ranked[0]
        return Route(
            key=request.key,
            model=model.name,
            provider=model.provider,
            because=because,
            cost=cost,
            notes=model.adaptions(request),
            refused=refused,
            assumed=table().models[model.name].assumed if model.name in table().models else (),
        )

    def dry_run(self, requests: Sequence[ClipRequest], folder: Path | None = None) -> dict[str, Any]:
        """Return the routes of all clips and what they cost together, as JSON values; nothing is sent.

        ``missing_keys`` are the variables without which it cannot be made, ``over_budget`` the dollars that are missing
        to reserve it all, after what the ledger of ``folder`` counts already. ``assumed`` has by model the figures that
        no provider has stated.

        Raises:
            UserError: a request that no model can serve.
        """
        routes = [self.route(request) for request in requests]
        usd = round(sum(route.cost.usd for route in routes), 6)
        reserved = sum(self._reserve(route) for route in routes)
        used = {route.provider for route in routes}
        budget = self.books.budget
        counted = self.ledger(folder).counted if folder is not None else 0.0
        return {
            "routes": [route.as_json() for route in routes],
            "usd": usd,
            "credits": round(sum(route.cost.credits for route in routes), 3),
            "wall_seconds": round(sum(route.cost.wall_seconds for route in routes), 1),
            "budget_usd": budget,
            "counted_usd": counted,
            "over_budget": round(max(0.0, reserved + counted - budget), 6) if budget is not None else 0.0,
            "missing_keys": sorted(
                " or ".join(table().providers[name].keys) for name in used if not table().providers[name].ready
            ),
            "assumed": {route.model: list(route.assumed) for route in routes if route.assumed},
        }

    def affords(self, requests: Sequence[ClipRequest], folder: Path) -> bool:
        """Tell whether what is left of a film's budget pays for all these clips; nothing is reserved.

        A clip that is there already, or a task that was paid for, costs nothing more.

        Raises:
            UserError: a request that no model can serve.
        """
        left = self.ledger(folder).left
        if left is None:
            return True
        new = [wish for wish in requests if not any(model.picks_up(wish, folder) for model in self.models)]
        return sum(self._reserve(self.route(wish)) for wish in new) <= left + 1e-9

    def _reserve(self, route: Route) -> float:
        return route.cost.usd * table().providers[route.provider].reserve

    def require(self, requests: Sequence[ClipRequest], folder: Path | None = None) -> None:
        """Check before a film begins that its clips can be made and paid for. Nothing is sent.

        Raises:
            UserError: a key is missing, a request cannot be served, or the estimates exceed the budget.
        """
        told = self.dry_run(requests, folder)
        if told["missing_keys"]:
            raise KeyMissing(f"no key for '{self.name}': set {', '.join(told['missing_keys'])}")
        if told["over_budget"]:
            gone = f", {told['counted_usd']:.2f} of it spent already" if told["counted_usd"] else ""
            raise UserError(
                f"the film's {len(requests)} clips are estimated at {told['usd']:.2f} USD, the budget is "
                f"{told['budget_usd']:.2f} USD{gone}: raise --budget, ask for fewer seconds"
                + (", or make it on this machine with --model local" if self.local else "")
            )

    def generate(self, request: ClipRequest, folder: Path, emit: Emit) -> Clip:
        """Make the clip with the first model that can, and return it.

        Raises:
            UserError: no model can serve the request, or has a key; `BudgetError` if it is the budget for all of them.
            ModelError: all that were asked failed; the message has each one's reason.
            StoreError: the folder cannot be written.
        """
        ranked, because, refused = self._rank(request)
        ranked.sort(key=lambda pair: not pair[0].picks_up(request, folder))
        for name, reason in refused.items():
            emit({"type": "clip_refused", "key": request.key, "model": name, "reason": reason})
        first, cost = ranked[0]
        emit({"type": "clip_route", "key": request.key, "model": first.name, "because": because, "usd": cost.usd})
        failed: list[ModelError | UserError] = []
        for place, (model, _) in enumerate(ranked):
            try:
                return model.generate(request, folder, emit)
            except (ModelError, UserError) as error:
                failed.append(error)
                if place + 1 < len(ranked):
                    emit(
                        {"type": "clip_failover", "key": request.key, "model": model.name}
                        | {"to": ranked[place + 1][0].name, "reason": str(error)}
                    )
        if len(failed) == 1 or all(isinstance(error, BudgetError) for error in failed):
            raise failed[0]
        reasons = "; ".join(str(error) for error in failed)
        asked = [error for error in failed if isinstance(error, ModelError)]
        raise ModelError(reasons) if asked else UserError(reasons)

    def _rank(self, request: ClipRequest) -> tuple[list[tuple[Candidate, Cost]], str, dict[str, str]]:
        """Return the models that can serve a request, best first, the rule's reason, and the others' reasons."""
        rule = next(rule for rule in table().routes if _holds(rule, request, self.books.budget))
        able: list[tuple[Candidate, Cost]] = []
        refused = dict(self._absent)
        for model in self.models:
            try:
                able.append((model, model.estimate(request)))
            except UserError as error:
                refused[model.name] = str(error)
        if not able:
            raise UserError("; ".join(refused.values()))
        wanted = list(rule.prefer)

        def place(model: Candidate) -> int:
            return min((wanted.index(name) for name in (model.name, model.provider) if name in wanted), default=99)

        able.sort(
            key=lambda pair: (
                not _ready(pair[0]),
                place(pair[0]),
                not table().serves(pair[0].name, request.quality),
                pair[1].usd,
            )
        )
        because = rule.because if place(able[0][0]) < 99 or not wanted else "the lowest price"
        return able, because if len(able) > 1 else "the only one that can", refused


def hosted(
    name: str,
    budget: Books | float | None = None,
    patience: Patience | None = None,
    local: LocalStream | None = None,
    absent: Mapping[str, str] | None = None,
) -> Router:
    """Return the hosted models that a name stands for, as one clip model.

    Args:
        name: ``auto`` for all, a provider (``runway``, ``google``), or a model's own name (``gen4.5``, ``veo-3.1``).
        budget: the film's books, or the dollars that it may cost; ``None``: no limit.
        patience: times and counts; ``None``: those of `Patience`.
        local: this machine's own model, to choose from beside them.
        absent: who else was to be asked but cannot be, and why.

    Raises:
        UserError: no such model, or a budget that is none.
    """
    wait = patience or Patience()
    names = table().select(name)
    books = budget if isinstance(budget, Books) else Books(budget)
    gate = threading.BoundedSemaphore(wait.in_flight)
    offices = {
        key: Office(provider, Breaker(wait), partial(_connect, provider, wait.request))
        for key, provider in table().providers.items()
        if provider.keys
    }
    models: list[Candidate] = [
        HostedModel(one, offices[table().models[one].provider], books, wait, gate) for one in names
    ]
    return Router(name, [*models, *([local] if local else [])], books, absent)


def _connect(provider: Provider, timeout: float, model: Model) -> Wire:
    """Open a provider's API.

    Raises:
        UserError: the SDK is not installed, or no key is set.
    """
    key = provider.key()
    if model.vertex_only and not on_vertex():
        raise UserError(
            "this model is served by Vertex AI alone: set GOOGLE_GENAI_USE_VERTEXAI=true, and GOOGLE_CLOUD_PROJECT and "
            "GOOGLE_CLOUD_LOCATION, or GOOGLE_API_KEY"
        )
    if not provider.ready:
        raise KeyMissing(f"no key for {provider.title}: set {' or '.join(provider.keys)}")
    try:
        if model.api == "tasks":
            from memreel.film.clips.runway import RunwayWire

            return RunwayWire(provider, key or "", timeout)
        from memreel.film.clips.google import OmniWire, VeoWire

        return (VeoWire if model.api == "veo" else OmniWire)(model, key or "", timeout)
    except ImportError as error:
        raise UserError(f"{provider.title} needs its SDK: pip install 'memreel[hosted]' ({error})") from error


def _ready(model: Candidate) -> bool:
    """Tell whether a model can be asked, as far as keys go."""
    return table().providers[model.provider].ready


def _holds(rule: Rule, request: ClipRequest, budget: float | None) -> bool:
    when = rule.when
    return (
        (when.quality is None or when.quality == request.quality)
        and (when.budget_over is None or budget is None or budget > when.budget_over)
        and (when.budget_under is None or (budget is not None and budget < when.budget_under))
        and (not when.style or any(word in request.style.lower() for word in when.style))
        and (when.references is None or when.references == bool(request.references))
        and (when.first_frame is None or when.first_frame == bool(request.first_frame))
    )
