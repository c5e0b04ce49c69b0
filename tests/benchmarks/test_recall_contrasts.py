"""Rows against each other: pairs are narrower than rows apart, nothing is divided by nothing, targets are read off."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memreel.benchmarks.recallbench.account import told
from memreel.benchmarks.recallbench.cases import Case, Take
from memreel.benchmarks.recallbench.contrasts import compare, contrasts, targets
from memreel.benchmarks.recallbench.figures import interval, summary

RED, BLACK = ({"hair": hair, "top": "blue", "hat": "none"} for hair in ("red", "black"))


def take(script: int, variant: str, *returns: bool, first: bool = True, figures: int = 1) -> Take:
    """A take in which somebody appears first, right or not, and comes back as often as is said, right or not."""
    parts = [("first", first), *(("return", right) for right in returns)]
    cases = [
        Case(n, 0, True, part, 1, figures, RED, RED if right else BLACK, False, 1.0, True, True, None)  # type: ignore[arg-type]
        for n, (part, right) in enumerate(parts, 1)
    ]
    return Take(script, "solo", variant, cases, [], 1.0, "w")


def row(variant: str, shares: Sequence[float], **more: int) -> list[Take]:
    """A row of scripts of ten returns each, of which so many are right."""
    return [take(n, variant, *(i < round(10 * s) for i in range(10)), **more) for n, s in enumerate(shares)]


def test_a_steady_advantage_is_certain_in_pairs_although_the_rows_overlap() -> None:
    hard = [0.1 * (n % 10) for n in range(40)]
    mine = [(n, value + 0.1) for n, value in enumerate(hard)]
    theirs = list(enumerate(hard))
    found = compare(mine, theirs)
    assert found
    assert found["difference"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "n": 40}
    assert found["ratio"]["mean"] == pytest.approx(0.55 / 0.45, abs=1e-3)
    one, other = interval(mine), interval(theirs)
    assert one
    assert other
    assert one["low"] < other["high"]


def test_a_ratio_to_nothing_has_no_bound_and_nothing_to_nothing_is_the_same() -> None:
    some, nothing = [(n, 0.5) for n in range(9)], [(n, 0.0) for n in range(9)]
    most = compare(some, nothing)
    none = compare(nothing, nothing)
    assert most
    assert none
    assert most["ratio"] == {"mean": None, "low": None, "high": None}
    assert none["ratio"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert compare([], some) is None


def test_rows_are_compared_with_those_of_the_same_enrichment_and_with_themselves_without() -> None:
    names = ("none", "none+enrich", "identity", "identity+enrich", "identity@1", "oracle")
    found = contrasts({name: row(name, [0.5, 0.6]) for name in names})
    assert list(found["identity"]) == ["none", "identity@1", "oracle"]
    assert list(found["identity+enrich"]) == ["none+enrich", "identity"]


def reached(rows: dict[str, list[Take]]) -> dict[str, bool]:
    found = targets(rows, {name: summary(takes) for name, takes in rows.items()})
    assert all(told(one).startswith("reached" if one["reached"] else "missed") for one in found)
    return {one["target"]: one["reached"] for one in found}


def test_each_target_is_reached_or_missed_by_its_own_figure() -> None:
    def rows(identity: float = 0.8, enriched: float = 0.9, oracle: float = 0.85, none: float = 0.1,
             other: float = 0.5) -> dict[str, list[Take]]:  # fmt: skip
        shares = {"identity": identity, "identity+enrich": enriched, "oracle": oracle, "none": none}
        return {n: row(n, [s] * 6) for n, s in (shares | {"attention": other, "semantic": other}).items()}

    good = reached(rows())
    assert len(good) == 7
    assert all(good.values())
    missed = {name for name, was in reached(rows(identity=0.6, oracle=0.6)).items() if not was}
    assert missed == {"recall by memory frames alone"}
    assert {n for n, was in reached(rows(enriched=0.8)).items() if not was} == {"recall with enrichment"}
    assert {n for n, was in reached(rows(oracle=1.0)).items() if not was} == {"recall, times that of oracle"}
    assert {n for n, was in reached(rows(none=0.2)).items() if not was} == {"recall, times that of none"}
    assert all(reached(rows(none=0.0)).values())
    apart = {n for n, was in reached(rows(other=0.8)).items() if not was}
    assert apart == {f"lower bound of recall above the upper bound of {name}" for name in ("attention", "semantic")}


def test_company_is_held_against_being_alone_and_first_mentions_count() -> None:
    alone, beside = row("identity", [0.8] * 4), row("identity", [0.5] * 4, figures=2)
    both = [*alone, *(Take(**{**vars(t), "script": t.script + 4}) for t in beside)]
    found = reached({"identity": both})
    assert found["recall beside others, times that alone"] is False
    assert found["first mention right"] is True
    shy = [take(n, "identity", True, first=n > 0) for n in range(4)]
    assert reached({"identity": shy}) == {"recall by memory frames alone": True, "first mention right": False}
