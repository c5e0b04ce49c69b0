"""The node that takes a caller's input: checks it, opens the session, puts the state at the beginning.

It runs once per input and never between prompts, so a thread that already made a video starts anew when it is given
prompts again, and goes on where it stood when it is given nothing.
"""

from __future__ import annotations

from langgraph.runtime import Runtime

from memreel.errors import UserError
from memreel.graph.binding import run_path
from memreel.graph.context import RunContext
from memreel.graph.past import keep_state
from memreel.graph.session import Session
from memreel.graph.state import MemreelState
from memreel.script import check_prompts, slug


def open_video(state: MemreelState, runtime: Runtime[RunContext]) -> MemreelState:
    """Open a run folder and a stream for the prompts given.

    Raises:
        UserError: the prompts, the video's id or the configuration are wrong, or the folder cannot be written.
    """
    live = bool(state.get("live"))
    given = state.get("prompts", [])
    prompts = () if live and not given else check_prompts(given, "input")
    video_id = state.get("video_id") or _derived_id(runtime)
    if not isinstance(video_id, str) or video_id != slug(video_id):
        raise UserError(f"video_id {video_id!r} does not do as a folder name; use '{slug(str(video_id))}'")
    config = runtime.context.run_config()
    if live and config.agent.profile == "agent":
        raise UserError("a live stream is steered by its prompts, not by a director: set agent.profile=per_prompt")
    path = run_path(runtime.context, video_id)
    session = Session.start(path, video_id, prompts, config, runtime.stream_writer, live=live)
    opening = session.opening(video_id, prompts, live)
    if opening["director"] is not None:  # who may want to go back to the very beginning
        keep_state(session.folder, opening)
    return opening


def _derived_id(runtime: Runtime[RunContext]) -> str:
    """Name a video after its thread, so that no two threads share a folder."""
    thread = runtime.execution_info.thread_id if runtime.execution_info else None
    return slug(f"video-{thread}") if thread else "video"
