"""The errors memreel raises, by whose turn it is to act.

One root, `MemreelError`, and three kinds: `UserError` (the input must change), `ModelError` (a video, chat or embedding
model failed after its retries) and `StoreError` (the run folder cannot be read or written). Every message says which
thing, where, and what to do next; the command line prints a `UserError` in one line, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MemreelError(RuntimeError):
    """Root of everything memreel raises on purpose.

    A `RuntimeError`, because LangGraph's server shows the messages of Python's own kinds of error only.
    """

    exit_status = 1


class UserError(MemreelError):
    """The user's script, option, file or weights are wrong; the message names the place and the cure."""

    exit_status = 2


class ModelError(MemreelError):
    """A video, chat or embedding model failed, after its retries."""


class StoreError(MemreelError):
    """The run folder, or a file in it, cannot be read or written."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
