"""Who is only mentioned is known, but not remembered for the picture, nor described in its text, nor scored in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Tool, entities, serve

from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.output.run_folder import RunFolder

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, sits in the park and thinks of Mia."
BOTH = "Mia and Tom meet."


def person(name: str, presence: str, global_id: int | None, *attrs: str) -> dict[str, Any]:
    return {"entity": name, "kind": "character", "attrs": attrs, "global_id": global_id, "presence": presence}


def check(seen: list[dict[str, Any]], folder: RunFolder) -> None:
    _, second, third = (event for event in seen if event["type"] == "prompt")
    assert second["scene"].get("mentioned") == [1]
    assert {entity["global_id"] for entity in second["entities"]} == {1, 2}
    assert "red hair" not in second["text"]
    assert "red hair" in third["text"]
    bank = folder.read_json(folder.memory_bank)
    shows = {name: frame["associated_entities"] for name, frame in bank["frame_archive"].items()}
    assert not any(1 in shows.get(name, []) for name in second["memory"])
    assert any(1 in shows.get(name, []) for name in third["memory"])
    scored = [event for event in seen if event["type"] == "chunk" and "kept_scores" in event]
    under = {event["kept_frame"]: set(event["kept_scores"]) for event in scored}
    assert {"p1", "p2"} <= {name.split("_")[0] for name in under}
    assert all(ids == {"2"} for name, ids in under.items() if name.startswith("p2_"))
    assert [e.get("presence") for e in bank["prompts"]["2"]["entities"] if e["global_id"] == 1] == ["mentioned"]
    assert [one["prompt_id"] for one in bank["global_registry"]["1"]["instances"]] == [1, 2, 3]


@pytest.mark.usefixtures("small_model")
def test_as_the_analyst_reads_it(settings: Callable[..., RunConfig], runs: Path) -> None:
    graph = build_graph(settings(chunks_per_prompt=6))
    given: Any = {"prompts": [MIA, TOM, BOTH], "video_id": "film"}
    seen = list(graph.stream(given, context=RunContext(out=str(runs)), stream_mode="custom"))
    check(seen, RunFolder(runs / "film"))


@pytest.mark.usefixtures("small_model")
def test_as_a_chat_model_reads_it(
    settings: Callable[..., RunConfig], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    told = [
        [person("Mia", "enters", None, "red hair", "blue sweater")],
        [person("Tom", "present", None, "black hair"), person("Mia", "mentioned", 1)],
        [person("Mia", "present", 1), person("Tom", "present", 2)],
    ]
    with serve(*(Tool(entities(*one)) for one in told)) as server:
        graph = build_graph(settings(chunks_per_prompt=6, agent={"model": "judge-1", "base_url": server.base_url}))
        given: Any = {"prompts": [MIA, TOM, BOTH], "video_id": "film"}
        seen = list(graph.stream(given, context=RunContext(out=str(runs)), stream_mode="custom"))
    check(seen, RunFolder(runs / "film"))
    assert json.loads((runs / "film" / "llm_agent.json").read_text())[1]["entities"][1]["global_id"] == 1
