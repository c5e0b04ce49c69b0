"""Everything that a chat server can do wrong, one prompt after the other, whoever steers: it costs that prompt alone.

Each prompt meets a fault of its own for as long as it is asked about. Answers come whole or streamed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import (
    ChatServer,
    Cut,
    Drop,
    DropMidway,
    Hang,
    Refusal,
    Status,
    Text,
    Tool,
    Trickle,
    call,
    entities,
    serve,
)

from memreel.agent.waiting import ENDING
from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.output.run_folder import RunFolder

KEY = "sk-not-a-real-key-0123456789"
SECRET = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}})
NOBODY = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": []}
TOM = {"entity": "Tom", "kind": "character", "attrs": ["black hair"], "global_id": None}

SERVER: dict[str, tuple[Any, str]] = {
    "too many": (Status(429), "HTTP 429, too many requests"),
    "broken": (Status(500), "HTTP 500 after"),
    "busy": (Status(503, headers={"retry-after": "0"}), "HTTP 503 after"),
    "key": (Status(401, SECRET), "HTTP 401, the key is refused"),
    "unknown": (Status(404), "HTTP 404, no such model"),
    "hang": (Hang(), "timeout after"),
    "trickle": (Trickle(), "timeout after"),
    "drop": (Drop(), "no connection after"),
}
"""What a server does wrong, and what is said of it."""
WHOLE: dict[str, tuple[Any, str]] = {
    "a page": (Status(200, "<html>", {"content-type": "text/html"}), "no chat completion in the answer"),
    "no choice": (Status(200, json.dumps(NOBODY)), "no chat completion in the answer"),
    "an error as answer": (Status(200, SECRET), "no chat completion in the answer"),
}
"""The same, in ways that an answer has only if it comes whole."""
READINGS: dict[str, tuple[Any, str]] = {
    "midway": (DropMidway(Tool(entities(TOM))), "no connection after"),
    "malformed arguments": (Tool(entities(TOM)[:-3]), "not valid JSON"),
    "malformed text": (Text('{"entities": [{"entity": "Tom"'), "not valid JSON"),
    "wrong ID": (Tool(entities({**TOM, "global_id": 77})), "there is no cast member 77"),
    "twice": (Tool(entities({**TOM, "global_id": 1}, {**TOM, "global_id": 1})), "cast number 1 is given twice"),
    "words": (Text("I cannot help with that."), "no JSON object in the answer"),
    "refusal": (Refusal(), "it refused to answer"),
    "cut": (Cut(Tool(entities(TOM, TOM)[:-40])), "cut off at its greatest length"),
}
"""What a model that reads does wrong."""
STEPS: dict[str, tuple[Any, str]] = {
    "midway": (DropMidway(call("next_prompt")), "no connection after"),
    "words": (Text("I cannot help with that."), "3 replies without a usable call"),
    "refusal": (Refusal(), "3 replies without a usable call"),
    "malformed": (Tool("{broken", "generate_chunk"), "3 replies without a usable call"),
    "cut": (Cut(call("generate_chunk", prompt="Tom waits.", chunks=1)), "3 replies without a usable call"),
    "wrong ID": (call("recall_memory", global_ids=[77]), "3 replies without a usable call"),
    "unknown tool": (call("paint"), "3 replies without a usable call"),
}
"""What a model that steers does wrong."""

Settings = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("memreel.agent.llm.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("memreel.graph.ahead.LookAhead.expect", lambda *_: None)  # so that readings stream, too


def filmed(
    settings: Settings, server: ChatServer, runs: Path, faults: dict[str, Any], profile: str, streamed: bool
) -> list[dict[str, Any]]:
    agent = {"profile": profile, "model": "judge-1", "base_url": server.base_url, "timeout_s": 2, "retries": 1}
    graph = build_graph(settings(chunks_per_prompt=1, agent=agent))
    prompts = [f"Tom, a man with black hair, waits for number {number}." for number, _ in enumerate(faults, 1)]
    given: Any = {"prompts": prompts, "video_id": "film"}
    modes = ["custom", "messages"] if streamed else ["custom"]
    parts = list(graph.stream(given, context=RunContext(out=str(runs)), stream_mode=modes))
    folder = RunFolder(runs / "film")
    assert folder.finished()
    seen = [part for mode, part in parts if mode == "custom"]
    assert [event["prompt_id"] for event in seen if event["type"] == "chunk"] == list(range(1, len(prompts) + 1))
    assert KEY not in repr(parts)
    assert not [path for path in folder.path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    if streamed:
        assert any(asked.get("stream") for asked in server.requests)
    return seen


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_the_chat_model_does_not_read_is_read_by_the_analyst(
    settings: Settings, runs: Path, streamed: bool
) -> None:
    faults = {**SERVER, **READINGS, **({} if streamed else WHOLE)}
    if streamed:
        faults["refusal"] = (Refusal(), "no JSON object in the answer")  # LangChain leaves streamed refusals out

    def answer(asked: dict[str, Any]) -> Any:
        question = next(m["content"] for m in reversed(asked["messages"]) if "<prompt>" in str(m["content"]))
        number = int(question.split("<prompt>")[1].split("number ")[1].split(".")[0])
        return list(faults.values())[number - 1][0]

    with serve(answer) as server:
        seen = filmed(settings, server, runs, faults, "per_prompt", streamed)
    prompts = [event for event in seen if event["type"] == "prompt"]
    for (name, (_, said)), event in zip(faults.items(), prompts, strict=True):
        assert event["reader"] == "analyst", name
        assert said in event["notes"][-1], name
        assert event["notes"][-1].endswith("the analyst read this prompt"), name
        assert 1 <= len(event["calls"]) <= 3, name
        assert [entity["global_id"] for entity in event["entities"]] == [1], name
        assert all(one["model"] == "judge-1" for one in event["calls"]), name


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("profile", ["per_prompt", "agent"])
def test_the_key_is_in_no_file_and_no_word_of_the_command(
    runs: Path, profile: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MEMREEL_LLM_MODEL", "judge-1")
    chosen = ["verify.attributes=true", "verify.model=eyes-1", f"agent.profile={profile}", "chunks_per_prompt=4"]
    options = [part for setting in chosen for part in ("--set", setting)]
    (runs.parent / "film.txt").write_text("Tom, a man with black hair, waits.\nTom waves.\n")
    with serve(Status(401, SECRET)) as server:
        monkeypatch.setenv("MEMREEL_LLM_BASE_URL", server.base_url)
        assert main(["run", str(runs.parent / "film.txt"), "--out", str(runs), *options, "--json"]) == 0
        assert main(["doctor"]) == 0
    assert set(server.keys) == {f"Bearer {KEY}"}
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert {"state.sqlite", "events.jsonl", "run.json", "report.html"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    written = capfd.readouterr()
    assert "HTTP 401, the key is refused" in (runs / "film" / "events.jsonl").read_text()
    assert KEY not in written.out + written.err + caplog.text


@pytest.mark.usefixtures("small_model")
def test_the_second_ctrl_c_waits_for_no_chat_server(
    runs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMREEL_LLM_MODEL", "judge-1")
    (runs.parent / "film.txt").write_text("Tom, a man with black hair, waits.\n")
    with serve(Hang()) as server:
        monkeypatch.setenv("MEMREEL_LLM_BASE_URL", server.base_url)

        def strike_twice() -> None:
            while not server.requests:
                time.sleep(0.02)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)

        striker = threading.Thread(target=strike_twice)
        striker.start()
        assert main(["run", str(runs.parent / "film.txt"), "--out", str(runs), "--set", "agent.timeout_s=20"]) == 130
        striker.join()
        assert len(server.requests) == 1, "nor asked again"
    assert "interrupted" in capfd.readouterr().err
    assert not (runs / "film" / "video.mp4").exists()
    assert not ENDING.is_set()


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_at_which_the_director_fails_is_made_as_the_script_has_it(
    settings: Settings, runs: Path, streamed: bool
) -> None:
    faults = {**SERVER, **STEPS, **({} if streamed else WHOLE)}

    def answer(asked: dict[str, Any]) -> Any:
        if [tool["function"]["name"] for tool in asked.get("tools", [])] == ["report_entities"]:
            return Tool(entities(TOM if "nobody yet" in asked["messages"][-1]["content"] else {**TOM, "global_id": 1}))
        if "tools" not in asked:
            return Status(404)
        situation = asked["messages"][-1]["content"]
        made = int(situation.split("in it, ")[1].split(" chunks")[0])
        return list(faults.values())[made][0] if made < len(faults) else call("finish_video")

    with serve(answer) as server:
        seen = filmed(settings, server, runs, faults, "agent", streamed)
    steps = [event for event in seen if event["type"] == "director"]
    notes = [note for event in steps for note in event.get("notes", [])]
    assert notes[1::2] == [f"prompt {number}: 1 chunks without the director" for number in range(1, len(faults) + 1)]
    for (name, (_, said)), note in zip(faults.items(), notes[::2], strict=True):
        assert said in note, name
    assert steps[-1]["tools"] == [{"name": "finish_video"}]
