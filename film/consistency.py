"""Whether a segment looks like the film it belongs to: three parts, one score in 0..1.

- **spatial**: everybody's place in the picture against the same one in their best frame (colours and shapes of the
  crops), and the whole picture against earlier scenes of the same environment, older ones counting less;
- **temporal**: the segment's first picture against the last three of the segment before, the mean; only where the
  one goes on from the other (a continuation, or a cut within one environment);
- **character**: how much of everybody's looks is right, as the film's eye reads them, or else how alike the crops are.

A part that has nothing to be compared with is left out, and the weights of the others are scaled to sum to 1. The
module knows nothing of takes, of thresholds or of how a segment was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from typing_extensions import TypedDict

from memreel.film.likeness import MIDDLE, alike, crop, describe, mean_alike
from memreel.film.sight import Eye, Sight, Wanted
from memreel.model.protocol import Pictures

LAST_FRAMES = 3
PRESENT = 0.2
"""What somebody in the picture with all looks wrong is worth, above not being there."""


class Score(TypedDict):
    """One take's consistency: the whole and its parts, ``None`` where there was nothing to compare.

    ``entities`` is the character part by global ID; ``wrong`` the looks that are not as they should be.
    """

    total: float
    spatial: float | None
    temporal: float | None
    character: float | None
    entities: dict[str, float]
    wrong: dict[str, list[str]]


@dataclass(frozen=True)
class Weights:
    """What each part counts."""

    spatial: float = 0.3
    temporal: float = 0.3
    character: float = 0.4


@dataclass(frozen=True)
class Against:
    """What a segment is compared with.

    ``wanted``: who should be there. ``known``: an earlier picture of each, by global ID. ``before``: the last pictures
    of the segment before, if this one goes on from it. ``setting``: pictures of earlier scenes in the same place, each
    with what it counts. ``story``: the film so far in words.
    """

    wanted: Mapping[int, Wanted]
    known: Mapping[int, Pictures] = field(default_factory=dict)
    before: Sequence[Pictures] = ()
    setting: Sequence[tuple[Pictures, float]] = ()
    story: str = ""


def judge(pictures: Sequence[Pictures], against: Against, eye: Eye, weights: Weights | None = None) -> Score:
    """Score a segment by its first picture and those of its key frames.

    Args:
        pictures: the segment's pictures to look at, in order; the first is its first picture. At least one.
        against: what they are compared with.
        eye: who looks.
        weights: what the parts count.

    Returns:
        The score with its parts.
    """
    weights = weights or Weights()
    sights = [eye.look(picture, against.wanted, against.story) for picture in pictures]
    best = {key: _best(key, sights) for key in against.wanted}
    closest = {
        key: _crop_likeness(pictures[number], sight, against.known[key], eye, against.wanted[key], key)
        for key, (number, sight) in best.items()
        if key in against.known
    }
    entities = {
        key: _character(sights, key, closest.get(key))
        for key in against.wanted
        if best[key][1].likeness is not None or key in closest
    }
    spatial = list(closest.values())
    if against.setting:
        whole = sum(counts for _, counts in against.setting)
        spatial.append(sum(counts * mean_alike(place, pictures) for place, counts in against.setting) / whole)
    parts = {
        "spatial": _mean(spatial),
        "temporal": mean_alike(pictures[0], against.before[-LAST_FRAMES:]) if against.before else None,
        "character": _mean(list(entities.values())),
    }
    score: Score = {
        "total": blend(parts, weights),
        "spatial": _rounded(parts["spatial"]),
        "temporal": _rounded(parts["temporal"]),
        "character": _rounded(parts["character"]),
        "entities": {str(key): round(value, 3) for key, value in entities.items()},
        "wrong": {str(key): list(sight.wrong) for key, (_, sight) in best.items() if sight.wrong},
    }
    return score


def blend(parts: Mapping[str, float | None], weights: Weights) -> float:
    """Return the weighted mean of the parts that there are; 1 where there is nothing to be inconsistent with."""
    counted = [(value, getattr(weights, name)) for name, value in parts.items() if value is not None]
    whole = sum(weight for _, weight in counted)
    return round(sum(value * weight for value, weight in counted) / whole, 3) if whole else 1.0


def _best(key: int, sights: Sequence[Mapping[int, Sight]]) -> tuple[int, Sight]:
    """Return the picture in which an entity is seen best, by number, and how it is seen there."""
    ranked = [((seen[key].visible, seen[key].likeness or 0.0), -number) for number, seen in enumerate(sights)]
    number = -max(ranked)[1]
    return number, sights[number][key]


def _character(sights: Sequence[Mapping[int, Sight]], key: int, crops: float | None) -> float:
    """Return the mean share of right looks where the entity is seen; to be there at all counts `PRESENT` of it."""
    told = [seen[key].likeness for seen in sights if seen[key].visible > 0]
    known = [PRESENT + (1 - PRESENT) * value for value in told if value is not None]
    if known:
        return float(np.mean(known))
    return crops if crops is not None and any(seen[key].visible > 0 for seen in sights) else 0.0


def _crop_likeness(picture: Pictures, sight: Sight, known: Pictures, eye: Eye, wanted: Wanted, key: int) -> float:
    """Return how alike an entity's place in a picture is to its place in a picture of it that is known."""
    if sight.visible <= 0:
        return 0.0
    there = eye.look(known, {key: wanted})[key]
    return alike(
        describe(crop(picture, sight.box or MIDDLE)), describe(crop(known, (there.box if there else None) or MIDDLE))
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
