"""The node that ends a video: closes the file, writes the JSON files and the report."""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def merge_video(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Complete the run folder."""
    with session_of(state, runtime) as session:
        return session.finish(state)
