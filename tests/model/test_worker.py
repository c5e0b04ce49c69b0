"""The models' thread: one for everybody, its errors are the caller's, and what it computes with is what is recorded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from memreel.graph.same import made_with
from memreel.model.worker import compute_threads, on_model_thread


@on_model_thread
def where() -> int:
    return threading.get_ident()


@on_model_thread
def nested() -> tuple[int, int]:
    return threading.get_ident(), where()


@pytest.fixture
def threads() -> Iterator[int]:
    """The models' number of threads; put back afterwards, and the test's own too."""
    mine, models = torch.get_num_threads(), compute_threads()
    yield models
    torch.set_num_threads(mine)
    on_model_thread(torch.set_num_threads)(models)


def test_everybody_computes_on_the_same_thread_and_none_waits_for_itself() -> None:
    with ThreadPoolExecutor(4) as pool:
        seen = {here for here, there in pool.map(lambda _: nested(), range(8)) if here == there}
    assert seen == {where()}
    assert threading.get_ident() not in seen


def test_an_error_is_the_callers() -> None:
    @on_model_thread
    def fail() -> None:
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        fail()
    assert where()


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    where()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if where() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_threads_recorded_are_those_computed_with(threads: int, small_model: object) -> None:
    torch.set_num_threads(threads + 1)  # of the caller's thread, on which nothing is computed
    assert made_with(small_model)["threads"] == threads
    on_model_thread(torch.set_num_threads)(threads + 2)
    assert made_with(small_model)["threads"] == threads + 2
