"""Makes the takes that are due: what the money allows, in batches that fit into the machine, several at a time.

A retake is given up where the scenes to come need its money, or where it fails: the best take so far is kept. A first
take that fails ends the film. The crew knows neither scores nor the graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

from memreel.errors import ModelError
from memreel.film.clips.ledger import BudgetError
from memreel.film.clips.protocol import Clip, ClipModel, ClipRequest
from memreel.film.models import Routed, made_here
from memreel.film.plan import Plan
from memreel.film.requests import Shooting
from memreel.film.resources import Job, Resources, batches
from memreel.film.state import Due, FilmState, Take

Wish = tuple[Due, ClipRequest, list[str]]
"""A take that is due, its request, and the ids of the frames that go with it."""


class Crew:
    """Turns takes that are due into takes that are made."""

    def __init__(
        self,
        clips: ClipModel,
        shooting: Shooting,
        resources: Resources,
        folder: Path,
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        """Have clips made by ``clips`` in the ``clips`` folder of the film's ``folder``."""
        self._clips, self._shooting, self._resources, self._emit = clips, shooting, resources, emit
        self._film, self._folder = folder, folder / "clips"

    def make(self, state: FilmState, plan: Plan, due: Sequence[Due]) -> list[Take]:
        """Make these takes and return them, those left out that the film can do without.

        Raises:
            UserError: a scene that no clip model can make, or the budget does not allow a first take.
            ModelError: a first take failed.
            StoreError: the folder cannot be read or written.
        """
        wishes = self._affordable(state, plan, [(one, *self._shooting.request(state, plan, one)) for one in due])
        again = {request.key for one, request, _ in wishes if one["take"] > 1}
        requests = {request.key: request for _, request, _ in wishes}
        clips: dict[str, Clip] = {}
        for batch in batches(
            [self._job(r) for r in requests.values()], self._resources.estimates, self._resources.limits
        ):
            self._announce(batch)
            with ThreadPoolExecutor(max_workers=max(1, min(self._clips.capabilities.at_once, len(batch)))) as pool:
                futures = {
                    job.key: pool.submit(copy_context().run, self._make, requests[job.key], job) for job in batch
                }
            for key, future in futures.items():
                try:
                    clips[key] = future.result()
                except (BudgetError, ModelError) as error:
                    if key not in again:
                        raise
                    self._skip(key, str(error))
        return [
            self._take(one, request, clips[request.key], names)
            for one, request, names in wishes
            if request.key in clips
        ]

    def _affordable(self, state: FilmState, plan: Plan, wishes: list[Wish]) -> list[Wish]:
        """Leave out retakes whose money the scenes to come need: a whole film goes before a better one."""
        if not isinstance(self._clips, Routed):
            return wishes
        to_come = [self._shooting.sketched(state, plan, n) for n in range(state["read"] + 1, len(plan.scenes) + 1)]
        kept: list[Wish] = []
        for wish in wishes:
            one, request, _ = wish
            if one["take"] == 1 or self._clips.affords(
                [*(other for _, other, _ in kept), request, *to_come], self._folder
            ):
                kept.append(wish)
            else:
                self._skip(request.key, "the budget is needed for the scenes to come")
        return kept

    def _announce(self, batch: Sequence[Job]) -> None:
        """Log what a batch is expected to take of the machine."""
        estimates = self._resources.estimates
        needs = [estimates.need(job) for job in batch]
        self._emit(
            {"type": "batch", "keys": [job.key for job in batch], "memory_mb": round(sum(n.memory_mb for n in needs))}
            | {"gpu": sum(n.gpu for n in needs), "cpu": round(sum(n.cpu for n in needs), 1)}
            | {"wall_seconds": round(max(n.wall_seconds for n in needs), 1)}
            | {"measured": all(estimates.knows(job) for job in batch)}
        )

    def _skip(self, key: str, reason: str) -> None:
        """Log that a retake is not to be had: the best take so far is kept."""
        self._emit({"type": "clip_skipped", "key": key, "reason": reason})

    def _make(self, request: ClipRequest, job: Job) -> Clip:
        began = time.perf_counter()
        self._folder.mkdir(exist_ok=True)
        with self._resources.admitted(job):
            clip = self._clips.generate(request, self._folder, self._emit)
        self._emit(
            {"type": "clip", "key": request.key, "provider": clip.provider, "model": clip.model}
            | {"usd": clip.cost.usd, "seconds": {"generate": round(time.perf_counter() - began, 3)}}
        )
        return clip

    def _job(self, request: ClipRequest) -> Job:
        """Return what a request asks of this machine; earlier scenes are more urgent."""
        local = made_here(self._clips, request)
        gpu = local is not None and getattr(local.model, "device", "cpu") != "cpu"
        number = int(request.key[1:].split("a")[0])
        return Job(request.key, request.seconds, -number, local is not None, gpu, request.quality == "premium")

    def _take(self, one: Due, request: ClipRequest, clip: Clip, names: list[str]) -> Take:
        return {
            "scene": one["scene"],
            "take": one["take"],
            "key": request.key,
            "path": str(clip.path.relative_to(self._film)),
            "seconds": clip.seconds,
            "repeats": clip.repeats,
            "text": one["text"],
            "provider": clip.provider,
            "model": clip.model,
            "usd": clip.cost.usd,
            "credits": clip.cost.credits,
            "prompt": request.prompt if clip.provider != "local" else request.plain,
            "references": names,
            "sent_bytes": self._shooting.sent_bytes(request),
            "notes": list(clip.notes),
            "score": None,
        }
