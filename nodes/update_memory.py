"""The node that remembers, by scoring what left the window, and the branch after it."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime

from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.inbox import take
from memreel.graph.past import keep_state
from memreel.graph.state import MemreelState, script_length


def update_memory(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Hand the evicted chunk to the bank, take in what was pushed, and close the prompt with its last chunk."""
    with session_of(state, runtime) as session:
        update = session.admit(state)
        if state["live"]:
            update |= take({**state, **update}, session.folder)
        after: MemreelState = {**state, **update}
        if after["chunk_id"] >= after["chunks"]:
            update |= session.close_prompt(after)
        if state.get("director") is not None:  # who may want to go back
            keep_state(session.folder, {**state, **update})
        return update


Following = Literal["generate_chunk", "direct", "parse_prompt", "await_prompt", "merge_video"]


def following(state: MemreelState) -> Following:
    """Say what comes next: a chunk, the director's decision, the next prompt, waiting for one if live, or the end."""
    if state["chunk_id"] < state["chunks"]:
        return "generate_chunk"
    if state.get("director") is not None:
        return "direct"
    if state["prompt_id"] < script_length(state):
        return "parse_prompt"
    return "await_prompt" if state["live"] else "merge_video"
