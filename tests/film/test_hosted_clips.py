"""Clips from providers: real SDKs against local servers that speak the providers' wire formats, with faults."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from provider_servers import Course, Drop, GoogleHandler, Output, ProviderServer, RunwayHandler, Status, serve

from memreel.errors import ModelError, UserError
from memreel.film.clips.footage import examine
from memreel.film.clips.patience import Patience
from memreel.film.clips.protocol import ClipRequest, Reference
from memreel.film.clips.router import Router, hosted

QUICK = Patience(pause=0.01, poll=0.01, deadline=5.0, cool=0.3, request=5.0, longest_pause=2.0)
WISH = ClipRequest(key="s01a1", prompt="Nora walks along the quay at dusk.", seconds=4, seed=7)


class Log(list[dict[str, Any]]):
    """The events of a test."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self if event["type"] == kind]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def runway(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serve(RunwayHandler) as server:
        monkeypatch.setenv("RUNWAYML_API_SECRET", "key_runway")
        monkeypatch.setenv("RUNWAYML_BASE_URL", server.address)
        yield server


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serve(GoogleHandler) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "key_google")
        monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
        monkeypatch.delenv("GOOGLE_GENAI_USE_VERTEXAI", raising=False)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.address)
        yield server


@pytest.fixture
def look(tmp_path: Path) -> tuple[Reference, ...]:
    """References to two people."""
    found = []
    for name, colour in (("Nora", "red"), ("Ethan", "blue")):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (96, 64), colour).save(path)
        found.append(Reference(path, name, f"{name}, dressed in {colour}" + "." * (name == "Nora")))
    return tuple(found)


def ledger_of(router: Router, folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "ledger.json").read_text())["entries"]


# --- success: each provider's own request shape ---


def test_runway_makes_a_clip_from_text_and_charges_what_runway_says(
    runway: ProviderServer, tmp_path: Path, log: Log
) -> None:
    router = hosted("runway", 5.0, QUICK)
    clip = router.generate(replace(WISH, seconds=3.5), tmp_path, log.append)
    assert clip.path == tmp_path / "s01a1.mp4"
    assert examine(clip.path).seconds == pytest.approx(4.0)
    assert (clip.provider, clip.model, clip.task_id) == ("runway", "gen4.5", "task1")
    assert clip.cost.usd == pytest.approx(0.48) == runway.charged
    assert clip.cost.credits == 48
    [(path, asked)] = runway.asked
    assert path == "/v1/text_to_video"
    assert asked == {
        "model": "gen4.5",
        "promptText": WISH.prompt,
        "duration": 4,
        "ratio": "1280:720",
        "seed": 7,
    }
    assert runway.keys == ["Bearer key_runway"]
    assert any("3.5 s asked, 4 s made" in event["note"] for event in log.of("clip_adapted"))
    assert router.ledger(tmp_path).summary()["rows"] == [
        {"provider": "runway", "model": "gen4.5", "tasks": 1, "failed": 0, "seconds": 4.0}
        | {"credits": 48, "usd": 0.48, "open_usd": 0.0}
    ]


def test_runway_continues_a_first_frame_and_leaves_the_references_out(
    runway: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[0].path, references=look, prompt="@Nora walks on.")
    clip = hosted("runway", None, QUICK).generate(wish, tmp_path, log.append)
    [(path, asked)] = runway.asked
    assert path == "/v1/image_to_video"
    assert asked["promptText"] == "Nora, dressed in red walks on."
    data = base64.b64decode(asked["promptImage"][0]["uri"].removeprefix("data:image/png;base64,"))
    assert data == look[0].path.read_bytes()
    assert any("both at once" in note for note in clip.notes)


def test_runway_has_a_first_frame_painted_from_references(
    runway: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    router = hosted("runway", 5.0, QUICK)
    wish = replace(WISH, prompt="@Nora greets somebody.", references=look)
    assert router.estimate(wish).usd == pytest.approx(0.05 + 0.48)
    clip = router.generate(wish, tmp_path, log.append)
    (first, painting), (second, asked) = runway.asked
    assert (first, second) == ("/v1/text_to_image", "/v1/image_to_video")
    assert [image["tag"] for image in painting["referenceImages"]] == ["Nora", "Ethan"]
    assert painting["promptText"] == "@Nora greets somebody. @Ethan is Ethan, dressed in blue."
    assert asked["promptImage"][0]["position"] == "first"
    assert clip.cost.usd == pytest.approx(0.53) == runway.charged


def test_google_gets_references_by_number_and_is_charged_by_tokens(
    google: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    router = hosted("omni-1.1", 5.0, QUICK)
    clip = router.generate(replace(WISH, prompt="@Ethan turns.", references=look), tmp_path, log.append)
    [(path, asked)] = google.asked
    assert path.endswith("/interactions")
    assert asked["model"] == "gemini-omni-1.1-flash"
    assert asked["background"] is True
    assert asked["response_format"] == {
        "type": "video",
        "aspect_ratio": "16:9",
        "duration": "4s",
        "resolution": "720p",
        "delivery": "uri",
    }
    assert asked["generation_config"] == {"video_config": {"task": "reference_to_video"}}
    parts = asked["input"][0]["content"]
    assert [part["type"] for part in parts] == ["image", "image", "text"]
    assert parts[2]["text"] == "<IMAGE_REF_1> turns. <IMAGE_REF_0> shows Nora, dressed in red."
    assert examine(clip.path).seconds == pytest.approx(4.0)
    assert clip.cost.usd == pytest.approx(0.40)
    assert google.keys == ["key_google"]


@pytest.fixture
def vertex(google: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    """Google's server, spoken to as Vertex AI."""
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_API_KEY", "key_vertex")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", google.address)
    return google


def test_on_vertex_the_video_comes_in_the_answer(vertex: ProviderServer, tmp_path: Path, log: Log) -> None:
    clip = hosted("omni-1.2", None, QUICK).generate(WISH, tmp_path, log.append)
    assert examine(clip.path).pictures == 96
    assert vertex.downloads == 0
    assert vertex.keys == ["key_vertex"]


def test_on_vertex_premium_quality_goes_to_veo_if_the_budget_allows_it(vertex: ProviderServer) -> None:
    wish = replace(WISH, quality="premium")
    assert hosted("auto", 20.0, QUICK).route(wish).model == "veo-3.1"
    assert hosted("auto", 5.0, QUICK).route(wish).model == "omni-1.2"


def test_veo_on_vertex_serves_references_by_its_one_length(
    vertex: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, seconds=5, references=look, prompt="@Nora waits.")
    clip = hosted("veo-3.1", 5.0, QUICK).generate(wish, tmp_path, log.append)
    path, asked = vertex.asked[0]
    assert vertex.keys[0] == "key_vertex"
    assert path.endswith("/models/veo-3.1-fast-generate-001:predictLongRunning")
    assert asked["parameters"]["durationSeconds"] == 8
    assert len(asked["instances"][0]["referenceImages"]) == 2
    assert asked["instances"][0]["prompt"] == "Nora, dressed in red waits."
    assert clip.seconds == pytest.approx(8.0)
    assert clip.cost.usd == pytest.approx(0.80)


# --- refused before anything is sent ---


@pytest.mark.parametrize(
    ("model", "change", "says"),
    [
        ("gen4.5", {"prompt": "🎬" * 501}, "up to 1000 characters (UTF-16 units), this one has 1002"),
        ("gen4.5", {"prompt": "  "}, "needs a prompt"),
        ("gen4.5", {"seconds": 11}, "2 to 10 s, not 11 s"),
        ("gen4.5", {"seconds": 0}, "2 to 10 s, not 0 s"),
        ("gen4.5", {"ratio": "1:1"}, "1280:720" and "16:9, 9:16 here, not 1:1"),
        ("omni-1.1", {"ratio": "1:1"}, "16:9, 9:16 here, not 1:1"),
        ("veo-3.1", {"seconds": 9}, "4 to 8 s, not 9 s"),
        ("omni-1.2", {"first_frame": Path(__file__)}, "not a picture"),
        ("omni-1.2", {"references": (Reference(Path(__file__), "x", "a tag that is too short"),)}, "3 to 16 letters"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_sent(
    runway: ProviderServer,
    google: ProviderServer,
    tmp_path: Path,
    log: Log,
    model: str,
    change: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(UserError) as caught:
        hosted(model, 5.0, QUICK).generate(replace(WISH, **change), tmp_path, log.append)
    assert says in str(caught.value)
    assert not runway.asked
    assert not google.asked
    assert not (tmp_path / "ledger.json").exists()


def test_a_prompt_of_exactly_the_limit_is_sent(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    hosted("runway", None, QUICK).generate(replace(WISH, prompt="🎬" * 500), tmp_path, log.append)
    assert runway.asked[0][1]["promptText"] == "🎬" * 500


def test_a_large_picture_is_sent_smaller(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    noisy = tmp_path / "noise.bmp"
    Image.new("RGB", (1500, 900), "teal").save(noisy)
    assert noisy.stat().st_size > 3_750_000
    clip = hosted("runway", None, QUICK).generate(replace(WISH, first_frame=noisy), tmp_path, log.append)
    assert len(runway.asked[0][1]["promptImage"][0]["uri"]) < 5_100_000
    assert "noise.bmp sent as a smaller JPEG" in clip.notes


def test_a_missing_key_names_its_variable(
    runway: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    router = hosted("runway", 5.0, QUICK)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.generate(WISH, tmp_path, log.append)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.require([WISH])
    assert not runway.asked


def test_a_missing_sdk_says_what_to_install(
    runway: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    monkeypatch.delitem(sys.modules, "memreel.film.clips.runway", raising=False)
    monkeypatch.setitem(sys.modules, "runwayml", None)
    with pytest.raises(UserError, match=r"pip install 'memreel\[hosted\]'"):
        hosted("runway", 5.0, QUICK).generate(WISH, tmp_path, log.append)
    assert not (tmp_path / "ledger.json").exists()


def test_a_model_of_vertex_alone_says_what_to_set(google: ProviderServer, tmp_path: Path, log: Log) -> None:
    with pytest.raises(UserError, match="GOOGLE_GENAI_USE_VERTEXAI"):
        hosted("veo-3.1", 5.0, QUICK).generate(WISH, tmp_path, log.append)
    assert not google.asked


def test_a_key_that_is_not_accepted_names_its_variable(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.creates = [Status(401, "invalid key")]
    router = hosted("runway", 5.0, QUICK)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.generate(WISH, tmp_path, log.append)
    assert len(runway.asked) == 1
    assert router.ledger(tmp_path).left == 5.0


# --- faults of one provider ---


def test_throttled_tasks_are_waited_for(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.courses = [Course(["PENDING", "THROTTLED", "THROTTLED", "RUNNING", "RUNNING", "SUCCEEDED"])]
    clip = hosted("runway", None, QUICK).generate(WISH, tmp_path, log.append)
    assert clip.seconds == pytest.approx(4.0)
    assert [event["progress"] for event in log.of("clip_task")] == ["waiting", "waiting", "running"]


@pytest.mark.parametrize("provider", ["runway", "google"])
def test_retry_after_is_obeyed(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log, provider: str
) -> None:
    server = {"runway": runway, "google": google}[provider]
    server.creates = [Status(429, "slow down", {"retry-after": "1"})]
    hosted({"runway": "gen4.5", "google": "omni-1.2"}[provider], None, QUICK).generate(WISH, tmp_path, log.append)
    [retry] = log.of("clip_retry")
    assert retry["wait_seconds"] >= 1.0
    assert len(server.asked) == 2


def test_a_provider_that_wants_to_be_left_alone_for_long_is_passed_over(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log
) -> None:
    google.creates = [Status(429, "quota", {"retry-after": "3600"})] * 2
    clip = hosted("auto", None, QUICK).generate(WISH, tmp_path, log.append)
    assert clip.provider == "runway"
    assert len(google.asked) == 2  # one for each of its models, none of them twice
    assert not log.of("clip_retry")


@pytest.mark.parametrize("fate", [Status(500), Status(503), Drop(taken=False)])
def test_creation_is_tried_three_times(runway: ProviderServer, tmp_path: Path, log: Log, fate: Any) -> None:
    runway.creates = [fate, fate]
    clip = hosted("runway", 2.0, QUICK).generate(WISH, tmp_path, log.append)
    assert clip.task_id == "task1"
    assert len(runway.asked) == 3
    assert len(log.of("clip_retry")) == 2


@pytest.mark.parametrize("provider", ["runway", "google"])
def test_looks_that_fail_do_not_lose_the_task(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log, provider: str
) -> None:
    server = {"runway": runway, "google": google}[provider]
    server.looks = [Status(500), Status(429), Status(502), Status(200, "not what was asked for"), None]
    hosted(provider, None, QUICK).generate(WISH, tmp_path, log.append)
    assert len(server.tasks) == 1
    assert len(log.of("clip_retry")) == 3


def test_an_expired_address_is_asked_for_again(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.outputs = [Output("expired")]
    clip = hosted("runway", None, QUICK).generate(WISH, tmp_path, log.append)
    assert examine(clip.path).pictures == 96
    assert len(runway.tasks) == 1
    assert runway.downloads == 2


@pytest.mark.parametrize("how", ["broken off", "cut", "text"])
@pytest.mark.parametrize("provider", ["runway", "google"])
def test_a_download_that_is_no_whole_video_is_fetched_again(
    runway: ProviderServer, google: ProviderServer, tmp_path: Path, log: Log, how: str, provider: str
) -> None:
    server = {"runway": runway, "google": google}[provider]
    server.outputs = [Output(how), Output(how)]
    clip = hosted(provider, None, QUICK).generate(WISH, tmp_path, log.append)
    assert examine(clip.path).pictures == 96
    assert server.downloads == 3
    assert len(server.tasks) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.json", "s01a1.mp4"]


def test_a_failed_task_says_its_code_and_costs_what_the_provider_says(
    runway: ProviderServer, tmp_path: Path, log: Log
) -> None:
    runway.courses = [Course(["RUNNING", "FAILED"], "SAFETY.INPUT.TEXT", "The prompt was moderated.", refund=False)]
    router = hosted("runway", 1.0, QUICK)
    with pytest.raises(ModelError, match=r"SAFETY\.INPUT\.TEXT.*moderated"):
        router.generate(WISH, tmp_path, log.append)
    assert router.ledger(tmp_path).counted == pytest.approx(0.48) == runway.charged
    assert router.ledger(tmp_path).summary()["rows"][0]["failed"] == 1


def test_a_video_of_the_wrong_length_is_not_taken(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.outputs = [Output(seconds=2.0)]
    router = hosted("runway", 1.0, QUICK)
    with pytest.raises(ModelError, match=r"2\.00 s, 4 s were asked"):
        router.generate(WISH, tmp_path, log.append)
    assert not (tmp_path / "s01a1.mp4").exists()
    assert router.ledger(tmp_path).counted == pytest.approx(0.48)  # it was paid for all the same


def test_a_slow_task_is_given_up_but_stays_paid_for_and_is_picked_up_later(
    runway: ProviderServer, tmp_path: Path, log: Log
) -> None:
    runway.courses = [Course(["RUNNING"] * 12 + ["SUCCEEDED"])]
    hurried = replace(QUICK, deadline=0.05)
    router = hosted("runway", 1.0, hurried)
    with pytest.raises(ModelError, match="did not end within"):
        router.generate(WISH, tmp_path, log.append)
    assert router.ledger(tmp_path).counted == pytest.approx(0.48)
    clip = hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, log.append)
    assert clip.task_id == "task1"
    assert len(runway.asked) == 1


def test_a_task_that_never_starts_is_cancelled_and_costs_nothing(
    runway: ProviderServer, tmp_path: Path, log: Log
) -> None:
    runway.courses = [Course(["PENDING"])]
    router = hosted("runway", 1.0, replace(QUICK, deadline=0.05))
    with pytest.raises(ModelError, match="cancelled"):
        router.generate(WISH, tmp_path, log.append)
    assert router.ledger(tmp_path).counted == 0.0 == runway.charged


def test_at_most_three_clips_are_in_flight(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.courses = [Course(["RUNNING"] * 8 + ["SUCCEEDED"]) for _ in range(7)]
    router = hosted("runway", None, QUICK)
    wishes = [replace(WISH, key=f"s{number:02}a1") for number in range(7)]
    threads = [threading.Thread(target=router.generate, args=(wish, tmp_path, log.append)) for wish in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob("*.mp4"))) == 7
    assert runway.most_flying == 3


# --- breaker and failover ---


def test_a_storm_opens_the_breaker_and_one_probe_closes_it(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.creates = [Status(500)] * 4
    router = hosted("runway", None, QUICK)
    for number in range(3):
        with pytest.raises(ModelError):
            router.generate(replace(WISH, key=f"s{number}a1"), tmp_path, log.append)
    assert len(runway.asked) == 4  # three tries, then one, then none
    assert log.of("clip_breaker") == [
        {"type": "clip_breaker", "key": "s1a1", "model": "gen4.5", "provider": "runway", "state": "open"}
    ]
    threading.Event().wait(QUICK.cool + 0.05)
    router.generate(WISH, tmp_path, log.append)
    router.generate(replace(WISH, key="s09a1"), tmp_path, log.append)
    assert len(runway.asked) == 6


def test_a_failed_probe_keeps_the_breaker_open(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.creates = [Status(500)] * 5
    router = hosted("runway", None, QUICK)
    for number in range(2):
        with pytest.raises(ModelError):
            router.generate(replace(WISH, key=f"s{number}a1"), tmp_path, log.append)
    threading.Event().wait(QUICK.cool + 0.05)
    with pytest.raises(ModelError):
        router.generate(WISH, tmp_path, log.append)
    assert len(runway.asked) == 5


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


# --- routing and dry run ---


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


# --- first and last frames ---


def test_google_continues_a_first_frame(
    google: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[1].path, references=look[:1], last_frame=look[0].path)
    clip = hosted("omni-1.2", None, QUICK).generate(wish, tmp_path, log.append)
    [(_, asked)] = google.asked
    assert asked["generation_config"] == {"video_config": {"task": "image_to_video"}}
    [picture, text] = asked["input"][0]["content"]
    assert base64.b64decode(picture["data"]) == look[1].path.read_bytes()
    assert text["text"] == WISH.prompt
    assert "last frame not used: not supported" in clip.notes


def test_veo_takes_a_first_and_a_last_frame(
    vertex: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[0].path, last_frame=look[1].path)
    hosted("veo-3.1", None, QUICK).generate(wish, tmp_path, log.append)
    instance = vertex.asked[0][1]["instances"][0]
    sent = [base64.b64decode(instance[name]["bytesBase64Encoded"]) for name in ("image", "lastFrame")]
    assert sent == [look[0].path.read_bytes(), look[1].path.read_bytes()]
    assert "referenceImages" not in instance


# --- interrupted and gone on with ---


@pytest.mark.parametrize(
    ("name", "step"),
    [("gen4.5", "painting"), ("gen4.5", "clip"), ("omni-1.2", "clip"), ("omni-1.1", "clip")],
)
def test_what_was_interrupted_is_gone_on_with_where_it_stood(
    runway: ProviderServer,
    google: ProviderServer,
    tmp_path: Path,
    log: Log,
    look: tuple[Reference, ...],
    name: str,
    step: str,
) -> None:
    wish = replace(WISH, references=look)

    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "clip_task" and event["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hosted(name, 1.0, QUICK).generate(wish, tmp_path, stop)
    begun = len(runway.tasks) + len(google.tasks)
    router = hosted(name, 1.0, QUICK)
    clip = router.generate(wish, tmp_path, log.append)
    assert examine(clip.path).pictures == 96
    assert {event["step"] for event in log.of("clip_resumed")} >= {step}
    assert len(runway.tasks) + len(google.tasks) == begun + (step == "painting")  # the clip itself was not begun then
    assert clip.cost.usd == pytest.approx(runway.charged or google.charged, rel=0.02) == router.ledger(tmp_path).counted


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
