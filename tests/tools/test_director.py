"""The director over a real chat server: it steers by tool calls, and whatever the server does, the video is made."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langgraph.checkpoint.memory import InMemorySaver

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import ChatServer, Drop, DropMidway, Hang, Status, Text, Tool, Tools, call, entities, serve

import memreel
from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.output.run_folder import RunFolder

KEY = "sk-not-a-real-key-0123456789"
MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
SHE = "The woman with red hair waits in the park."

Settings = Callable[..., RunConfig]
Reply = Any


class Script:
    """Answers by who asks: readings with the given entities, the director with the given replies in order."""

    def __init__(self, *replies: Reply, readings: tuple[Reply, ...] = (Status(500),)) -> None:
        self.replies, self.readings = list(replies), list(readings)
        self.asked: list[dict[str, Any]] = []
        """The director's requests."""

    def __call__(self, asked: dict[str, Any]) -> Reply:
        names = [tool["function"]["name"] for tool in asked.get("tools", [])]
        if names == ["report_entities"]:
            return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        self.asked.append(asked)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("memreel.agent.llm.FIRST_PAUSE_S", 0.01)


def directed(server: ChatServer, settings: Settings, **director: Any) -> RunConfig:
    agent = {"profile": "agent", "model": "judge-1", "base_url": server.base_url, "timeout_s": 2, "retries": 1}
    return settings(chunks_per_prompt=3, agent=agent, director=director)


def film(config: RunConfig, runs: Path, *prompts: str, modes: Any = "custom") -> list[Any]:
    given: Any = {"prompts": list(prompts), "video_id": "film"}
    return list(build_graph(config).stream(given, context=RunContext(out=str(runs)), stream_mode=modes))


def of(kind: str, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in seen if event["type"] == kind]


def notes(seen: list[dict[str, Any]]) -> str:
    return "; ".join(note for event in of("director", seen) for note in event.get("notes", []))


def results(asked: dict[str, Any]) -> list[str]:
    return [str(message["content"]) for message in asked["messages"] if message["role"] == "tool"]


COURSE = (
    call("next_prompt"),
    call("generate_chunk", chunks=3),
    call("next_prompt"),
    call("generate_chunk", chunks=3),
    call("finish_video"),
)


@pytest.mark.usefixtures("small_model")
def test_the_director_makes_the_video_by_tool_calls_alone(settings: Settings, runs: Path) -> None:
    script = Script(*COURSE)
    with serve(script) as server:
        seen = film(directed(server, settings), runs, MIA, SHE)
        plain = settings(chunks_per_prompt=3)
    given: Any = {"prompts": [MIA, SHE], "video_id": "plain"}
    build_graph(plain).invoke(given, context=RunContext(out=str(runs)))
    assert [event["index"] for event in of("chunk", seen)] == list(range(6))
    assert [event["tools"][0]["name"] for event in of("director", seen)] == [
        "next_prompt",
        "generate_chunk",
        "next_prompt",
        "generate_chunk",
        "finish_video",
    ]
    costs = [(c["outcome"], c["input_tokens"]) for event in of("director", seen) for c in event["calls"]]
    assert costs == [("ok", 120)] * 5
    assert of("director", seen)[-1]["spent"]["calls"] == 5
    schema = json.loads((Path(__file__).parents[1] / "graph" / "schemas" / "event.schema.json").read_text())
    for event in seen:
        jsonschema.validate(event, schema)
    for name in ("memory_bank.json", "video.mp4"):
        assert (runs / "film" / name).read_bytes() == (runs / "plain" / name).read_bytes()
    assert {tool["function"]["name"] for tool in script.asked[0]["tools"]} >= {"rewind", "search_memory", "show_frame"}
    assert MIA in script.asked[0]["messages"][1]["content"]
    told = results(script.asked[2])
    assert [json.loads(text)["chunks"] for text in told[:1]] == [0]
    assert [chunk["index"] for chunk in json.loads(told[1])["chunks"]] == [0, 1, 2]


@pytest.mark.usefixtures("small_model")
def test_a_streamed_answer_counts_like_a_whole_one(settings: Settings, runs: Path) -> None:
    script = Script(*COURSE, readings=(Tool(entities()),))
    with serve(script) as server:
        parts = film(directed(server, settings), runs, MIA, SHE, modes=["custom", "messages"])
    seen = [part for mode, part in parts if mode == "custom"]
    assert all(asked["stream"] for asked in script.asked)
    assert [event["index"] for event in of("chunk", seen)] == list(range(6))
    assert [(c["outcome"], c["output_tokens"]) for event in of("director", seen) for c in event["calls"]] == [
        ("ok", 30)
    ] * 5


@pytest.mark.usefixtures("small_model")
def test_the_director_corrects_an_identity_chooses_frames_goes_back_and_rewords(settings: Settings, runs: Path) -> None:
    mia = {"entity": "Mia", "kind": "character", "attrs": ["red hair", "blue sweater"], "global_id": None}
    woman = {**mia, "entity": "woman", "attrs": ["red hair"]}
    readings = (Tool(entities(mia)), Tool(entities(woman)), Tool(entities({**mia, "global_id": 1, "attrs": []})))
    script = Script(
        Tools([call("next_prompt"), call("generate_chunk", chunks=5)]),
        call("next_prompt"),
        Tools([call("correct_identity", global_id=2, really=1), call("show_frame", frame_id="p1_c1_f0", picture=True)]),
        call("describe_cast"),
        lambda asked: call("generate_chunk", chunks=2, memory=[shown(asked)[0]["frames"][0]]),
        call("rewind", chunks=5),
        call("generate_chunk", prompt="Mia waits in the park.", chunks=2),
        call("finish_video"),
        readings=readings,
    )

    def shown(asked: dict[str, Any]) -> Any:
        return json.loads(results(asked)[-1])

    with serve(script) as server:
        seen = film(directed(server, settings), runs, MIA, SHE)
    prompts = of("prompt", seen)
    assert [[e["global_id"] for e in event["entities"]] for event in prompts] == [[1], [2], [1], [1]]
    assert prompts[-1]["prompt"] == "Mia waits in the park."
    chunks = of("chunk", seen)
    assert [event["index"] for event in chunks] == [0, 1, 2, 3, 4, 5, 6, 5, 6]
    cast = shown(script.asked[4])
    assert [member["name"] for member in cast] == ["Mia"]
    assert chunks[5]["memory"] == [cast[0]["frames"][0]]
    folder = RunFolder(runs / "film")
    assert folder.finished()
    assert [entry["prompt"] for entry in folder.read_json(folder.llm_agent)] == [MIA, "Mia waits in the park."]
    logged = list(folder.read_events())
    assert [event["index"] for event in of("chunk", logged)] == list(range(7))
    assert "rewind" in [tool["name"] for event in of("director", logged) for tool in event.get("tools", [])]
    assert folder.read_json(folder.run)["chunks"] == 7


@pytest.mark.usefixtures("small_model")
def test_a_frame_asked_for_with_its_picture_is_seen_in_the_next_request(settings: Settings, runs: Path) -> None:
    script = Script(
        Tools([call("next_prompt"), call("generate_chunk", chunks=4), call("describe_cast")]),
        lambda asked: call("show_frame", frame_id=json.loads(results(asked)[-1])[0]["frames"][0], picture=True),
        call("finish_video"),
    )
    with serve(script) as server:
        film(directed(server, settings), runs, MIA)
    [text, picture] = script.asked[2]["messages"][-2]["content"]
    assert "p1_c" in text["text"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (call("correct_identity", global_id=1, really=7), "no cast member 7"),
        (call("recall_memory", global_ids=[99]), "no global ID 99"),
        (Tool("{broken", "generate_chunk"), "not valid JSON"),
        (call("generate_chunk", chunks=0), "greater than or equal to 1"),
        (call("paint"), "there is no tool 'paint'"),
        (call("finish_video"), "prompt 2 of 2 has not been made yet"),
        (call("generate_chunk", prompt="x" * 5000), "longer than 2000"),
        (Text("I would rather not."), "Call a tool"),
    ],
)
def test_a_wrong_call_is_answered_and_the_next_one_counts(
    settings: Settings, runs: Path, wrong: Any, told: str
) -> None:
    script = Script(*COURSE[:2], wrong, *COURSE[2:])
    with serve(script) as server:
        seen = film(directed(server, settings), runs, MIA, SHE)
    assert [event["index"] for event in of("chunk", seen)] == list(range(6))
    assert told in json.dumps(script.asked[3]["messages"][-3:])
    assert "without the director" not in notes(seen)


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (Status(500), "HTTP 500 after 2 attempts"),
        (Status(401, body=json.dumps({"error": {"message": f"bad key {KEY}"}})), "HTTP 401"),
        (Drop(), "no connection"),
        (Text("I cannot help with that."), "3 replies without a usable call"),
        (call("paint"), "3 replies without a usable call"),
    ],
)
def test_with_a_director_that_never_steers_the_script_is_made_all_the_same(
    settings: Settings, runs: Path, fault: Any, note: str
) -> None:
    with serve(Script(fault)) as server:
        seen = film(directed(server, settings), runs, MIA, SHE)
    assert [event["prompt_id"] for event in of("chunk", seen)] == [1, 1, 1, 2, 2, 2]
    assert note in notes(seen)
    assert "prompt 2: 3 chunks without the director" in notes(seen)
    assert RunFolder(runs / "film").finished()
    assert KEY not in json.dumps(seen)


@pytest.mark.usefixtures("small_model")
def test_a_hanging_server_costs_bounded_time(settings: Settings, runs: Path) -> None:
    with serve(Hang()) as server:
        config = directed(server, settings)
        config = config.model_copy(update={"agent": config.agent.model_copy(update={"timeout_s": 0.2})})
        begun = time.monotonic()
        seen = film(config, runs, MIA, SHE)
        assert time.monotonic() - begun < 20
    assert "timeout" in notes(seen)
    assert len(of("chunk", seen)) == 6


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("fault", [Status(429, headers={"retry-after": "0"}), Status(503), Drop()])
def test_a_passing_fault_is_tried_again_and_the_director_steers_on(settings: Settings, runs: Path, fault: Any) -> None:
    script = Script(COURSE[0], fault, *COURSE[1:], readings=(Tool(entities()),))
    with serve(script) as server:
        seen = film(directed(server, settings), runs, MIA, SHE)
    assert len(of("chunk", seen)) == 6
    assert "without the director" not in notes(seen)
    assert len(of("director", seen)[1]["calls"]) == 2


@pytest.mark.usefixtures("small_model")
def test_a_stream_that_breaks_off_is_tried_again(settings: Settings, runs: Path) -> None:
    script = Script(COURSE[0], DropMidway(COURSE[1]), *COURSE[1:], readings=(Tool(entities()),))
    with serve(script) as server:
        parts = film(directed(server, settings), runs, MIA, SHE, modes=["custom", "messages"])
    seen = [part for mode, part in parts if mode == "custom"]
    assert len(of("chunk", seen)) == 6
    assert "without the director" not in notes(seen)


@pytest.mark.usefixtures("small_model")
def test_spent_calls_leave_the_rest_to_the_script(settings: Settings, runs: Path) -> None:
    with serve(Script(*COURSE)) as server:
        seen = film(directed(server, settings, max_calls=2), runs, MIA, SHE)
    assert "the budget of calls is spent" in notes(seen)
    assert len(of("chunk", seen)) == 6
    assert len(server.requests) >= 2
    assert of("director", seen)[-1]["spent"]["calls"] == 2


@pytest.mark.usefixtures("small_model")
def test_spent_chunks_end_the_video_and_the_log_says_what_is_missing(settings: Settings, runs: Path) -> None:
    script = Script(COURSE[0], call("generate_chunk", chunks=9), call("generate_chunk", chunks=2))
    with serve(script) as server:
        seen = film(directed(server, settings, max_chunks=2), runs, MIA, SHE)
    assert "only 2 chunks are left in the budget" in results(script.asked[2])[-1]
    assert len(of("chunk", seen)) == 2
    assert "prompts 2-2 were not made: the budget of chunks is spent" in notes(seen)


@pytest.mark.usefixtures("small_model")
def test_the_state_stays_small_and_a_checkpoint_a_chunk_is_kept(settings: Settings, runs: Path) -> None:
    replies: list[Any] = []
    for _ in range(12):
        replies += [call("next_prompt"), call("describe_cast"), call("generate_chunk", chunks=7)]
    with serve(Script(*replies, call("finish_video"))) as server:
        config = directed(server, settings).model_copy(update={"chunks_per_prompt": 7})
        graph = build_graph(config, InMemorySaver())
        thread: Any = {"configurable": {"thread_id": "t"}}
        given: Any = {"prompts": [MIA, SHE] * 6, "video_id": "film"}
        graph.invoke(given, thread, context=RunContext(out=str(runs)))
        history = list(graph.get_state_history(thread))
    assert {snapshot.values["index"] for snapshot in history if "index" in snapshot.values} == set(range(85))
    assert len(json.dumps(history[0].values)) <= 20_000


@pytest.mark.usefixtures("small_model")
def test_a_director_without_a_chat_model_is_the_users_error(
    settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
    with pytest.raises(memreel.UserError, match="needs a chat model"):
        film(settings(agent={"profile": "agent"}), runs, MIA)
    assert not (runs / "film").exists()


@pytest.mark.usefixtures("small_model")
def test_the_key_is_in_no_file_and_in_no_state(
    settings: Settings, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    leak = Status(403, body=json.dumps({"error": {"message": f"bad key {KEY}"}}))
    script = Script(COURSE[0], leak, *COURSE[1:], readings=(leak,))
    with serve(script) as server:
        saver = InMemorySaver()
        graph = build_graph(directed(server, settings), saver)
        thread: Any = {"configurable": {"thread_id": "t"}}
        given: Any = {"prompts": [MIA, SHE], "video_id": "film"}
        graph.invoke(given, thread, context=RunContext(out=str(runs)))
    assert f"Bearer {KEY}" in server.keys
    files = [path for path in (runs / "film").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"events.jsonl", "run.json", "report.html"}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in repr([tuple(entry) for entry in saver.list(thread)]) + repr(saver.storage) + caplog.text
