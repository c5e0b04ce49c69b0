"""A film of hosted clips, over the provider's wire format on a local server; and films that a chat model plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.film.making import make_film, plan_film
from memreel.film.settings import FilmContext
from memreel.tests.chat_server import Text, Tool
from memreel.tests.chat_server import serve as serve_chat
from memreel.tests.film.provider_servers import RunwayHandler, serve

PLAN: dict[str, Any] = {
    "title": "Two clips",
    "style": "watercolour",
    "characters": [{"name": "Nora", "attributes": ["black curls", "beige sweater"]}],
    "scenes": [
        {"seconds": 3, "text": "Nora reads in a library.", "characters": ["Nora"], "environment": "library"},
        {"seconds": 3, "text": "Nora looks up.", "characters": ["Nora"], "transition": "continuation"},
    ],
}


def directed(scenes: int = 2, **changes: Any) -> str:
    return json.dumps(
        {
            "title": "Nora reads",
            "style": "watercolour",
            "characters": [{"name": "Nora", "attributes": ["black curls"]}],
            "scenes": [
                {"seconds": 5 + 5 * n, "text": f"Nora reads page {n + 1}.", "characters": ["Nora"]} | changes
                for n in range(scenes)
            ],
        }
    )


def test_a_hosted_film_pays_by_the_ledger_continues_pictures_and_stays_within_its_budget(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(RunwayHandler) as server:
        monkeypatch.setenv("RUNWAYML_API_SECRET", "key_runway")
        monkeypatch.setenv("RUNWAYML_BASE_URL", server.address)
        config = RunConfig.model_validate({"film": {"threshold": 0}})
        with pytest.raises(UserError, match="budget"):
            list(make_film({"plan": PLAN, "film_id": "film"}, FilmContext(out=str(runs), model="runway", budget=0.1)))
        assert not server.asked
        context = FilmContext(out=str(runs), model="runway", budget=5.0, config=config)
        events = list(make_film({"plan": PLAN, "film_id": "film"}, context))
    assert events[-1]["status"] == "done"
    first, second = (asked for _, asked in server.asked if "promptText" in asked and "duration" in asked)
    assert "Style: watercolour." in first["promptText"]
    assert "Nora: black curls, beige sweater." in first["promptText"]
    assert second["promptImage"], "a continuation begins with the last picture of the clip before"
    facts = json.loads((runs / "film" / "run.json").read_text())
    assert facts["spent"]["usd"] == pytest.approx(server.charged)
    assert facts["spent"]["providers"]["runway"]["clips"] == 2
    assert facts["ledger"]
    assert facts["eye"] == "likeness"


def test_a_chat_model_plans_and_a_wrong_plan_goes_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key_chat")
    with serve_chat(Tool(directed(9), "film_plan"), Tool(directed(2), "film_plan")) as server:
        config = RunConfig.model_validate({"agent": {"model": "m", "base_url": server.base_url}})
        plan, _, notes = plan_film({"idea": "Nora reads a book.", "seconds": 18}, FilmContext(config=config))
    assert [scene.seconds for scene in plan.scenes] == [6.0, 12.0]
    assert plan.style == "watercolour"
    assert notes[0] == "planned by m"
    assert "9 scenes; give 2" in notes[1]
    assert "9 scenes; give 2" in json.dumps(server.requests[1]["messages"])


def test_the_rules_plan_where_the_chat_model_gives_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key_chat")
    with serve_chat(Text("I would rather not.")) as server:
        config = RunConfig.model_validate({"agent": {"model": "m", "base_url": server.base_url}})
        plan, _, notes = plan_film({"idea": "Nora reads a book in a park.", "seconds": 9}, FilmContext(config=config))
    assert plan.scenes[0].text == "Nora reads a book in a park."
    assert notes[0] == "planned by rules"
    assert "no JSON object" in notes[-1]
