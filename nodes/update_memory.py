"""The node that remembers: scores what left the window, and decides whether the prompt goes on."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.state import MemreelState


def update_memory(
    state: MemreelState, runtime: Runtime[RunContext]
) -> Command[Literal["generate_chunk", "parse_prompt", "merge_video"]]:
    """Hand the evicted chunk to the bank; then the next chunk, the next prompt, or the end."""
    with session_of(state, runtime) as session:
        update = session.admit(state)
        if state["chunk_id"] < session.config.chunks_per_prompt:
            return Command(update=update, goto="generate_chunk")
        update |= session.close_prompt({**state, **update})
        return Command(update=update, goto="parse_prompt" if "prompt_id" in update else "merge_video")
