"""The tools as an agent meets them: schemas, a film made by calls alone, and errors as messages."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

import memreel
from memreel.configs.schema import RunConfig
from memreel.model.protocol import VideoModel
from memreel.output.run_folder import RunFolder

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."
MIA_AGAIN = "Mia walks back into the library."

Settings = Callable[..., RunConfig]


class Agent:
    """Calls tools through a `ToolNode`, as an LLM's tool calls reach them."""

    def __init__(self, tools: list[BaseTool]) -> None:
        builder = StateGraph(MessagesState)
        builder.add_node("tools", ToolNode(tools))
        builder.add_edge(START, "tools")
        builder.add_edge("tools", END)
        self._graph = builder.compile()
        self._number = itertools.count()

    def message(self, name: str, **arguments: Any) -> ToolMessage:
        call = {"name": name, "args": arguments, "id": str(next(self._number)), "type": "tool_call"}
        message = self._graph.invoke({"messages": [AIMessage("", tool_calls=[call])]})["messages"][-1]
        assert isinstance(message, ToolMessage)
        return message

    def call(self, name: str, **arguments: Any) -> Any:
        message = self.message(name, **arguments)
        assert message.status == "success", message.content
        return json.loads(str(message.content))

    def error(self, name: str, **arguments: Any) -> str:
        message = self.message(name, **arguments)
        assert message.status == "error", message.content
        return str(message.content)


@pytest.fixture
def agent(small_model: Any, settings: Settings, runs: Path) -> Agent:
    """An agent of tools over a model that may fail."""
    return Agent(memreel.tools(settings(), out=runs))


@pytest.fixture
def real_agent(embedded_model: VideoModel, settings: Settings, runs: Path) -> Agent:
    """An agent of tools over the embedded model."""
    return Agent(memreel.tools(settings(), out=runs))


def test_every_tool_says_what_it_is_for_and_what_each_argument_is() -> None:
    tools = {tool.name: tool for tool in memreel.tools()}
    assert tools.keys() == {
        "generate_chunk",
        "score_evicted_chunk",
        "match_entities",
        "recall_memory",
        "search_memory",
        "describe_cast",
        "show_frame",
        "rewind",
        "correct_identity",
        "finish_video",
    }
    for tool in tools.values():
        assert len(tool.description) > 60
        for name, argument in tool.get_input_jsonschema().get("properties", {}).items():
            assert argument.get("description"), f"{tool.name}.{name}"


def test_a_film_can_be_made_by_calls_alone(real_agent: Agent, runs: Path) -> None:
    agent = real_agent
    first = agent.call("generate_chunk", prompt=MIA, chunks=5)
    assert [chunk["index"] for chunk in first["chunks"]] == [0, 1, 2, 3, 4]
    assert [chunk["evicted"] for chunk in first["chunks"]] == [None, None, 0, 1, 2]
    agent.call("generate_chunk", prompt=TOM, chunks=3)
    more = agent.call("generate_chunk", prompt=MIA_AGAIN)
    assert [chunk["chunk_id"] for chunk in agent.call("generate_chunk", chunks=2)["chunks"]] == [2, 3]
    assert [entity["global_id"] for entity in more["entities"] if entity["entity"] == "Mia"] == [1]
    assert "red hair" in more["text"]
    finished = agent.call("finish_video")
    folder = RunFolder(runs / "video")
    assert Path(finished["video"]) == folder.video
    assert finished["video_seconds"] == 11 * 0.75
    assert folder.finished()
    assert [entry["prompt"] for entry in folder.read_json(folder.llm_agent)] == [MIA, TOM, MIA_AGAIN]


@pytest.mark.usefixtures("embedded_model")
def test_calls_give_the_same_video_as_the_graph(settings: Settings, runs: Path) -> None:
    config = settings(chunks_per_prompt=2)
    agent = Agent(memreel.tools(config, out=runs, video_id="calls"))
    for prompt in (MIA, TOM, MIA_AGAIN):
        agent.call("generate_chunk", prompt=prompt, chunks=2)
    agent.call("finish_video")
    graph = memreel.build_graph(config)
    graph.invoke({"prompts": [MIA, TOM, MIA_AGAIN], "video_id": "graph"}, context=memreel.RunContext(out=str(runs)))
    for name in ("memory_bank.json", "llm_agent.json"):
        assert (runs / "calls" / name).read_bytes() == (runs / "graph" / name).read_bytes()


def test_looking_things_up_changes_nothing(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=5)
    agent.call("generate_chunk", prompt=TOM, chunks=4)
    cast = agent.call("describe_cast")
    known = agent.call("match_entities", prompt="Mia meets Zoe, a girl with a green hat.")
    by_name = {entity["entity"]: entity for entity in known}
    assert (by_name["Mia"]["global_id"], by_name["Mia"]["known"]) == (1, True)
    assert by_name["Zoe"]["known"] is False
    frames = agent.call("recall_memory", global_ids=[1])
    assert len(frames) == 3
    assert all(1 in frame["associated_entities"] for frame in frames)
    found = agent.call("search_memory", query="the red-haired woman", limit=1)
    assert [member["name"] for member in found["cast"]] == ["Mia"]
    assert [prompt["prompt_id"] for prompt in found["prompts"]] == [1]
    assert agent.call("describe_cast") == cast
    assert {member["name"] for member in cast} >= {"Mia", "Tom"}


def test_an_evicted_chunk_is_scored_frame_by_frame(real_agent: Agent) -> None:
    agent = real_agent
    agent.call("generate_chunk", prompt=MIA, chunks=3)
    scored = agent.call("score_evicted_chunk", phrases=["Mia, red hair", "notebook"])
    assert scored["index"] == 0
    assert [row["frame"] for row in scored["frames"]] == [0, 1, 2]
    assert all(row["scores"].keys() == {"Mia, red hair", "notebook"} for row in scored["frames"])
    assert all(0 <= score <= 1 for row in scored["frames"] for score in row["scores"].values())


def test_memory_frames_can_be_chosen_for_the_next_chunk(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=6)
    frame = agent.call("recall_memory", global_ids=[1])[0]["frame_id"]
    [chunk] = agent.call("generate_chunk", memory=[frame])["chunks"]
    assert chunk["memory"] == [frame]


def test_going_back_makes_the_video_that_would_have_been_made(agent: Agent, runs: Path) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=4)
    agent.call("generate_chunk", prompt=TOM, chunks=2)
    back = agent.call("rewind", chunks=3)
    assert (back["prompt_id"], back["chunks"], len(back["memory"])) == (1, 3, 1)
    agent.call("generate_chunk", chunks=1)
    assert [member["name"] for member in agent.call("describe_cast")] == ["Mia"]
    agent.call("finish_video")
    agent.call("generate_chunk", prompt=MIA, chunks=4)
    agent.call("finish_video")
    for name in ("memory_bank.json", "llm_agent.json", "video.mp4"):
        assert (runs / "video" / name).read_bytes() == (runs / "video-2" / name).read_bytes()


def test_going_back_to_the_beginning_takes_another_first_prompt(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=2)
    assert agent.call("rewind", chunks=0)["prompt_id"] == 0
    made = agent.call("generate_chunk", prompt=TOM)
    assert [entity["entity"] for entity in made["entities"]] == ["Tom"]
    assert made["chunks"][0]["index"] == 0


def test_a_memory_frame_can_be_looked_at(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=4)
    name = agent.call("recall_memory", global_ids=[1])[0]["frame_id"]
    told = agent.call("show_frame", frame_id=name)
    assert told["shows"] == {"1": "Mia"}
    assert Path(told["picture"]).is_file()
    text, picture = agent.message("show_frame", frame_id=name, picture=True).content
    assert json.loads(text["text"])["frame_id"] == name
    assert base64.b64decode(picture["base64"]) == Path(told["picture"]).read_bytes()


def test_an_identity_can_be_corrected_both_ways(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=4)
    agent.call("generate_chunk", prompt="A woman with red hair waits in the park.", chunks=3)
    other = next(member for member in agent.call("describe_cast") if member["name"] != "Mia")["global_id"]
    merged = agent.call("correct_identity", global_id=other, really=1)
    assert [entity["global_id"] for entity in merged["entities"]] == [1]
    assert "blue sweater" in merged["text"]
    [mia] = agent.call("describe_cast")
    assert (mia["name"], mia["prompts"]) == ("Mia", [1, 2])
    assert agent.call("generate_chunk")["chunks"][0]["memory"] == merged["memory"]
    split = agent.call("correct_identity", global_id=1)
    assert [entity["global_id"] for entity in split["entities"]] == [2]
    cast = {member["global_id"]: member for member in agent.call("describe_cast")}
    assert (cast[1]["prompts"], cast[2]["prompts"]) == ([1], [2])
    assert "blue sweater" not in cast[2]["attributes"]


def test_a_finished_video_is_followed_by_another_in_a_folder_of_its_own(agent: Agent, runs: Path) -> None:
    for _ in range(2):
        agent.call("generate_chunk", prompt=MIA)
        agent.call("finish_video")
    assert sorted(path.name for path in runs.iterdir()) == ["video", "video-2"]
    assert agent.call("describe_cast") == []


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("generate_chunk", {}, "no prompt yet; give one"),
        ("generate_chunk", {"prompt": "  "}, "prompt 1 is empty"),
        ("generate_chunk", {"prompt": MIA, "chunks": 0}, "chunks: input should be greater than or equal to 1"),
        ("generate_chunk", {"prompt": MIA, "memory": ["p1_c1_f0"]}, "no memory frame 'p1_c1_f0'; known: none yet"),
        ("generate_chunk", {"chunk": 3, "prompt": 5}, "prompt: input should be a valid string"),
        ("score_evicted_chunk", {"phrases": ["Mia"]}, "no chunk has left the window yet"),
        ("score_evicted_chunk", {"phrases": []}, "phrases"),
        ("match_entities", {}, "prompt: field required"),
        ("recall_memory", {"global_ids": [7]}, "no global ID 7 in the cast; known: nobody yet"),
        ("search_memory", {"query": ""}, "is empty"),
        ("show_frame", {"frame_id": "p1_c1_f0"}, "no memory frame 'p1_c1_f0'; known: none yet"),
        ("rewind", {"chunks": 3}, "the video has 0 chunks"),
        ("correct_identity", {"global_id": 1}, "no prompt yet"),
        ("finish_video", {}, "nothing has been generated yet"),
    ],
)
def test_a_wrong_call_is_answered_with_what_to_do(
    agent: Agent, name: str, arguments: dict[str, Any], says: str
) -> None:
    content = agent.error(name, **arguments)
    assert says in content
    assert content.startswith("Error")
    assert "Traceback" not in content


def test_after_a_wrong_call_the_film_goes_on(agent: Agent) -> None:
    agent.call("generate_chunk", prompt=MIA, chunks=2)
    agent.error("generate_chunk", memory=["p7_c1_f0"])
    agent.error("generate_chunk", prompt=" ")
    assert agent.call("generate_chunk")["chunks"][0]["index"] == 2


def test_a_failing_model_is_a_message_and_the_next_call_starts_anew(agent: Agent, small_model: Any, runs: Path) -> None:
    small_model.fail_at = 1
    assert "cannot generate chunk 1" in agent.error("generate_chunk", prompt=MIA, chunks=3)
    small_model.fail_at = None
    assert "no prompt yet" in agent.error("generate_chunk")
    assert agent.call("generate_chunk", prompt=MIA)["chunks"][0]["index"] == 0
    assert not RunFolder(runs / "video").video.exists()


def test_a_video_id_that_is_no_folder_name_is_refused() -> None:
    with pytest.raises(memreel.UserError, match="use 'a'"):
        memreel.tools(video_id="../a")
