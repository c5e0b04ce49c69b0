"""Whole films at providers, on local servers: failover, budget and resume from the idea to the merged file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memreel.errors import UserError
from memreel.film.clips.footage import examine
from memreel.film.making import make_film
from memreel.film.settings import FilmContext
from memreel.film.state import FilmInput
from memreel.tests.film.provider_servers import Course, ProviderServer
from memreel.tests.film.wishes import QUICK

IDEA: FilmInput = {
    "idea": "Nora, a young woman with short red hair, walks along the quay. She meets Ethan, a tall man in blue.",
    "seconds": 15,
    "film_id": "quay",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memreel.film.clips.router.Patience", lambda: QUICK)


def film(out: Path, budget: float, **change: Any) -> FilmContext:
    return FilmContext(out=str(out), model="auto", budget=budget, review=False, **change)


def facts(out: Path) -> dict[str, Any]:
    return json.loads((out / "quay" / "run.json").read_text())


def test_a_film_goes_on_with_another_provider_and_says_what_both_charged(
    google: ProviderServer, runway: ProviderServer, tmp_path: Path
) -> None:
    google.courses = [Course(["RUNNING", "FAILED"])] * 40
    events = list(make_film(IDEA, film(tmp_path, 20.0)))
    assert events[-1]["status"] == "done"
    assert {event["to"] for event in events if event["type"] == "clip_failover"} == {"omni-1.1", "gen4.5"}
    ledger = facts(tmp_path)["ledger"]
    rows = {row["model"]: row for row in ledger["rows"]}
    assert rows["gen4.5"]["usd"] == pytest.approx(runway.charged) == ledger["usd"]
    assert rows["omni-1.2"]["failed"] == rows["omni-1.2"]["tasks"] > 0
    assert examine(tmp_path / "quay" / "video.mp4").seconds == pytest.approx(15, abs=0.76)


def test_a_tight_budget_gives_a_whole_film_and_no_retakes(
    google: ProviderServer, runway: ProviderServer, tmp_path: Path
) -> None:
    events = list(make_film(IDEA, film(tmp_path, 1.3)))
    assert events[-1]["status"] == "done"
    assert any(event["type"] == "clip_skipped" for event in events)
    assert google.charged + runway.charged == pytest.approx(facts(tmp_path)["ledger"]["usd"])
    assert google.charged + runway.charged <= 1.3
    assert len(facts(tmp_path)["shots"]) == 2


def test_a_budget_that_is_too_small_for_the_film_spends_nothing(
    google: ProviderServer, runway: ProviderServer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="raise --budget"):
        list(make_film(IDEA, film(tmp_path, 0.5)))
    assert not google.asked
    assert not runway.asked


@pytest.mark.parametrize("stop_at", ["clip_task", "clip_cost", "take"])
def test_an_interrupted_film_is_gone_on_with_and_pays_for_every_take_once(
    google: ProviderServer, runway: ProviderServer, tmp_path: Path, stop_at: str
) -> None:
    making = make_film(IDEA, film(tmp_path, 20.0))
    next(event for event in making if event["type"] == stop_at)
    making.close()
    events = list(make_film(IDEA, film(tmp_path, 20.0), resume=True))
    assert events[-1]["status"] == "done"
    told = facts(tmp_path)
    assert len(google.tasks) == len(told["takes"])
    assert google.charged == pytest.approx(told["ledger"]["usd"])
