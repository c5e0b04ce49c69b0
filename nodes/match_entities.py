"""The node that says who is who: a global ID for every entity, new ones into the cast."""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def match_entities(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Match the parsed entities with the cast and register them."""
    with session_of(state, runtime) as session:
        return session.match(state)
