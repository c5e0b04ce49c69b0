"""The node in which the director steers, and the branches around it."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime

from memreel.errors import UserError
from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def direct(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Ask the director once and carry out what it calls for.

    Raises:
        UserError: no chat model is configured any more.
    """
    from memreel.tools.director import Director

    with session_of(state, runtime) as session:
        if session.reader.chat is None:
            raise UserError("agent.profile=agent needs a chat model: set agent.model or MEMREEL_LLM_MODEL")
        return Director(session.reader.chat, session.config).act(session, state)


def after_direct(state: MemreelState) -> Literal["direct", "generate_chunk", "merge_video"]:
    """Say what the director wants next."""
    record = state["director"]
    return "direct" if record is None else record["goto"]
