"""Retakes are told what went wrong: the scene's text rewritten by rules or a chat model, better pictures sent along."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memreel.agent.llm import Chat
from memreel.configs.schema import AgentConfig, RunConfig
from memreel.film.correcting import corrected, faults
from memreel.film.making import make_film
from memreel.film.memory import FilmMemory
from memreel.film.plan import Plan
from memreel.film.settings import FilmContext
from memreel.film.state import Take
from memreel.memory.records import BankState, empty_bank
from memreel.tests.chat_server import Status, Tool, serve
from memreel.tests.film.provider_servers import ProviderServer
from memreel.tests.film.wishes import QUICK

PLAN = Plan.model_validate(
    {
        "title": "t",
        "characters": [{"name": "Mia", "attributes": ["red hair", "blue sweater"]}],
        "scenes": [{"seconds": 3, "text": "Mia waits.", "characters": ["Mia"], "environment": "a quiet library"}],
    }
)


def bank() -> BankState:
    return FilmMemory(RunConfig().memory, Path(), lambda texts: [], sees=True).open(empty_bank(), PLAN)  # type: ignore[arg-type,return-value]


def told(**score: Any) -> list[str]:
    parts = {"total": 0.3, "spatial": None, "temporal": None, "character": 0.3, "entities": {}, "wrong": {}} | score
    take: Take = {"score": parts}  # type: ignore[typeddict-item]
    return [corrected("Mia waits.", faults(take, PLAN.scenes[0], bank()), None, [])]


@pytest.mark.parametrize(
    ("score", "text"),
    [
        ({"entities": {"1": 0.6}, "wrong": {"1": ["red hair"]}}, "Mia: red hair. Mia waits."),
        (
            {"entities": {"1": 0.0}, "wrong": {"1": ["red hair", "blue sweater"]}},
            "Mia: red hair, blue sweater. Mia is plainly to be seen, all the time. Mia waits.",
        ),
        ({"entities": {"1": 0.7}}, "Mia: red hair, blue sweater. Mia waits."),
        ({"entities": {"1": 1.0}, "spatial": 0.2}, "The same quiet library as before. Mia waits."),
        ({"entities": {"1": 1.0}, "temporal": 0.2}, "Nothing has moved since the scene before. Mia waits."),
        ({"entities": {"1": 1.0}, "spatial": 0.9, "temporal": 0.9}, "Mia waits."),
    ],
)
def test_the_rules_say_first_what_came_out_wrong(score: dict[str, Any], text: str) -> None:
    assert told(**score) == [text]


def rewriting(*script: Any) -> tuple[str, list[str], list[dict[str, Any]]]:
    notes: list[str] = []
    take: Any = {"score": {"entities": {"1": 0.6}, "wrong": {"1": ["red hair"]}, "spatial": None, "temporal": None}}
    with serve(*script) as server:
        chat = Chat("m", AgentConfig(base_url=server.base_url, retries=0, timeout_s=5))
        return corrected("Mia waits.", faults(take, PLAN.scenes[0], bank()), chat, notes), notes, server.requests


def rewritten(text: str) -> Tool:
    return Tool(json.dumps({"text": text}), "rewrite")


def test_a_chat_model_rewrites_the_scene_around_what_failed() -> None:
    text, notes, asked = rewriting(rewritten("Bright red hair frames the face of Mia, who waits."))
    assert text == "Bright red hair frames the face of Mia, who waits."
    assert not notes
    question = asked[0]["messages"][-1]["content"]
    assert "Mia waits." in question
    assert "Mia did not have: red hair." in question


def test_a_text_that_drops_somebody_goes_back_and_without_a_usable_one_the_rules_correct() -> None:
    text, notes, asked = rewriting(rewritten("She waits."), rewritten("Mia, her hair red, waits."))
    assert (text, len(asked)) == ("Mia, her hair red, waits.", 2)
    text, notes, _ = rewriting(Status(503, "{}"))
    assert text == "Mia: red hair. Mia waits."
    assert "by rules" in notes[0]


def test_a_retake_is_asked_for_with_the_corrected_text_and_pictures_in_full_size(
    runway: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memreel.film.clips.router.Patience", lambda: QUICK)

    def look(asked: dict[str, Any]) -> Tool:
        wrong = ["red hair"] if "Rain falls." in asked["messages"][-1]["content"][0]["text"] else []
        return Tool(json.dumps({"seen": [{"number": 1, "visible": 1, "wrong": wrong}]}), "look")

    mia: dict[str, Any] = {"seconds": 2, "characters": ["Mia"]}
    scenes = [mia | {"text": "Mia waits."}, {"seconds": 2, "text": "Rain falls."}, mia | {"text": "Mia waves."}]
    with serve(look) as server:
        film = {"vision": "seer", "threshold": 0.7, "retakes": 1, "character": 1, "spatial": 0, "temporal": 0}
        config = RunConfig.model_validate({"film": film, "agent": {"base_url": server.base_url}})
        context = FilmContext(out=str(tmp_path), model="gen4.5", config=config)
        plan = {**PLAN.model_dump(), "scenes": scenes}
        events = list(make_film({"plan": plan, "film_id": "film"}, context))
    [again] = [event for event in events if event["type"] == "corrected"]
    assert (again["key"], again["because"]) == ("s03a1", ["Mia did not have: red hair."])
    first, second = json.loads((tmp_path / "film" / "run.json").read_text())["takes"][2:]
    assert second["text"] == "Mia: red hair. Mia waves."
    assert second["prompt"].startswith("Mia: red hair. Mia waves.")
    assert not first["prompt"].startswith("Mia: red hair.")
    assert second["references"] == first["references"]
    painted = [asked["referenceImages"] for path, asked in runway.asked if path.endswith("text_to_image")]
    widths = []
    for [picture] in painted:
        with Image.open(io.BytesIO(base64.b64decode(picture["uri"].split(",")[1]))) as sent:
            widths.append(sent.width)
    assert widths == [32, 64]  # two scenes old: sent half as wide at first, whole for the retake
