"""The node that prepares a prompt for the video model: its memory frames and its enriched text."""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def retrieve_memory(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Choose the frames and the text that the prompt starts with."""
    with session_of(state, runtime) as session:
        return session.retrieve(state)
