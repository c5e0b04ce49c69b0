"""Which session a state belongs to: the open one, one opened again, or none, and then why.

A state outlives its process, a stream does not. This module is where the two are brought together: a stream is restored
from what the run folder keeps. It knows neither LangGraph nor what the session is wanted for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import memreel.model
from memreel.agent.reading import prompt_reader
from memreel.configs.schema import RunConfig
from memreel.errors import StoreError
from memreel.graph.same import made_by, require_same
from memreel.graph.session import Session, open_session
from memreel.graph.state import MemreelState
from memreel.output.run_folder import RunFolder


def live_session(path: Path, state: MemreelState, config: Callable[[], RunConfig]) -> Session:
    """Return this process's session for ``state``, its stream standing where the state says.

    ``config`` tells the run's configuration, should a session have to be opened again.

    Raises:
        StoreError: there is none and none can be restored, or another run has taken the folder over.
    """
    session = open_session(path)
    if session is None:
        return restore_session(path, state, config())
    if session.id != state["session_id"]:
        raise StoreError(f"{path}: another run has started in this folder; give each run a video_id of its own")
    if session.stream.index != state["index"]:  # a rewind on the spot; the graph forks instead
        session.abort("rewound")
        return restore_session(path, state, config())
    return session


def restore_session(path: Path, state: MemreelState, config: RunConfig) -> Session:
    """Open a session again for a state that this process has no stream for: after a restart, a failure, a kill.

    What the run folder holds is all that it takes; what comes next is bit for bit what would have come.

    Raises:
        StoreError: the run folder is gone, belongs to another run, or has lost what the state refers to.
        UserError: the folder's run has another configuration, or another process is making it.
    """
    folder = RunFolder(path)
    if not folder.exists():
        raise StoreError(f"{path}: the run folder is gone; start the video anew")
    made = made_by(folder)
    if made is None or made["session_id"] != state["session_id"]:
        raise StoreError(f"{path}: another run has started in this folder; give each run a video_id of its own")
    reader, model = prompt_reader(config.agent), memreel.model.load(config.model)
    require_same(folder, config, reader=reader.name, model=model)
    session = Session(folder, config, model, reader, anew=False)
    session.id = state["session_id"]
    with session:
        session.restore(state)
    session.register()
    return session
