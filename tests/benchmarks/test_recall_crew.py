"""Takes shared among processes: all come back, deaths and errors are dealt with, a time that is up ends it."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch
from labour import always_killed, double, endless, killed_once, refused

from memreel.benchmarks.recall import _place
from memreel.benchmarks.recallbench.crew import share
from memreel.configs.schema import ModelConfig
from memreel.errors import ModelError, UserError


@pytest.fixture(autouse=True)
def nobody_is_left() -> object:
    yield
    assert not [p for p in multiprocessing.active_children() if p.name.startswith("takes-")]


def test_every_task_is_done_once_by_processes_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    told = list(share(double, range(7), 2))
    assert sorted(answer for _, answer, _ in told) == [0, 2, 4, 6, 8, 10, 12]
    assert {process for process, _, _ in told} <= {0, 1}
    assert {threads for _, _, threads in told} == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_what_a_killed_process_was_at_is_done_by_another(tmp_path: Path) -> None:
    trap = str(tmp_path / "trap")
    assert sorted(share(killed_once, [trap, "", ""], 2)) == ["", "", trap]


def test_a_task_that_kills_its_processes_ends_the_run() -> None:
    with pytest.raises(ModelError, match=r"died \(status -9, perhaps for lack of memory\).*goes on"):
        list(share(always_killed, range(3), 2))


def test_an_error_of_the_work_is_the_callers() -> None:
    with pytest.raises(UserError, match="number 1 is wrong"):
        list(share(refused, [1], 2))


def test_what_is_unfinished_when_time_is_up_is_left() -> None:
    assert list(share(endless, range(3), 2, time.monotonic() + 0.5)) == []


def test_who_stops_listening_stops_the_processes() -> None:
    answers = share(double, range(50), 2)
    next(answers)
    answers.close()


def test_processes_take_the_gpus_by_turns_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [_place(ModelConfig(), process).device for process in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert current == [0, 1, 0]
    assert _place(ModelConfig(device="cuda:1"), 0).device == "cuda:1"
    assert _place(ModelConfig(device="cpu"), 1).device == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _place(ModelConfig(), 1).device == "auto"
