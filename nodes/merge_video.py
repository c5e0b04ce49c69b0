"""The node that ends a video: closes the file, writes the JSON files and the report."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def merge_video(state: MemreelState, runtime: Runtime[RunContext]) -> Command[Any]:
    """Complete the run folder."""
    with session_of(state, runtime) as session:
        return Command(update=session.finish(state), goto=END)
