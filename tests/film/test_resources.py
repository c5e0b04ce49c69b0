"""Jobs are admitted while they fit, and memory that really fills up is relieved, first gently, then for good."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memreel.configs.schema import ModelConfig
from memreel.errors import ModelError, UserError
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import ClipRequest
from memreel.film.pictures import Kept
from memreel.film.relief import FilmRelief
from memreel.film.resources import Estimates, Job, Limits, Relief, Resources, batches, process_used_mb
from memreel.model.sketch import model as sketch
from memreel.output.video import assemble, encode
from memreel.tests.conftest import SmallModel

MB = 1024 * 1024


def test_needs_are_estimated_by_rule_until_they_were_measured() -> None:
    estimates = Estimates()
    job = Job("s01a1", 10)
    assert estimates.need(job).memory_mb == 512 + 100 * 10
    assert estimates.need(job).wall_seconds == 150
    estimates.measured(job, 300, 20)
    assert estimates.need(job).memory_mb == 300
    assert estimates.need(Job("s02a1", 5)).wall_seconds == 10


def test_batches_go_by_priority_and_stay_within_eighty_per_cent_of_memory() -> None:
    jobs = [Job("a", 8, priority=1), Job("b", 8, priority=3), Job("c", 8, priority=2), Job("d", 8)]
    made = batches(jobs, Estimates(), Limits(4000, cpu=8))
    assert [[job.key for job in batch] for batch in made] == [["b", "c"], ["a", "d"]]


def test_a_job_that_could_never_fit_is_refused_with_the_cure() -> None:
    resources = Resources(Limits(1000), Relief(), lambda _: None, lambda: 0.0)
    with (
        pytest.raises(UserError, match=r"needs about 1512 MB.*800 MB may be used.*film.memory_mb"),
        resources.admitted(Job("s01a1", 10)),
    ):
        pass


def test_jobs_wait_until_others_have_given_back_their_share() -> None:
    resources = Resources(Limits(2000, cpu=8), Relief(), lambda _: None, lambda: 0.0, interval_s=0.01)
    running, most = 0, 0
    lock = threading.Lock()

    def work(key: str) -> None:
        nonlocal running, most
        with resources.admitted(Job(key, 3)):  # 812 MB each: one of them fits into 1600 with another one not
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.05)
            with lock:
                running -= 1

    resources.estimates.need = lambda job: Estimates().need(job)  # type: ignore[method-assign]
    threads = [threading.Thread(target=work, args=(f"s{n}a1",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


class Hoard(Relief):
    """Really holds memory, and really lets go of it."""

    def __init__(self) -> None:
        self.models: list[np.ndarray[Any, Any]] = []
        self.intermediates: list[np.ndarray[Any, Any]] = []
        self.did: list[str] = []

    def take(self, mb: int, into: list[np.ndarray[Any, Any]]) -> None:
        into.append(np.ones(mb * MB, dtype=np.uint8))

    def drop_idle_models(self) -> None:
        self.did.append("drop")
        self.models.clear()

    def compress(self) -> None:
        self.did.append("compress")

    def offload(self) -> None:
        self.did.append("offload")
        self.intermediates.clear()


def test_memory_that_really_fills_up_is_relieved_and_then_admission_stops() -> None:
    base = process_used_mb()
    hoard, events = Hoard(), []
    resources = Resources(Limits(base + 400), hoard, events.append, lambda: process_used_mb(), interval_s=0.01)
    limit = resources.limits
    share = lambda: process_used_mb() / limit.memory_mb  # noqa: E731
    assert resources.read() < 0.85 or base > 2000
    # Above 85 %: what is idle goes, and that is enough.
    mb = int(0.9 * limit.memory_mb - process_used_mb())
    hoard.take(mb, hoard.models)
    assert share() > limit.relieve
    assert resources.read() < limit.relieve
    assert hoard.did == ["drop", "compress"]
    assert not resources.stopped
    # Above 95 % even after that: offloaded, and nothing more is admitted until there is room again.
    held = np.ones(int(0.97 * limit.memory_mb - process_used_mb()) * MB, dtype=np.uint8)
    resources.read()
    assert hoard.did[-3:] == ["drop", "compress", "offload"]
    assert resources.stopped
    entered = threading.Event()
    resources.estimates.measured(Job("x", 1), 1, 1)

    def wait() -> None:
        with resources.admitted(Job("s01a1", 1)):
            entered.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not entered.wait(0.3)
    del held
    resources.read()
    assert entered.wait(5)
    thread.join(5)
    assert [event["did"] for event in events][:2] == ["relieved", "relieved"]
    assert {"stopped", "resumed"} <= {event["did"] for event in events}


def test_pictures_in_memory_shrink_when_compressed_and_go_when_offloaded(tmp_path: Path) -> None:
    pictures = np.zeros((12, 64, 96, 3), dtype=np.uint8)
    pictures[:, :, 48:] = 200
    piece = encode(pictures, 16, 0, 0)
    (tmp_path / "pieces").write_bytes(piece.head + piece.body)
    assemble(tmp_path / "pieces", tmp_path / "clip.mp4", ())
    kept = Kept()
    whole = kept.get(tmp_path / "clip.mp4", [0, 5])
    before = kept.held_bytes
    kept.compress()
    assert kept.held_bytes < before / 5
    again = kept.get(tmp_path / "clip.mp4", [0, 5])
    assert np.abs(again[5].astype(int) - whole[5]).mean() < 3
    FilmRelief(kept, None).offload()
    assert kept.held_bytes == 0
    assert np.array_equal(kept.get(tmp_path / "clip.mp4", [5])[5], whole[5])


def test_models_that_made_no_clip_are_dropped_and_the_films_own_between_clips(
    small_model: SmallModel, tmp_path: Path
) -> None:
    loads: list[int] = []
    local = LocalStream(lambda: loads.append(1) or small_model)  # type: ignore[func-returns-value,return-value]
    relief, wish = FilmRelief(Kept(), local), ClipRequest(key="s01a1", prompt="It rains.", seconds=0.75, seed=1)
    relief.drop_idle_models()
    assert not local.loaded
    local.generate(wish, tmp_path, lambda event: relief.offload())  # asked for in the middle of a clip: not now
    assert (local.loaded, len(loads)) == (True, 2)
    relief.drop_idle_models()
    assert local.loaded
    relief.offload()
    assert not local.loaded
    local.generate(replace(wish, key="s02a1", after="s01a1"), tmp_path, lambda event: None)
    assert len(loads) == 3


def test_letting_go_of_the_films_model_really_gives_memory_back(tmp_path: Path) -> None:
    local = LocalStream(lambda: sketch.load(ModelConfig(device="cpu")))
    gone = weakref.ref(local.model)
    resources = Resources(Limits(100), FilmRelief(Kept(), local), lambda event: None, lambda: 96.0)
    local.used = True
    resources.read()
    assert gone() is None
    assert local.capabilities.references == 3  # known without it


def test_memory_that_stays_full_fails_the_job_instead_of_waiting_for_ever() -> None:
    events: list[dict[str, Any]] = []
    resources = Resources(Limits(1000), Relief(), events.append, lambda: 990.0, interval_s=0.01, patience_s=0.1)
    resources.read()
    resources.estimates.measured(Job("x", 1), 1, 1)
    with (
        pytest.raises(ModelError, match=r"memory has been full for 0\.1 s, 99% of 1000 MB"),
        resources.admitted(Job("s01a1", 1)),
    ):
        pass
    assert [event["did"] for event in events] == ["relieved", "stopped"]  # said once, however often it is read
    give_up = time.monotonic() + 20
    while any(thread.name == "memory-watch" and thread.is_alive() for thread in threading.enumerate()):
        assert time.monotonic() < give_up, "memory is still watched, with nothing to do about it"
        time.sleep(0.01)
