"""The graph, put together: nodes, edges, schemas.

The edges are drawn here rather than returned by the nodes as commands, because LangGraph computes them again when a
state is edited: after `update_state`, or an edit in Studio, the run goes on where it stood; with commands it would end.
Assembling loads no model and opens no file; that happens when a run's first node executes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Checkpointer

from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.graph.binding import Node, Write, bind, going_on
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelInput, MemreelState
from memreel.nodes.await_prompt import await_prompt
from memreel.nodes.direct import after_direct, direct
from memreel.nodes.generate_chunk import generate_chunk
from memreel.nodes.match_entities import match_entities
from memreel.nodes.merge_video import merge_video
from memreel.nodes.open_video import open_video
from memreel.nodes.parse_prompt import parse_prompt
from memreel.nodes.retrieve_memory import retrieve_memory
from memreel.nodes.update_memory import following, update_memory

Graph = CompiledStateGraph[MemreelState, RunContext, MemreelInput, MemreelState]

NODES: dict[str, Node] = {
    "open_video": open_video,
    "parse_prompt": going_on(parse_prompt),
    "match_entities": going_on(match_entities),
    "retrieve_memory": going_on(retrieve_memory),
    "generate_chunk": going_on(generate_chunk),
    "update_memory": going_on(update_memory),
    "await_prompt": going_on(await_prompt),
    "direct": going_on(direct),
    "merge_video": going_on(merge_video),
}
EDGES = (
    (START, "open_video"),
    ("parse_prompt", "match_entities"),
    ("match_entities", "retrieve_memory"),
    ("retrieve_memory", "generate_chunk"),
    ("generate_chunk", "update_memory"),
    ("merge_video", END),
)
STEPS = 10**9
"""A video may be as long as its script: LangGraph's guard against endless loops is not to end it."""


def build_graph(config: RunConfig | str | None = None, checkpointer: Checkpointer = None, **compile_args: Any) -> Graph:
    """Build memreel's graph.

    Invoke it with ``{"prompts": [...], "video_id": "..."}`` and, if wanted, a context (see `RunContext`); stream it
    with ``stream_mode="custom"`` for the run's events, one for each chunk.

    Args:
        config: what runs are configured by unless their context says otherwise: a `RunConfig`, the name of a preset or
            file, or ``None`` for the default preset.
        checkpointer: LangGraph's; with one, runs can be stepped, inspected and continued by thread.
        compile_args: passed on to LangGraph's ``compile``, such as ``interrupt_before=["generate_chunk"]``.

    Raises:
        UserError: the configuration is wrong.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    graph = _builder(settings).compile(checkpointer=checkpointer, name="memreel", **compile_args)
    return graph.with_config(recursion_limit=STEPS)


def _builder(config: RunConfig, write: Write | None = None) -> StateGraph[MemreelState, RunContext, MemreelInput]:
    builder = StateGraph(MemreelState, context_schema=RunContext, input_schema=MemreelInput)
    for name, node in NODES.items():
        builder.add_node(name, bind(node, config, write))
    for source, target in EDGES:
        builder.add_edge(source, target)
    builder.add_conditional_edges("open_video", following, ["parse_prompt", "await_prompt", "direct"])
    builder.add_conditional_edges("direct", after_direct)
    builder.add_conditional_edges("update_memory", following)
    builder.add_conditional_edges("await_prompt", following, ["parse_prompt", "merge_video"])
    return builder


def as_node(
    config: RunConfig | str | None = None,
    *,
    out: str | Path = "runs",
    prompts: str = "prompts",
    video: str = "video",
    video_id: str | None = None,
    seed: int | None = None,
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return memreel as one node of another graph, with a context of its own.

    The node reads the script from the outer state's key ``prompts`` and returns the finished file's path under the key
    ``video``. What it streams (``stream_mode="custom"``) reaches the outer graph's stream; the outer graph's
    checkpointer, if any, keeps its state.

    Args:
        config: as for `build_graph`.
        out: folder in which the run folder is made.
        prompts: the outer state's key that holds the list of prompts.
        video: the outer state's key that takes the video's path.
        video_id: name of the run folder; derived from the thread if not given.
        seed: seed of the noise, if not the configuration's.

    Raises:
        UserError: the configuration is wrong.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    context = RunContext(out=str(out), seed=seed)

    def memreel_video(state: Mapping[str, Any]) -> dict[str, Any]:
        # In the outer node's own context: LangGraph would hold back events that come from inside a subgraph.
        outer, outer_write = copy_context(), get_stream_writer()
        inner = _builder(settings, lambda event: outer.run(outer_write, event)).compile(name="memreel")
        graph = inner.with_config(recursion_limit=STEPS)
        given: MemreelInput = {"prompts": state[prompts]}
        if video_id is not None:
            given["video_id"] = video_id
        return {video: graph.invoke(given, context=context)["video"]}

    return memreel_video
