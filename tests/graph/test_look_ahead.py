"""The next prompt is read while the current one renders, by a chat model on a real server or by the analyst."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import ChatServer, Status, Tool, entities, serve

from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext

MIA = "Mia, a woman with red hair, walks into the library."
SHE = "She opens a red notebook."
NEW_MIA = {"entity": "Mia", "kind": "character", "attrs": ["red hair"], "global_id": None}
OLD_MIA = {"entity": "Mia", "kind": "character", "attrs": [], "global_id": 1}

Settings = Callable[..., RunConfig]


def agent(server: ChatServer) -> dict[str, Any]:
    return {"model": "judge-1", "base_url": server.base_url, "timeout_s": 5, "retries": 0}


def questions(server: ChatServer) -> list[str]:
    """The prompts that the server was asked to read, in order."""
    return [
        asked["messages"][-1]["content"].split("<prompt>\n")[1].split("\n</prompt>")[0] for asked in server.requests
    ]


@pytest.mark.usefixtures("small_model")
def test_the_next_prompt_is_read_while_the_current_one_renders(settings: Settings, runs: Path) -> None:
    with serve(Tool(entities(NEW_MIA)), Tool(entities(OLD_MIA))) as server:
        graph = build_graph(settings(agent=agent(server)))
        seen: list[dict[str, Any]] = []
        given: Any = {"prompts": [MIA, SHE], "video_id": "film"}
        for event in graph.stream(given, context=RunContext(out=str(runs)), stream_mode="custom"):
            seen.append(event)
            if event["type"] == "chunk" and event["index"] == 0:
                server.wait(answered=2)  # three more chunks of the first prompt are to come
    first, second = (event for event in seen if event["type"] == "prompt")
    assert questions(server) == [MIA, SHE]
    assert first["waited"] >= first["read_in"] > 0
    assert second["waited"] < second["read_in"]
    assert [entity["global_id"] for entity in second["entities"]] == [1]
    assert second["reader"] == "judge-1"
    assert [(call["outcome"], call["input_tokens"], call["output_tokens"]) for call in second["calls"]] == [
        ("ok", 120, 30)
    ]


@pytest.mark.usefixtures("small_model")
def test_an_edit_of_the_cast_makes_a_reading_ahead_void(settings: Settings, runs: Path) -> None:
    zoe = {**OLD_MIA, "entity": "Zoe"}
    with serve(Tool(entities(NEW_MIA)), Tool(entities(OLD_MIA)), Tool(entities(zoe))) as server:
        graph = build_graph(settings(agent=agent(server)), InMemorySaver(), interrupt_before=["generate_chunk"])
        thread: Any = {"configurable": {"thread_id": "t"}}
        context = RunContext(out=str(runs))
        graph.invoke({"prompts": [MIA, SHE], "video_id": "film"}, thread, context=context)
        graph.invoke(None, thread, context=context)
        server.wait(answered=2)
        bank = graph.get_state(thread).values["bank"]
        member = {**bank["cast"]["1"], "name": "Zoe", "all_entities": ["Zoe"]}
        graph.update_state(thread, {"bank": {**bank, "cast": {"1": member}}})
        while graph.get_state(thread).values["prompt_id"] == 1:
            graph.invoke(None, thread, context=context)
        entity = graph.get_state(thread).values["entities"][0]["entity"]
        while graph.get_state(thread).next:
            graph.invoke(None, thread, context=context)
    assert entity == "Zoe"
    assert questions(server) == [MIA, SHE, SHE]
    assert "1 character Zoe" in server.requests[2]["messages"][-1]["content"]


@pytest.mark.usefixtures("small_model")
def test_a_server_that_fails_ahead_leaves_the_prompt_to_the_analyst(settings: Settings, runs: Path) -> None:
    with serve(Tool(entities(NEW_MIA)), Status(500)) as server:
        graph = build_graph(settings(agent=agent(server)))
        given: Any = {"prompts": [MIA, "Mia waves."], "video_id": "film"}
        seen = list(graph.stream(given, context=RunContext(out=str(runs)), stream_mode="custom"))
    _, second = (event for event in seen if event["type"] == "prompt")
    assert second["reader"] == "analyst"
    assert "HTTP 500" in second["notes"][0]
    assert [call["outcome"] for call in second["calls"]] == ["HTTP 500"]
    assert [entity["global_id"] for entity in second["entities"]] == [1]
    log = (runs / "film" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in log] == seen


@pytest.mark.usefixtures("small_model")
def test_reading_ahead_changes_nothing_about_the_video(settings: Settings, runs: Path, monkeypatch: Any) -> None:
    prompts = [MIA, SHE, "Tom, a man with black hair, takes the notebook from her."]

    def made(video_id: str) -> list[bytes]:
        given: Any = {"prompts": prompts, "video_id": video_id}
        build_graph(settings(chunks_per_prompt=3)).invoke(given, context=RunContext(out=str(runs)))
        names = ("memory_bank.json", "llm_agent.json", "video.mp4")
        return [(runs / video_id / name).read_bytes() for name in names]

    ahead = made("ahead")
    monkeypatch.setattr("memreel.graph.ahead.LookAhead.expect", lambda *_: None)
    assert made("not") == ahead
