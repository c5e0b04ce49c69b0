"""``run.json`` of a film: what it was made by, what every shot took, what was spent.

A pure function of the state and of the clip model's ledger; it writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from memreel.film.state import FilmState, Take
from memreel.graph.record import versions


def film_json(
    state: FilmState,
    *,
    model: str,
    eye: str,
    reader: str,
    config: dict[str, Any],
    seed: int,
    ledger: dict[str, Any],
) -> dict[str, Any]:
    """Return a film's facts as JSON values."""
    shots, takes = state["shots"], state["takes"]
    return {
        "video_id": state["film_id"],
        "film": True,
        "model": model,
        "eye": eye,
        "reader": reader,
        "planned_by": state["planned_by"],
        "seed": seed,
        "video_seconds": round(sum(scene["seconds"] for scene in state["plan"]["scenes"]), 3),
        "consistency": round(sum(_total(shot) for shot in shots) / len(shots), 3),
        "shots": [shot["key"] for shot in shots],
        "takes": sorted(takes, key=lambda take: (take["scene"], take["take"])),
        "spent": spent(takes, ledger),
        "ledger": ledger,
        "config": config,
        "versions": versions(),
    }


def spent(takes: Sequence[Take], ledger: dict[str, Any]) -> dict[str, Any]:
    """Return what the film cost: in all, by provider (clips, seconds, credits, dollars), by chat model (tokens).

    The whole is the ledger's: what failed or may have been taken counts as well, and so do chat models with a price.
    """
    by: dict[str, Counter[str]] = {}
    for take in takes:
        row = by.setdefault(take["provider"], Counter())
        row.update({"clips": 1, "seconds": take["seconds"], "credits": take["credits"], "usd": take["usd"]})
    return {
        "usd": round(ledger["usd"] + ledger["open_usd"], 6),
        "before_usd": ledger["before_usd"],
        "chat": ledger["chat"],
        "providers": {name: {key: round(value, 6) for key, value in row.items()} for name, row in by.items()},
    }


def _total(take: Take) -> float:
    return take["score"]["total"] if take["score"] else 0.0
