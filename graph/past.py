"""The states a video has been in, one a finished chunk, as files in the run folder: what a rewind goes back to.

Kept where the one who steers may go back (the director, the tools); a run that only goes forward needs none of it, its
checkpoints are LangGraph's. A file holds the state after so many chunks; that of a chunk made again replaces it.
"""

from __future__ import annotations

import json
from pathlib import Path

from memreel.errors import StoreError
from memreel.graph.state import MemreelState
from memreel.output.durable import write_whole
from memreel.output.run_folder import RunFolder

STEERING = ("director", "video")
"""Keys that belong to the one who steers, not to the moment gone back to."""


def keep_state(folder: RunFolder, state: MemreelState) -> None:
    """Write down the state after its newest chunk.

    Raises:
        StoreError: the file cannot be written.
    """
    kept = {key: value for key, value in state.items() if key not in STEERING}
    path = _path(folder, state["index"])
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(kept, ensure_ascii=False).encode())


def past_state(folder: RunFolder, index: int) -> MemreelState:
    """Return the state after ``index`` chunks.

    Raises:
        StoreError: it was not kept, or its file is damaged.
    """
    path = _path(folder, index)
    try:
        state: MemreelState = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot read the state after {index} chunks ({type(error).__name__})") from error
    if state["index"] != index:
        raise StoreError(f"{path} is damaged: it holds the state after {state['index']} chunks")
    return state


def _path(folder: RunFolder, index: int) -> Path:
    return folder.stream / "states" / f"{index:06d}.json"
