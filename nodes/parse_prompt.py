"""The node that reads a prompt: who and what is in it."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def parse_prompt(state: MemreelState, runtime: Runtime[RunContext]) -> Command[Literal["match_entities"]]:
    """Read the current prompt's entities and their visual attributes."""
    with session_of(state, runtime) as session:
        return Command(update=session.parse(state), goto="match_entities")
