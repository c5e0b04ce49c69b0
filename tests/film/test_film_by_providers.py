"""Whole films at providers, on local servers: failover, budget and resume from the idea to the merged file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.film.clips.footage import examine
from memreel.film.making import make_film
from memreel.film.settings import FilmContext
from memreel.film.state import FilmInput
from memreel.output.video import read_pictures
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


def plan(*seconds: float, **scene: Any) -> dict[str, Any]:
    return {
        "title": "Quay",
        "scenes": [{"seconds": each, "text": f"It rains, {n}."} | scene for n, each in enumerate(seconds)],
    }


def at_runway(out: Path, budget: float | None = None, **settings: Any) -> FilmContext:
    config = RunConfig.model_validate({"film": {"threshold": 0, **settings}})
    return FilmContext(out=str(out), model="runway", budget=budget, config=config)


def test_scenes_that_wait_for_nothing_are_made_together_three_at_a_time(runway: ProviderServer, tmp_path: Path) -> None:
    runway.courses = [Course(["RUNNING"] * 20 + ["SUCCEEDED"]) for _ in range(5)]
    events = list(make_film({"plan": plan(2, 2, 2, 2, 2), "film_id": "quay"}, at_runway(tmp_path)))
    assert events[-1]["status"] == "done"
    assert runway.most_flying == 3
    assert [len(event["keys"]) for event in events if event["type"] == "batch"] == [3, 2]
    assert [shot["scene"] for shot in facts(tmp_path)["takes"]] == [1, 2, 3, 4, 5]


def test_whole_seconds_are_asked_for_said_and_billed_and_the_film_is_as_long_as_its_plan(
    runway: ProviderServer, tmp_path: Path
) -> None:
    events = list(make_film({"plan": plan(2.25, 3.75), "film_id": "quay"}, at_runway(tmp_path, 1.0)))
    assert sorted(asked["duration"] for _, asked in runway.asked) == [3, 4]  # made together: either may be first
    notes = [event["note"] for event in events if event["type"] == "clip_adapted"]
    assert sorted(notes) == [
        "2.25 s asked, 3 s made: the next length on offer",
        "3.75 s asked, 4 s made: the next length on offer",
    ]
    assert facts(tmp_path)["spent"]["usd"] == pytest.approx(7 * 0.12) == runway.charged
    assert examine(tmp_path / "quay" / "video.mp4").pictures == 6 * 24


def test_a_planned_film_fits_the_longest_clip_of_its_provider(runway: ProviderServer, tmp_path: Path) -> None:
    events = list(make_film({**IDEA, "seconds": 30}, at_runway(tmp_path)))
    assert events[-1]["status"] == "done"
    assert max(asked["duration"] for _, asked in runway.asked if "duration" in asked) == 10
    assert examine(tmp_path / "quay" / "video.mp4").seconds == pytest.approx(30, abs=0.76)


def test_a_continuation_goes_on_from_the_last_picture_shown_and_does_not_show_it_twice(
    runway: ProviderServer, tmp_path: Path
) -> None:
    going_on = plan(2.25, 2.25, 2.25, transition="continuation")
    going_on["scenes"][0]["transition"] = "cut"
    list(make_film({"plan": going_on, "film_id": "quay"}, at_runway(tmp_path)))
    takes = facts(tmp_path)["takes"]
    assert [take["repeats"] for take in takes] == [0, 1, 1]
    film, clips = tmp_path / "quay" / "video.mp4", [tmp_path / "quay" / take["path"] for take in takes]
    shown = read_pictures(film, range(162))
    assert len(shown) == 3 * 54
    for number, clip in enumerate(clips):  # a clip of 72 pictures grows lighter: every picture is another one
        first = 1 if number else 0
        own = read_pictures(clip, range(first, first + 54))
        levels = [[float(one[:, :20].mean()) for one in (shown[54 * number + n], own[first + n])] for n in range(54)]
        assert all(abs(ours - theirs) < 4 for ours, theirs in levels)
    sent = [tmp_path / "quay" / "sent" / f"s0{n}a1_last.png" for n in (1, 2)]
    with Image.open(sent[0]) as one, Image.open(sent[1]) as other:
        levels = [float(np.asarray(picture)[:, :20].mean()) for picture in (one, other)]
    assert levels == pytest.approx([float(shown[n][:, :20].mean()) for n in (53, 107)], abs=4)


def test_a_film_that_is_started_over_does_not_forget_what_it_has_spent(runway: ProviderServer, tmp_path: Path) -> None:
    given: FilmInput = {"plan": plan(2, 2), "film_id": "quay"}
    list(make_film(given, at_runway(tmp_path, 0.9)))
    with pytest.raises(UserError, match=r"0\.48 of it spent already"):
        list(make_film(given, at_runway(tmp_path, 0.9)))
    assert len(runway.tasks) == 2
    events = list(make_film(given, at_runway(tmp_path, 1.0)))
    assert next(event for event in events if event["type"] == "spent_before")["usd"] == pytest.approx(0.48)
    assert len(runway.tasks) == 4
    assert facts(tmp_path)["spent"] | {"providers": 0} == {
        "usd": pytest.approx(0.48), "before_usd": pytest.approx(0.48), "chat": [], "providers": 0,
    }  # fmt: skip


def test_auto_without_keys_makes_the_film_on_this_machine(small_model: object, tmp_path: Path) -> None:
    context = FilmContext(out=str(tmp_path), model="auto", config=RunConfig.model_validate({"film": {"threshold": 0}}))
    events = list(make_film({"plan": plan(1.5, 1.5), "film_id": "quay"}, context))
    assert events[-1]["status"] == "done"
    assert facts(tmp_path)["spent"]["providers"]["local"]["clips"] == 2
    needs = [(event["memory_mb"], event["measured"]) for event in events if event["type"] == "batch"]
    assert needs[0] == (662, False)  # 512 MB and 100 MB a second …
    assert needs[1][1]  # … until it was measured
    assert needs[1][0] != 662
