"""Chat models are paid for out of the film's budget: reserved before, counted after, never beyond."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from memreel.agent.llm import Chat, Unavailable
from memreel.configs.schema import AgentConfig, RunConfig
from memreel.film.clips.ledger import Ledger
from memreel.film.clips.table import table
from memreel.film.making import make_film, plan_film
from memreel.film.metering import MOST_WRITTEN, TokenMeter
from memreel.film.settings import FilmContext
from memreel.tests.chat_server import USAGE, ChatServer, Drop, Status, Text, Tool, serve

PRICED = "gpt-5-mini"
ASK = [HumanMessage("Who is there?")]
PRICE = table().chat[PRICED]
ONCE = (USAGE["prompt_tokens"] * PRICE.read + USAGE["completion_tokens"] * PRICE.written) / 1e6
"""What one answer of the server costs."""


def metered(server: ChatServer, folder: Path, budget: float | None, model: str = PRICED) -> tuple[Chat, Ledger]:
    ledger = Ledger(folder, budget)
    chat = Chat(model, AgentConfig(base_url=server.base_url, retries=0, timeout_s=5))
    chat.meter = TokenMeter(model, ledger)
    return chat, ledger


def test_tokens_are_counted_and_paid_by_the_table(tmp_path: Path) -> None:
    with serve(Text("Mia.")) as server:
        chat, ledger = metered(server, tmp_path, 1.0)
        chat.ask(ASK, [])
        chat.ask(ASK, [])
    assert ledger.counted == pytest.approx(2 * ONCE)
    assert ledger.summary()["chat"] == [
        {"model": PRICED, "calls": 2, "read": 240, "written": 60, "usd": pytest.approx(2 * ONCE)}
    ]
    assert server.requests[0]["max_completion_tokens"] == MOST_WRITTEN  # so that no answer can cost more


def test_what_an_answer_may_cost_at_most_is_reserved_before_it_is_asked_for(tmp_path: Path) -> None:
    during: list[float] = []

    def look(asked: dict[str, Any]) -> Text:
        during.append(Ledger(tmp_path / "copy", None).counted if not ledgers else ledgers[0].counted)
        return Text("Mia.")

    ledgers: list[Ledger] = []
    with serve(look) as server:
        chat, ledger = metered(server, tmp_path, 1.0)
        ledgers.append(ledger)
        chat.ask(ASK, [])
    assert during[0] >= MOST_WRITTEN * PRICE.written / 1e6
    assert ledger.counted == pytest.approx(ONCE)


def test_a_question_that_the_budget_does_not_allow_is_not_sent(tmp_path: Path) -> None:
    with serve(Text("Mia.")) as server:
        chat, ledger = metered(server, tmp_path, 0.001)
        with pytest.raises(Unavailable, match="budget"):
            chat.ask(ASK, [])
        assert not server.requests
    assert ledger.counted == 0.0


def test_an_answer_that_got_lost_counts_in_full_and_a_refusal_nothing(tmp_path: Path) -> None:
    with serve(Status(401, "{}"), Drop()) as server:
        chat, ledger = metered(server, tmp_path, 1.0)
        with pytest.raises(Unavailable):
            chat.ask(ASK, [])
        assert ledger.counted == 0.0
        with pytest.raises(Unavailable):
            chat.ask(ASK, [])
    assert ledger.counted >= MOST_WRITTEN * PRICE.written / 1e6


def test_a_model_without_a_price_is_counted_in_tokens_and_said_to_be_outside_the_budget(tmp_path: Path) -> None:
    with serve(Text("Mia.")) as server:
        chat, ledger = metered(server, tmp_path, 0.0, "some-model")
        chat.ask(ASK, [])
    assert ledger.summary()["chat"] == [{"model": "some-model", "calls": 1, "read": 120, "written": 30, "usd": None}]
    assert "no price known" in ledger.entries[0].note
    assert "max_completion_tokens" not in server.requests[0]


def test_what_was_asked_when_the_process_died_counts_in_full_and_counting_goes_on(tmp_path: Path) -> None:
    before = Ledger(tmp_path, 1.0)
    reserved = TokenMeter(PRICED, before).begin(ASK, [])
    with serve(Text("Mia.")) as server:
        chat, ledger = metered(server, tmp_path, 1.0)
        chat.ask(ASK, [])
    assert ledger.counted == pytest.approx(reserved + ONCE, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "known"),
    [("openai:gpt-5-mini", True), ("gpt-5-mini-2025-08-07", True), ("gpt-5-minimal", False), ("qwen3", False)],
)
def test_prices_are_found_under_the_names_that_people_use(name: str, known: bool) -> None:
    assert (table().chat_price(name) is not None) == known


DIRECTED = {
    "title": "Mia waits",
    "characters": [{"name": "Mia", "attributes": ["red hair"]}],
    "scenes": [{"seconds": 6, "text": "Mia waits in a library.", "characters": ["Mia"]}],
}


def test_a_planner_that_the_budget_does_not_allow_is_not_asked_and_the_rules_plan(small_model: object) -> None:
    with serve(Tool(json.dumps(DIRECTED), "film_plan")) as server:
        config = RunConfig.model_validate({"agent": {"model": PRICED, "base_url": server.base_url}})
        idea: Any = {"idea": "Mia waits in a library.", "seconds": 6}
        plan, offer, notes = plan_film(idea, FilmContext(config=config, budget=0.001))
        assert (notes[0], plan.title, server.requests) == ("planned by rules", "Mia waits in a library", [])
        assert "budget" in notes[1]
        plan, offer, _ = plan_film(idea, FilmContext(config=config, budget=1.0))
    assert plan.title == "Mia waits"
    assert offer["chat"][0]["usd"] == pytest.approx(ONCE)


def test_a_film_says_what_its_chat_models_took(small_model: object, runs: Path) -> None:
    entities = {"entities": [{"entity": "Mia", "kind": "character", "attrs": [], "global_id": 1}]}

    def reply(asked: dict[str, Any]) -> Tool:
        name = asked["tools"][0]["function"]["name"]
        return Tool(json.dumps(DIRECTED if name == "film_plan" else entities), name)

    with serve(reply) as server:
        film = {"threshold": 0, "key_frames": 0.1}
        agent = {"model": PRICED, "base_url": server.base_url}
        config = RunConfig.model_validate({"agent": agent, "film": film})
        given: Any = {"idea": "Mia waits in a library.", "seconds": 6, "film_id": "film"}
        list(make_film(given, FilmContext(out=str(runs), config=config, budget=1.0)))
    facts = json.loads((runs / "film" / "run.json").read_text())
    assert facts["spent"]["chat"] == [
        {"model": PRICED, "calls": 2, "read": 240, "written": 60, "usd": pytest.approx(2 * ONCE)}
    ]
    assert facts["spent"]["usd"] == pytest.approx(2 * ONCE) == facts["ledger"]["usd"]
    assert "2 requests, 240 tokens read" in (runs / "film" / "report.html").read_text()
