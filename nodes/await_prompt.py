"""The node in which a live stream with nothing left to show waits for a prompt, by LangGraph's ``interrupt``.

What waits in the inbox is taken at once; otherwise the run rests until somebody resumes it: with an answer, or with
nothing once a prompt has arrived. The stream stays open meanwhile.
"""

from __future__ import annotations

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from memreel.errors import UserError
from memreel.graph.binding import session_of
from memreel.graph.context import RunContext
from memreel.graph.inbox import answered, take
from memreel.graph.state import MemreelState


def await_prompt(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Take the next prompt, or wait for it; the answer may be a prompt or ``{"end": true}``.

    Raises:
        UserError: the answer is neither, or the stream is ended before its first chunk.
    """
    with session_of(state, runtime) as session:
        update = take(state, session.folder)
    if not update:  # outside the block: an interrupt is no failure of the session
        cast = [member["name"] for member in state["bank"]["cast"].values()]
        waiting = {"prompt_id": state["prompt_id"], "index": state["index"], "cast": cast}
        update = answered(state, interrupt({**waiting, "memory": state["bank"]["memory"]}))
    if not (update.get("live", True) or update["prompts"] or state["index"]):
        raise UserError("the stream was ended before its first prompt; nothing was made")
    return update
