"""The node that renders: one chunk of the stream, its latents and pictures written."""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def generate_chunk(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Generate the next chunk under the state's text, attending to the state's memory frames."""
    with session_of(state, runtime) as session:
        return session.generate(state)
