"""The node that reads a prompt: who and what is in it."""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def parse_prompt(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Read the current prompt's entities and their visual attributes."""
    with session_of(state, runtime) as session:
        return session.parse(state)
