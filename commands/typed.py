"""Prompts that are typed while a live video grows: on a terminal below a display that moves, else line by line.

A line is the next prompt; ``!LINE`` takes effect at the next chunk; ``/show`` says where the video stands; ``/end``, as
does the end of the input, lets the stream end. This module knows neither how videos are made nor what is displayed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from contextvars import copy_context
from typing import TYPE_CHECKING

from memreel.commands.terminal import say
from memreel.errors import MemreelError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from rich.console import RenderableType

    from memreel.graph.stream import LiveStream

HELP = (
    "A line is the next prompt; !LINE takes effect at the next chunk; /show says where the video stands; /end ends it."
)
Show = Callable[[], "RenderableType"]
"""Gives the display as it is now."""


@contextmanager
def typed_prompts(stream: LiveStream, show: Show) -> Iterator[None]:
    """Give ``stream`` what is typed while the block runs, which prints to stderr alone."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        threading.Thread(target=_listen, args=(stream, show), name="prompts", daemon=True).start()
        yield
        return
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.output import create_output
    from prompt_toolkit.patch_stdout import StdoutProxy

    with create_app_session(output=create_output(stdout=sys.stderr)), StdoutProxy() as above, redirect_stderr(above):
        terminal = Terminal(stream, show)
        try:
            yield
        finally:
            terminal.close()


class Terminal:
    """The line that is typed and, below it, the display, in a thread of their own."""

    def __init__(self, stream: LiveStream, show: Show) -> None:
        """Begin to read."""
        self._stream, self._show = stream, show
        self._closed = False
        self._session = self._prepare()
        self._thread = threading.Thread(target=copy_context().run, args=(self._read,), name="prompts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; the terminal is as it was."""
        self._closed = True
        app = self._session.app
        while self._thread.is_alive():
            if app.is_running and app.loop is not None:
                app.loop.call_soon_threadsafe(self._leave)
            self._thread.join(0.1)

    def _prepare(self) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.formatted_text import ANSI
        from prompt_toolkit.styles import Style

        return PromptSession(
            "prompt: ",
            bottom_toolbar=lambda: ANSI(self._display()),
            refresh_interval=0.25,
            style=Style.from_dict({"bottom-toolbar": "noreverse"}),
        )

    def _display(self) -> str:
        from rich.console import Console

        columns = self._session.app.output.get_size().columns
        page = Console(file=io.StringIO(), force_terminal=True, width=columns, legacy_windows=False)
        with page.capture() as text:
            page.print(self._show())
        return text.get().rstrip("\n")

    def _leave(self) -> None:
        if self._session.app.is_running:
            self._session.app.exit(exception=EOFError())

    def _read(self) -> None:
        while not self._closed:
            try:
                line = self._session.prompt(handle_sigint=False)
            except KeyboardInterrupt:  # a key while a line is typed, where other commands get the signal
                os.kill(os.getpid(), signal.SIGINT)
            except EOFError:
                break
            else:
                if not _take(line, self._stream, self._show):
                    return
        if not self._closed:
            self._stream.end()


def _listen(stream: LiveStream, show: Show) -> None:
    """Take what comes from a pipe, or is typed without a display."""
    for line in sys.stdin:
        if not _take(line, stream, show):
            return
    stream.end()


def _take(line: str, stream: LiveStream, show: Show) -> bool:
    """Do what a line says; tell whether there is to be another."""
    text = line.strip()
    try:
        if text == "/end":
            stream.end()
            return False
        if text == "/show":
            from memreel.commands.terminal import console

            console(stderr=True).print(show())
        elif text:
            stream.push(text.removeprefix("!"), "now" if text.startswith("!") else "next")
    except MemreelError as error:
        say(f"memreel: {error}")
    return True
