"""Who makes a clip: rules as data, keys, failover to another provider or to this machine, dry runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memreel.configs.schema import RunConfig
from memreel.errors import ModelError, UserError
from memreel.film.clips.ledger import Books
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import Reference
from memreel.film.clips.router import hosted
from memreel.film.models import clip_model, eye_for
from memreel.tests.conftest import SmallModel
from memreel.tests.film.provider_servers import Course, ProviderServer, Status
from memreel.tests.film.wishes import QUICK, WISH, Log


@pytest.mark.parametrize(
    ("change", "budget", "model"),
    [
        ({}, None, "omni-1.2"),
        ({"style": "creative collage"}, None, "gen4.5"),
        ({"quality": "premium"}, 20.0, "omni-1.2"),
        ({"ratio": "1:1", "first_frame": True}, None, "gen4.5"),
        ({"seconds": 12}, None, "omni-1.2"),
        ({"seconds": 2.0, "style": "experimental"}, 1.0, "gen4.5"),
    ],
)
def test_routes_follow_the_rules_of_the_table(
    runway: ProviderServer,
    google: ProviderServer,
    look: tuple[Reference, ...],
    change: dict[str, Any],
    budget: float | None,
    model: str,
) -> None:
    if change.get("first_frame"):
        change = {**change, "first_frame": look[0].path}
    assert hosted("auto", budget, QUICK).route(replace(WISH, **change)).model == model


def test_on_vertex_premium_quality_goes_to_veo_if_the_budget_allows_it(vertex: ProviderServer) -> None:
    wish = replace(WISH, quality="premium")
    assert hosted("auto", 20.0, QUICK).route(wish).model == "veo-3.1"
    assert hosted("auto", 5.0, QUICK).route(wish).model == "omni-1.2"


def test_who_has_no_key_is_asked_last(
    runway: ProviderServer, google: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    assert hosted("auto", None, QUICK).generate(WISH, tmp_path, log.append).provider == "runway"
    assert not google.asked


def test_a_dry_run_says_routes_and_costs_and_sends_nothing(
    runway: ProviderServer, google: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    router = hosted("gen4.5", 1.0, QUICK)
    told = router.dry_run([WISH, replace(WISH, key="s02a1", seconds=6.2)])
    assert [(route["key"], route["model"], route["usd"]) for route in told["routes"]] == [
        ("s01a1", "gen4.5", 0.48),
        ("s02a1", "gen4.5", 0.84),
    ]
    assert told["usd"] == pytest.approx(1.32)
    assert told["over_budget"] == pytest.approx(0.32)
    assert told["missing_keys"] == ["RUNWAYML_API_SECRET"]
    assert "6.2 s asked, 7 s made: the next length on offer" in told["routes"][1]["notes"]
    json.dumps(told)
    monkeypatch.setenv("RUNWAYML_API_SECRET", "key")
    with pytest.raises(UserError, match=r"1\.32 USD, the budget is 1\.00 USD"):
        router.require([WISH, replace(WISH, seconds=6.2)])
    assert not runway.asked


def test_an_unknown_model_is_suggested() -> None:
    with pytest.raises(UserError, match="did you mean 'runway'"):
        hosted("runwai")


def test_a_provider_that_wants_to_be_left_alone_for_long_is_passed_over(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log
) -> None:
    google.creates = [Status(429, "quota", {"retry-after": "3600"})] * 2
    clip = hosted("auto", None, QUICK).generate(WISH, tmp_path, log.append)
    assert clip.provider == "runway"
    assert len(google.asked) == 2  # one for each of its models, none of them twice
    assert not log.of("clip_retry")


def test_another_provider_takes_over_with_its_own_request_shape_and_both_costs_are_recorded(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    google.courses = [Course(["RUNNING", "FAILED"], failure="internal error")] * 2
    router = hosted("auto", 10.0, QUICK)
    clip = router.generate(replace(WISH, references=look), tmp_path, log.append)
    assert clip.provider == "runway"
    assert [path.rsplit("/", 1)[1] for path, _ in google.asked] == ["interactions"] * 2
    assert [path for path, _ in runway.asked] == ["/v1/text_to_image", "/v1/image_to_video"]
    assert [(event["model"], event["to"]) for event in log.of("clip_failover")] == [
        ("omni-1.2", "omni-1.1"),
        ("omni-1.1", "gen4.5"),
    ]
    rows = {row["model"]: row for row in router.ledger(tmp_path).summary()["rows"]}
    assert {name: row["failed"] for name, row in rows.items()} == {"omni-1.2": 1, "omni-1.1": 1, "gen4.5": 0}
    assert rows["gen4.5"]["usd"] == pytest.approx(0.53)


def test_all_reasons_are_told_when_everybody_fails(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log
) -> None:
    google.creates = [Status(400, "not like this")] * 2
    runway.creates = [Status(400, "nor like this")]
    with pytest.raises(ModelError) as caught:
        hosted("auto", None, QUICK).generate(WISH, tmp_path, log.append)
    assert "not like this" in str(caught.value)
    assert "nor like this" in str(caught.value)


def test_a_task_that_was_paid_for_goes_before_the_rules(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log
) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "clip_task":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hosted("runway", None, QUICK).generate(WISH, tmp_path, stop)
    clip = hosted("auto", None, QUICK).generate(WISH, tmp_path, log.append)
    assert (clip.provider, clip.task_id) == ("runway", "task1")
    assert not google.asked


# --- this machine beside the providers ---


@pytest.fixture
def here(small_model: SmallModel) -> LocalStream:
    return LocalStream(lambda: small_model)


@pytest.mark.parametrize(
    ("change", "budget", "model", "because"),
    [
        ({}, None, "omni-1.2", "the lowest price"),
        ({"quality": "draft"}, None, "small", "a draft costs nothing on this machine"),
        ({}, 0.01, "small", "the budget buys nothing"),
        ({"style": "flat drawing in pastel"}, None, "small", "a drawn style"),
        ({"quality": "premium"}, 20.0, "omni-1.2", "premium quality, and the budget allows it"),
        ({"seconds": 30.0}, None, "small", "the only one that can"),
    ],
)
def test_the_rules_weigh_this_machine_with_the_providers(
    runway: ProviderServer,
    google: ProviderServer,
    here: LocalStream,
    change: dict[str, Any],
    budget: float | None,
    model: str,
    because: str,
) -> None:
    route = hosted("auto", budget, QUICK, here).route(replace(WISH, **change))
    assert (route.model, route.because) == (model, because)
    assert (route.provider == "local") == (model == "small") == (route.cost.usd == 0)


def test_without_any_key_this_machine_makes_it_and_nothing_is_missing(
    here: LocalStream, tmp_path: Path, log: Log
) -> None:
    router = hosted("auto", None, QUICK, here)
    assert router.capabilities == here.capabilities
    told = router.dry_run([WISH], tmp_path)
    assert (told["routes"][0]["model"], told["missing_keys"], told["usd"]) == ("small", [], 0)
    router.require([WISH], tmp_path)
    assert router.generate(WISH, tmp_path, log.append).provider == "local"


def test_this_machine_stands_in_when_every_provider_fails_and_when_the_money_is_gone(
    runway: ProviderServer, google: ProviderServer, here: LocalStream, tmp_path: Path, log: Log
) -> None:
    google.creates = [Status(400, "no")] * 2
    runway.courses = [Course(["RUNNING", "FAILED"], refund=False)]
    router = hosted("auto", 0.5, QUICK, here)
    assert router.generate(WISH, tmp_path, log.append).provider == "local"
    assert [event["to"] for event in log.of("clip_failover")] == ["omni-1.1", "gen4.5", "small"]
    assert router.ledger(tmp_path).left == pytest.approx(0.02)
    asked = len(google.asked) + len(runway.asked)
    assert router.generate(replace(WISH, key="s02a1"), tmp_path, log.append).provider == "local"
    assert len(google.asked) + len(runway.asked) == asked
    assert router.generate(WISH, tmp_path, log.append).path.is_file()  # it is there already


def test_a_budget_that_is_too_small_names_this_machine_as_a_cure(google: ProviderServer, here: LocalStream) -> None:
    with pytest.raises(UserError, match="--model local"):
        hosted("auto", 0.2, QUICK, here).require([WISH])


def test_auto_goes_without_a_local_model_whose_weights_are_missing(google: ProviderServer, tmp_path: Path) -> None:
    config = RunConfig.model_validate({"model": {"name": "wan", "weights": str(tmp_path / "none.safetensors")}})
    router = clip_model("auto", config, Books(None))
    route = router.route(WISH)  # type: ignore[attr-defined]
    assert route.model == "omni-1.2"
    assert "none.safetensors" in route.refused["wan"]


def test_the_drawn_world_is_read_where_this_machine_is_alone(
    embedded_model: object, google: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert eye_for(RunConfig(), clip_model("auto", RunConfig(), Books(None))).name == "likeness"
    monkeypatch.delenv("GEMINI_API_KEY")
    assert eye_for(RunConfig(), clip_model("auto", RunConfig(), Books(None))).name == "reader of the drawn world"


def test_a_dry_run_names_the_figures_that_no_provider_has_stated(google: ProviderServer) -> None:
    told = hosted("omni-1.1", None, QUICK).dry_run([WISH])
    assert told["assumed"] == {"omni-1.1": ["references", "prompt_units", "speed"]}
    assert told["routes"][0]["assumed"] == told["assumed"]["omni-1.1"]
