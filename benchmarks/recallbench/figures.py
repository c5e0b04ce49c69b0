"""Figures of RecallBench: each a mean over cases with a bootstrap 95 % interval, scripts drawn with replacement.

Cases of one script are not independent, so whole scripts are resampled (a cluster bootstrap: Davison & Hinkley 1997,
section 3.8; percentile interval). Knows records only, nothing of pictures or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from memreel.benchmarks.recallbench.cases import Case, Segment, Take

DRAWS = 2000


class Interval(TypedDict):
    """A mean with its 95 % interval, over ``n`` values."""

    mean: float
    low: float
    high: float
    n: int


Values = Sequence[tuple[int, float]]
"""(script, value) pairs."""


def interval(values: Values, seed: int = 0) -> Interval | None:
    """Return mean and interval of values, or None if there are none."""
    if not values:
        return None
    scripts = {script: i for i, script in enumerate(dict.fromkeys(script for script, _ in values))}
    sums, counts = np.zeros(len(scripts)), np.zeros(len(scripts))
    for script, value in values:
        sums[scripts[script]] += value
        counts[scripts[script]] += 1
    drawn = np.random.default_rng(seed).integers(len(scripts), size=(DRAWS, len(scripts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    mean = float(sums.sum() / counts.sum())
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}


def right(case: Case) -> float:
    """Return 1 if all attributes are right."""
    return float(case.shown == case.truth)


def _attribute(name: str) -> Callable[[Case], float]:
    return lambda case: float(case.shown is not None and case.shown[name] == case.truth[name])


def _returns(case: Case) -> bool:
    return case.part == "return" and case.person


CaseFigure = tuple[Callable[[Case], bool], Callable[[Case], float | None]]
CASE_FIGURES: Mapping[str, CaseFigure] = {
    "recall": (_returns, right),
    **{f"recall_{name}": (_returns, _attribute(name)) for name in ("hair", "top", "hat")},
    "recall_things": (lambda c: c.part == "return" and not c.person, right),
    "recall_alone": (lambda c: _returns(c) and c.figures == 1, right),
    "recall_beside": (lambda c: _returns(c) and c.figures > 1, right),
    "first_mention": (lambda c: c.part == "first" and c.person, right),
    "first_things": (lambda c: c.part == "first" and not c.person, right),
    "wrong_person": (_returns, lambda c: float(c.another)),
    "missing": (lambda c: c.person, lambda c: float(c.shown is None)),
    "persistence": (lambda c: c.person, lambda c: c.steady),
    "matched": (lambda c: c.part == "return", lambda c: None if c.matched is None else float(c.matched)),
    "covered": (lambda c: c.part == "return", lambda c: float(c.covered)),
    "follows_lent": (_returns, lambda c: None if c.follows is None else float(c.follows)),
    "reidentified": (_returns, lambda c: None if c.own is None else float(c.own)),
    "reidentified_things": (
        lambda c: c.part == "return" and not c.person,
        lambda c: None if c.own is None else float(c.own),
    ),
    "chance": (_returns, lambda c: c.chance),
    "likeness": (_returns, lambda c: c.likeness),
    "found": (lambda c: c.found is not None, lambda c: c.found),
}
"""Figures over cases: which count, and what of them. People only where not said otherwise.

``matched``: the return got the ID of its first mention; ``covered``: the prompt began with a memory frame that truly
shows it. With these two a loss of ``recall`` can be laid at the door of reader, retrieval or model.
"""
SEGMENT_FIGURES: Mapping[str, Callable[[Segment], float | None]] = {
    "duplicates": lambda s: s.twice,
    "strangers": lambda s: s.strangers,
    "swaps": lambda s: s.swapped,
    "flicker": lambda s: s.flicker,
    "smoothness": lambda s: s.smooth,
    "subject_consistency": lambda s: s.subject,
    "clip_score": lambda s: s.text,
}
WITHOUT_LOOKS = frozenset({
    "matched", "covered", "reidentified", "reidentified_things", "chance", "likeness", "found",
    "flicker", "smoothness", "subject_consistency", "clip_score",
})  # fmt: skip
"""Figures that need no look to be read."""
READ, CROPPED = "recall", "reidentified"
"""The main figure where looks are read, and where there are crops alone."""


def main_of(takes: Sequence[Take]) -> str:
    """Return which figure is the main one."""
    return READ if all(take.judged for take in takes) else CROPPED


def values_of(takes: Sequence[Take], figure: str) -> Values:
    """Return one of the figures as (script, value) pairs, none if it needs looks that were not read."""
    told = [take for take in takes if take.judged or figure in WITHOUT_LOOKS]
    if figure in SEGMENT_FIGURES:
        measure = SEGMENT_FIGURES[figure]
        return _given((take.script, measure(segment)) for take in told for segment in take.segments)
    counts, value = CASE_FIGURES[figure]
    return _given((take.script, value(case)) for take in told for case in take.cases if counts(case))


def summary(takes: Iterable[Take]) -> dict[str, Any]:
    """Return every figure of one variant, and ``by_gap`` and ``by_archetype``: the main figure in parts.

    ``read`` says how many prompts were read by whom, and what chat requests cost.
    """
    takes = list(takes)
    found = {name: interval(values_of(takes, name)) for name in (*CASE_FIGURES, *SEGMENT_FIGURES)}
    out: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    counts, value = CASE_FIGURES[main_of(takes)]
    cases = [(take, case, value(case)) for take in takes for case in take.cases if counts(case)]
    given = [(take, case, told) for take, case, told in cases if told is not None]
    gaps = sorted({case.gap for _, case, _ in given})
    kinds = dict.fromkeys(take.archetype for take, _, _ in given)
    out["by_gap"] = {str(g): interval([(t.script, v) for t, c, v in given if c.gap == g]) for g in gaps}
    out["by_archetype"] = {k: interval([(t.script, v) for t, _, v in given if t.archetype == k]) for k in kinds}
    out["scripts"] = len(takes)
    out["seconds"] = round(sum(take.seconds for take in takes), 1)
    by: Counter[str] = Counter()
    for take in takes:
        by.update(take.read.by)
    out["read"] = {
        "by": dict(by.most_common()),
        "requests": sum(take.read.requests for take in takes),
        "tokens": sum(take.read.tokens for take in takes),
        "seconds": round(sum(take.read.seconds for take in takes), 1),
    }
    return out


def _given(values: Iterable[tuple[int, float | None]]) -> Values:
    return [(script, value) for script, value in values if value is not None]
