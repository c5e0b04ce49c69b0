"""memreel inside another graph: its own context, the outer state's keys, its events in the outer stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import memreel
from memreel.configs.schema import RunConfig

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."


class Story(TypedDict, total=False):
    idea: str
    scenes: list[str]
    film: str


class House(TypedDict):
    """A context that is not memreel's."""

    tone: str


def story_graph(node: Any, checkpointer: Any = None) -> Any:
    def write(state: Story) -> Story:
        return {"scenes": [MIA, f"Mia {state['idea']}."]}

    builder = StateGraph(Story, context_schema=House)
    builder.add_node("write", write)
    builder.add_node("film", node)
    builder.add_edge(START, "write")
    builder.add_edge("write", "film")
    return builder.compile(checkpointer=checkpointer)


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
def test_a_larger_graph_gets_the_video_and_streams_each_chunk_once(
    checkpointer: Any, subgraphs: bool, settings: Callable[..., RunConfig], runs: Path
) -> None:
    node = memreel.as_node(settings(), out=runs, prompts="scenes", video="film", video_id="story", seed=4)
    graph = story_graph(node, checkpointer)
    seen: dict[str, list[Any]] = {"custom": [], "values": []}
    thread = {"configurable": {"thread_id": "outer"}}
    given, context = {"idea": "leaves"}, {"tone": "warm"}
    modes = ["custom", "values"]
    for *_, mode, value in graph.stream(given, thread, context=context, stream_mode=modes, subgraphs=subgraphs):
        seen[mode].append(value)
    assert [event["index"] for event in seen["custom"] if event["type"] == "chunk"] == list(range(8))
    assert seen["custom"][0]["seed"] == 4
    assert seen["values"][-1].keys() >= {"idea", "scenes", "film"}
    assert Path(seen["values"][-1]["film"]) == runs / "story" / "video.mp4"
    assert Path(seen["values"][-1]["film"]).is_file()


@pytest.mark.usefixtures("small_model")
def test_a_wrong_scene_is_the_callers_error(settings: Callable[..., RunConfig], runs: Path) -> None:
    graph = story_graph(memreel.as_node(settings(), out=runs, prompts="idea"))
    with pytest.raises(memreel.UserError, match="must be a list of strings, not a string"):
        graph.invoke({"idea": "leaves"})
