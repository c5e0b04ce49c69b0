"""How a node meets its run: the context it runs under, and the session that belongs to its state.

LangGraph hands a node the context that the caller gave, or none. `bind` makes that a complete
`RunContext` before the node sees it; `session_of` finds the session. What nodes do is not known here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from langgraph.runtime import Runtime

from memreel.configs.schema import RunConfig
from memreel.graph.context import Context, RunContext
from memreel.graph.fork import branched
from memreel.graph.live import live_session
from memreel.graph.session import Session
from memreel.graph.state import MemreelState


class Node(Protocol):
    """A node of the graph: a plain function, since rendering computes and must not block an event loop."""

    def __call__(self, state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
        """Do the node's work and return the state's update."""


Write = Callable[[dict[str, Any]], None]
"""Takes events to whoever watches."""


def bind(node: Node, config: RunConfig, write: Write | None = None) -> Node:
    """Return ``node`` with its context completed: ``config`` stands in where the caller named no configuration.

    Events go to ``write``, if given, instead of this graph's own stream.
    """

    @functools.wraps(node)
    def bound(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
        context = RunContext.model_validate(runtime.context or {})
        if context.config is None and not context.preset:
            context = context.model_copy(update={"config": config})
        if write is not None:
            runtime = runtime.override(stream_writer=write)
        return node(state, runtime.override(context=context))

    return bound


def going_on(node: Node) -> Node:
    """Return ``node`` for states of a run under way: one that its run has left behind goes on in a fork.

    A fork has a folder and a ``video_id`` of its own, which are then the state's.
    """

    @functools.wraps(node)
    def moved(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
        branch = branched(run_path(runtime.context, state["video_id"]), state)
        return {**branch, **node({**state, **branch}, runtime)}

    return moved


def run_path(context: Context, video_id: str) -> Path:
    """Return the run folder's path."""
    return Path(context.out).expanduser().absolute() / video_id


def session_of(state: MemreelState, runtime: Runtime[RunContext]) -> Session:
    """Return the open session that ``state`` belongs to; its events go to this node's stream.

    Raises:
        StoreError: see `memreel.graph.live.live_session`.
    """
    context = runtime.context
    session = live_session(run_path(context, state["video_id"]), state, context.run_config)
    session.write = runtime.stream_writer
    return session
