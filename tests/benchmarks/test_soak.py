"""The soak benchmark: what it measures on a real stream, and that growth makes its exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from memreel.benchmarks import soak


@pytest.mark.usefixtures("small_model")
def test_a_short_soak_measures_everything_that_must_stay_flat(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["soak", "--chunks", "32", "--every", "4", "--set", "chunks_per_prompt=1", "--out", str(runs), "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    status = soak.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == (1 if result["grew"] else 0)
    assert [row["chunk"] for row in result["rows"]] == list(range(4, 33, 4))
    last = result["rows"][-1]
    assert soak.FLAT.keys() <= last.keys()
    assert 1 < last["checkpoint_kb"] < last["state_kb"] < 20
    assert last["frames"] > 0
    assert last["open_files"] > 0


@pytest.mark.parametrize("figure", soak.FLAT)
def test_what_grows_is_named(figure: str) -> None:
    flat = dict.fromkeys(("chunk", "log_mb", *soak.FLAT), 10.0)
    rows = [{**flat, "log_mb": float(number)} for number in range(1, 13)]
    assert soak.verdict(rows)["grew"] == []
    for number, row in enumerate(rows):
        row[figure] += number
    assert soak.verdict(rows)["grew"] == [figure]
