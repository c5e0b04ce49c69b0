"""Rows of RecallBench against each other, and against what is to be reached.

Rows are of the same scripts, so scripts are drawn once for both sides of a comparison (a paired cluster bootstrap):
what makes a script hard makes it hard for both, and only what the strategies differ in is left in the interval. Knows
records and figures only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from memreel.benchmarks.recallbench.cases import Take
from memreel.benchmarks.recallbench.figures import DRAWS, Interval, Values, main_of, values_of

BASES = ("identity", "identity+enrich")
"""The rows that all others with the same enrichment are compared with."""


class Ratio(TypedDict):
    """A ratio of means with its 95 % interval; None: without bound, as the other mean is 0."""

    mean: float | None
    low: float | None
    high: float | None


class Contrast(TypedDict):
    """How much more one row has than another, and how many times as much."""

    difference: Interval
    ratio: Ratio


class Target(TypedDict):
    """Something to reach: ``measured`` is reached if its mean (a lower bound, where so named) is ``needed`` or more."""

    target: str
    measured: Ratio
    needed: float
    reached: bool


def compare(one: Values, other: Values, seed: int = 0) -> Contrast | None:
    """Return the first mean less, and by, the second; scripts are drawn for both at once. None if a side is empty."""
    if not one or not other:
        return None
    scripts = {script: i for i, script in enumerate(dict.fromkeys(script for script, _ in [*one, *other]))}
    drawn = np.random.default_rng(seed).integers(len(scripts), size=(DRAWS, len(scripts)))
    everything = np.arange(len(scripts))[None]
    means = []
    for values in (one, other):
        sums, counts = np.zeros(len(scripts)), np.zeros(len(scripts))
        for script, value in values:
            sums[scripts[script]] += value
            counts[scripts[script]] += 1
        chosen = [(sums[rows].sum(1), counts[rows].sum(1)) for rows in (everything, drawn)]
        means.append([total / np.maximum(count, 1) for total, count in chosen])
    (first, firsts), (second, seconds) = means
    low, high = np.quantile(firsts - seconds, (0.025, 0.975)).tolist()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.concatenate([first, firsts]) / np.concatenate([second, seconds])
    ratios[np.isnan(ratios)] = 1.0  # none of either: the same
    bounds = [np.quantile(ratios[1:], 0.025, method="lower"), np.quantile(ratios[1:], 0.975, method="higher")]
    ratio = [round(float(value), 4) if np.isfinite(value) else None for value in (ratios[0], *bounds)]
    return {
        "difference": {
            "mean": round(float(first[0] - second[0]), 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "n": len(one),
        },
        "ratio": {"mean": ratio[0], "low": ratio[1], "high": ratio[2]},
    }


def contrasts(rows: Mapping[str, Sequence[Take]]) -> dict[str, dict[str, Contrast]]:
    """Return the main figure of each base row less that of every other with the same enrichment, and of itself without.

    Args:
        rows: takes of the same scripts, by variant.
    """
    out: dict[str, dict[str, Contrast]] = {}
    for base in (name for name in BASES if name in rows):
        main = main_of(rows[base])
        mine = values_of(rows[base], main)
        for name, takes in rows.items():
            alike = name.endswith("+enrich") == base.endswith("+enrich") or f"{name}+enrich" == base
            if name == base or not alike:
                continue
            if (found := compare(mine, values_of(takes, main))) is not None:
                out.setdefault(base, {})[name] = found
    return out


def targets(rows: Mapping[str, Sequence[Take]], summaries: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """Return what ``identity`` is to reach, as far as the rows can tell.

    Args:
        rows: takes of the same scripts, by variant.
        summaries: the figures of each row.
    """
    found: list[Target | None] = [
        _share(summaries, "identity", "recall", 0.70, "recall by memory frames alone"),
        _share(summaries, "identity+enrich", "recall", 0.85, "recall with enrichment"),
        _times(rows, "oracle", 0.90),
        _times(rows, "none", 5.0),
        _apart(summaries, "attention"),
        _apart(summaries, "semantic"),
        _company(rows),
        _share(summaries, "identity", "first_mention", 0.90, "first mention right"),
    ]
    return [target for target in found if target is not None]


def _target(name: str, measured: Ratio, needed: float, reached: bool) -> Target:
    return {"target": name, "measured": measured, "needed": needed, "reached": reached}


def _share(
    summaries: Mapping[str, Mapping[str, Any]], row: str, figure: str, needed: float, name: str
) -> Target | None:
    value = summaries.get(row, {}).get(figure)
    if value is None:
        return None
    measured: Ratio = {"mean": value["mean"], "low": value["low"], "high": value["high"]}
    return _target(name, measured, needed, value["mean"] >= needed)


def _times(rows: Mapping[str, Sequence[Take]], other: str, needed: float) -> Target | None:
    found = compare(values_of(rows.get("identity", ()), "recall"), values_of(rows.get(other, ()), "recall"))
    if found is None:
        return None
    mean, more = found["ratio"]["mean"], found["difference"]["mean"] > 0
    return _target(f"recall, times that of {other}", found["ratio"], needed, more if mean is None else mean >= needed)


def _apart(summaries: Mapping[str, Mapping[str, Any]], other: str) -> Target | None:
    mine, theirs = (summaries.get(row, {}).get("recall") for row in ("identity", other))
    if mine is None or theirs is None:
        return None
    low: Ratio = {"mean": mine["low"], "low": None, "high": None}
    return _target(
        f"lower bound of recall above the upper bound of {other}", low, theirs["high"], mine["low"] > theirs["high"]
    )


def _company(rows: Mapping[str, Sequence[Take]]) -> Target | None:
    takes = rows.get("identity", ())
    found = compare(values_of(takes, "recall_beside"), values_of(takes, "recall_alone"))
    if found is None:
        return None
    mean = found["ratio"]["mean"]
    return _target("recall beside others, times that alone", found["ratio"], 0.75, mean is not None and mean >= 0.75)
