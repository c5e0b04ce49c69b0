"""The node that remembers, by scoring what left the window, and the branch after it."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.past import keep_state
from memreel.graph.state import MemreelState


def update_memory(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Hand the evicted chunk to the bank, and close the prompt with its last chunk."""
    with session_of(state, runtime) as session:
        update = session.admit(state)
        if state["chunk_id"] >= state["chunks"]:
            update |= session.close_prompt({**state, **update})
        if state.get("director") is not None:  # who may want to go back
            keep_state(session.folder, {**state, **update})
        return update


def after_update_memory(state: MemreelState) -> Literal["generate_chunk", "parse_prompt", "direct", "merge_video"]:
    """Say what follows a chunk: another one, the director's decision, the next prompt, or the end."""
    if state["chunk_id"] < state["chunks"]:
        return "generate_chunk"
    if state.get("director") is not None:
        return "direct"
    return "parse_prompt" if state["prompt_id"] < len(state["prompts"]) else "merge_video"
