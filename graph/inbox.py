"""The inbox of a live stream: prompts that arrive while it runs, from any thread or process, kept until they are taken.

``inbox.jsonl`` in the run folder grows by a line a push; the state counts the lines that it has taken in, so a prompt
is neither lost nor taken twice, whatever is killed when. This module knows the state and the file, not the graph.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

from memreel.errors import StoreError, UserError
from memreel.graph.same import made_by
from memreel.graph.session import open_session
from memreel.graph.state import MemreelState
from memreel.output.run_folder import RunFolder
from memreel.script import check_prompts

When = Literal["next", "now"]
"""``next``: after the prompts that are waiting; ``now``: from the next chunk on, before them."""


def push(folder: RunFolder, prompt: str, when: When = "next") -> None:
    """Leave a prompt for the stream in ``folder``.

    Raises:
        UserError: the prompt is empty, ``when`` is unknown, or there is no stream that will ever take it.
        StoreError: it could not be written.
    """
    if when not in get_args(When):
        raise UserError(f"push: when={when!r}; give 'next' or 'now'")
    [text] = check_prompts([prompt], "push")
    session = open_session(folder.path)
    if session is None:
        require_live(folder)
    made = session.stream.index if session is not None else _chunks(folder)
    _append(folder, {"prompt": text, "when": when, "at": time.time(), "index": made})


def end(folder: RunFolder) -> None:
    """Let the stream in ``folder`` end once it has nothing left to show.

    Raises:
        StoreError: it could not be written.
    """
    _append(folder, {"end": True})


def require_live(folder: RunFolder) -> None:
    """Check that the run in ``folder`` waits for prompts, now or when somebody goes on with it.

    Raises:
        UserError: it does not.
    """
    made = made_by(folder)
    if made is None:
        raise UserError(f"{folder.path} has only just been begun; push again in a moment")
    if not made["live"]:
        raise UserError(f"{folder.path} has a script and takes no prompts: fork it, or begin a stream by memreel live")
    if folder.finished():
        raise UserError(f"the stream in {folder.path} has ended: fork it, or begin another by memreel live")


def inbox_size(folder: RunFolder) -> int:
    """Return the inbox's bytes; a glance that costs nothing however much has ever arrived."""
    return folder.inbox.stat().st_size if folder.inbox.exists() else 0


def lines_after(folder: RunFolder, taken: int) -> list[dict[str, Any]]:
    """Return what has arrived since ``taken`` lines were taken; a line that is still being written comes later.

    Raises:
        StoreError: the inbox cannot be read, or a line of it is damaged.
    """
    try:
        lines = folder.inbox.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read {folder.inbox}: {error.strerror or error}") from error
    try:
        return [json.loads(line) for line in lines[taken:]]
    except ValueError as error:
        raise StoreError(f"{folder.inbox} is damaged: {error}; remove the line and go on") from error


def take(state: MemreelState, folder: RunFolder) -> MemreelState:
    """Return the update by which a live stream takes in what has arrived; nothing if nothing has.

    Raises:
        StoreError: the inbox cannot be read.
    """
    lines = lines_after(folder, state["taken"])
    return {**taken_in(state, lines), "taken": state["taken"] + len(lines)} if lines else {}


def taken_in(state: MemreelState, lines: Sequence[dict[str, Any]]) -> MemreelState:
    """Return the update by which ``lines`` become part of the script; a prompt for now ends the current one."""
    prompts, pushed, earlier = list(state["prompts"]), dict(state["pushed"]), state["earlier"]
    begun = state["prompt_id"] - earlier
    update: MemreelState = {}
    urgent = 0
    for line in lines:
        if line.get("end"):
            update["live"] = False
            continue
        place = len(prompts)
        if line["when"] == "now":
            place, urgent = begun + urgent, urgent + 1
            pushed = {str(int(key) + (int(key) > earlier + place)): value for key, value in pushed.items()}
            update["chunks"] = state["chunk_id"]
        prompts.insert(place, line["prompt"])
        pushed[str(earlier + place + 1)] = {"at": line["at"], "index": line["index"]}
    return {**update, "prompts": prompts, "pushed": pushed}


def answered(state: MemreelState, answer: object) -> MemreelState:
    """Return the update for the answer to a stream that waits: a prompt, or ``{"prompt": …}``, or ``{"end": true}``.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(answer, dict) and answer.get("end"):
        return taken_in(state, [{"end": True}])
    prompt = answer.get("prompt") if isinstance(answer, dict) else answer
    [text] = check_prompts([cast(str, prompt)], "answer")
    return taken_in(state, [{"prompt": text, "when": "next", "at": time.time(), "index": state["index"]}])


def _append(folder: RunFolder, line: dict[str, Any]) -> None:
    try:
        with folder.inbox.open("ab") as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"cannot write {folder.inbox}: {error.strerror or error}") from error


def _chunks(folder: RunFolder) -> int:
    return sum(event.get("type") == "chunk" for event in folder.read_events())
