"""Providers that fail: real SDKs against local servers that throttle, drop, expire, cut short, storm and go silent."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memreel.errors import ModelError
from memreel.film.clips.footage import examine
from memreel.film.clips.protocol import Reference
from memreel.film.clips.router import hosted
from memreel.tests.film.provider_servers import Course, Drop, Output, ProviderServer, Status
from memreel.tests.film.wishes import QUICK, WISH, Log


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
    server.creates = [Status(429, "slow down", {"retry-after": "0.2"})]
    hosted({"runway": "gen4.5", "google": "omni-1.2"}[provider], None, QUICK).generate(WISH, tmp_path, log.append)
    [retry] = log.of("clip_retry")
    assert retry["wait_seconds"] >= 0.2
    assert len(server.asked) == 2


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
