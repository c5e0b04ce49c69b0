"""Money: the budget is never exceeded and nothing is paid for twice, whatever fails, by the provider's own books."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memreel.errors import ModelError, StoreError, UserError
from memreel.film.clips.footage import examine
from memreel.film.clips.ledger import Books, BudgetError, Entry, Ledger
from memreel.film.clips.router import hosted
from memreel.tests.film.provider_servers import Course, Drop, Output, ProviderServer, Status
from memreel.tests.film.wishes import ONE, QUICK, WISH


def silent(event: dict[str, Any]) -> None:
    pass


def test_a_clip_that_does_not_fit_into_the_budget_is_not_sent(runway: ProviderServer, tmp_path: Path) -> None:
    router = hosted("runway", 1.0, QUICK)
    router.generate(WISH, tmp_path, silent)
    router.generate(replace(WISH, key="s02a1"), tmp_path, silent)
    with pytest.raises(BudgetError, match=r"0\.48 USD, and 0\.04 of the 1\.00 USD"):
        router.generate(replace(WISH, key="s03a1"), tmp_path, silent)
    assert len(runway.tasks) == 2
    assert router.ledger(tmp_path).left == pytest.approx(0.04)


def test_a_budget_that_is_too_small_for_everybody_is_said_once(
    runway: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "key_google")
    with pytest.raises(BudgetError, match=r"^clip s01a1 with omni-1\.2 needs 0\.29 USD[^;]*$"):
        hosted("auto", 0.1, QUICK).generate(WISH, tmp_path, silent)


def test_what_is_paid_for_already_is_always_affordable(runway: ProviderServer, tmp_path: Path) -> None:
    router = hosted("runway", 1.0, QUICK)
    more = replace(WISH, key="s02a1")
    assert router.affords([WISH, more], tmp_path)
    assert not router.affords([WISH, more, replace(WISH, key="s03a1")], tmp_path)
    router.generate(WISH, tmp_path, silent)
    assert router.affords([WISH, more], tmp_path)
    assert not router.affords([more, replace(more, key="s03a1")], tmp_path)


def test_a_finished_clip_is_not_paid_for_again(runway: ProviderServer, tmp_path: Path) -> None:
    first = hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent)
    again = hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent)
    assert again == first
    assert len(runway.asked) == 1


def test_another_wish_under_the_same_key_is_made_anew(runway: ProviderServer, tmp_path: Path) -> None:
    hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent)
    hosted("runway", 1.0, QUICK).generate(replace(WISH, prompt="A bus passes."), tmp_path, silent)
    assert len(runway.tasks) == 2


def test_a_clip_whose_file_was_lost_is_fetched_again_and_not_paid_for_again(
    runway: ProviderServer, tmp_path: Path
) -> None:
    clip = hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent)
    clip.path.unlink()
    assert examine(hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent).path).pictures == 96
    assert len(runway.tasks) == 1


def test_a_creation_whose_answer_was_lost_counts_and_is_tried_again_within_the_budget(
    runway: ProviderServer, tmp_path: Path
) -> None:
    runway.creates = [Drop(taken=True)]
    router = hosted("runway", 1.0, QUICK)
    router.generate(WISH, tmp_path, silent)
    assert runway.charged == pytest.approx(2 * ONE) == router.ledger(tmp_path).counted
    assert [entry.state for entry in router.ledger(tmp_path).entries] == ["uncertain", "done"]


def test_a_creation_whose_answer_was_lost_is_not_tried_again_beyond_the_budget(
    runway: ProviderServer, tmp_path: Path
) -> None:
    runway.creates = [Drop(taken=True)] * 3
    with pytest.raises(BudgetError):
        hosted("runway", 0.9, QUICK).generate(WISH, tmp_path, silent)
    assert len(runway.asked) == 1


def test_a_task_that_turns_out_dearer_than_the_budget_is_cancelled(runway: ProviderServer, tmp_path: Path) -> None:
    runway.announced = 120.0
    runway.courses = [Course(["PENDING"])]
    router = hosted("runway", 1.0, QUICK)
    with pytest.raises(BudgetError, match=r"may charge 1\.20 USD"):
        router.generate(WISH, tmp_path, silent)
    assert runway.charged == 0.0 == router.ledger(tmp_path).counted


def test_a_task_that_turns_out_cheaper_gives_money_back(runway: ProviderServer, tmp_path: Path) -> None:
    runway.announced = 30.0
    router = hosted("runway", 0.5, QUICK)
    router.generate(WISH, tmp_path, silent)
    assert router.ledger(tmp_path).left == pytest.approx(0.20)


@pytest.mark.parametrize("seed", range(4))
def test_no_mixture_of_faults_exceeds_the_budget(runway: ProviderServer, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    fates = [None, None, None, Status(500), Status(502), Status(429), Drop(True), Drop(False), Status(400)]
    runway.creates = [draw.choice(fates) for _ in range(60)]
    runway.looks = [draw.choice([None, None, None, Status(500)]) for _ in range(200)]
    ends = [["RUNNING", "SUCCEEDED"], ["FAILED"], ["RUNNING", "FAILED"], ["CANCELLED"]]
    runway.courses = [Course(draw.choice(ends), refund=draw.random() < 0.5) for _ in range(60)]
    runway.outputs = [Output(draw.choice(["ok", "expired", "cut"])) for _ in range(60)]
    budget = 3.0
    router = hosted("runway", budget, QUICK)
    mixtures = runway.creates, runway.looks, runway.courses, runway.outputs
    runway.creates, runway.looks, runway.courses, runway.outputs = [], [], [], []
    router.generate(replace(WISH, key="paid"), tmp_path, silent)  # whatever the threads' order is, one is paid for
    runway.creates, runway.looks, runway.courses, runway.outputs = mixtures

    def film(half: int) -> None:
        for number in range(8):
            for _ in range(2):
                try:
                    router.generate(replace(WISH, key=f"s{half}{number}a1"), tmp_path, silent)
                except (ModelError, UserError):
                    threading.Event().wait(0.02)

    threads = [threading.Thread(target=film, args=(half,)) for half in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = Ledger(tmp_path, budget)
    assert runway.charged <= ledger.counted + 1e-9 <= budget + 2e-9
    assert runway.charged > 0
    assert ledger.summary()["usd"] + ledger.summary()["open_usd"] == pytest.approx(ledger.counted)


CHILD = """
import sys
from pathlib import Path
from memreel.film.clips.patience import Patience
from memreel.film.clips.router import hosted
from memreel.tests.film.wishes import WISH
hosted("runway", 1.0, Patience(poll=0.01)).generate(WISH, Path(sys.argv[1]), lambda event: None)
"""


@pytest.mark.parametrize(("place", "paid"), [("created", 2), ("looked at", 1), ("downloading", 1)])
def test_a_killed_process_is_gone_on_with_and_pays_once(
    runway: ProviderServer, tmp_path: Path, place: str, paid: int
) -> None:
    """Killed while the task is being created, nobody can know whether it was taken: only then it is created again."""
    runway.hold, runway.hold_at = threading.Event(), place
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=dict(os.environ))
    assert runway.held.wait(60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    runway.hold.set()
    events: list[dict[str, Any]] = []
    router = hosted("runway", 1.0, QUICK)
    clip = router.generate(WISH, tmp_path, events.append)
    assert examine(clip.path).pictures == 96
    assert len(runway.tasks) == paid
    assert router.ledger(tmp_path).counted == pytest.approx(paid * ONE) == runway.charged
    assert any(event["type"] == "clip_resumed" for event in events) == (paid == 1)


def test_a_damaged_ledger_is_not_begun_anew(runway: ProviderServer, tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(StoreError, match=r"ledger\.json is damaged"):
        hosted("runway", 1.0, QUICK).generate(WISH, tmp_path, silent)
    assert not runway.asked


def test_reservations_of_a_clip_are_made_together_or_not_at_all(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1.0)
    draft = Entry(-1, "s01a1", "w", "painting", "runway", "gen4.5", 0.0, 0.6)
    with pytest.raises(BudgetError):
        ledger.reserve([draft, replace(draft, step="clip")])
    assert ledger.counted == 0.0
    assert ledger.entries == ()


def test_what_a_film_cost_before_it_was_started_over_counts_and_is_nobodys_task_any_more(
    runway: ProviderServer, tmp_path: Path
) -> None:
    before = hosted("runway", 1.0, QUICK)
    before.generate(WISH, tmp_path, silent)
    assert before.ledger(tmp_path).begin_anew() == pytest.approx(ONE)
    router = hosted("runway", 1.0, QUICK)
    (tmp_path / "s01a1.mp4").unlink()
    router.generate(WISH, tmp_path, silent)
    assert len(runway.tasks) == 2
    told = router.ledger(tmp_path).summary()
    assert (told["before_usd"], told["usd"]) == (ONE, ONE)
    with pytest.raises(BudgetError, match=r"0\.04 of the 1\.00"):
        router.generate(replace(WISH, key="s02a1"), tmp_path, silent)
    with pytest.raises(UserError, match=r"0\.96 of it spent already"):
        router.require([replace(WISH, key="s02a1")], tmp_path)


@pytest.mark.parametrize("budget", [-1.0, float("nan")])
def test_a_budget_is_dollars(budget: float) -> None:
    with pytest.raises(UserError, match="--budget"):
        Books(budget)


def test_the_summary_is_json(runway: ProviderServer, tmp_path: Path) -> None:
    router = hosted("runway", None, QUICK)
    router.generate(WISH, tmp_path, silent)
    assert json.loads(json.dumps(router.ledger(tmp_path).summary()))["usd"] == ONE
