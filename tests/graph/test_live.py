"""Live streams: waiting instead of ending, prompts from other threads and processes, and what a kill leaves of them."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import memreel
from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.graph.inbox import end, lines_after, push
from memreel.graph.session import open_session
from memreel.graph.stream import LiveStream
from memreel.output.run_folder import RunFolder
from memreel.output.video import read_pictures

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."
RAIN = "Rain falls on the empty park."

Settings = Callable[..., RunConfig]


def shown(folder: RunFolder) -> list[tuple[str, int]]:
    """Return each prompt with the number of its chunks."""
    events = list(folder.read_events())
    return [
        (e["prompt"], sum(c["type"] == "chunk" and c["prompt_id"] == e["prompt_id"] for c in events))
        for e in events
        if e["type"] == "prompt"
    ]


@pytest.mark.usefixtures("small_model")
def test_it_waits_with_nothing_left_and_goes_on_with_what_another_thread_pushes(settings: Settings, runs: Path) -> None:
    stream = memreel.LiveStream([MIA], runs, settings())
    waited = 0
    seen = []
    for rendered in stream.events():
        if rendered.event["type"] == "waiting":
            waited += 1
            assert rendered.event["cast"][:1] == ["Mia"]
            if waited == 1:
                threading.Timer(0.1, stream.push, [TOM]).start()
            elif len(seen) == 8:
                stream.end()
        if rendered.event["type"] == "chunk":
            seen.append(rendered.event)
    assert waited >= 2
    assert shown(stream.folder) == [(MIA, 4), (TOM, 4)]
    assert stream.folder.finished()
    assert len(read_pictures(stream.folder.video, range(200))) == 96
    [first] = [event for event in seen if "pushed" in event]
    assert (first["index"], first["pushed"]["chunks"]) == (4, 0)
    assert first["pushed"]["seconds"] >= 0
    assert "waiting" not in stream.folder.events.read_text()


@pytest.mark.usefixtures("small_model")
def test_now_takes_effect_at_the_next_chunk_and_next_after_what_waits(settings: Settings, runs: Path) -> None:
    stream = LiveStream([MIA, TOM], runs, settings())
    for chunk in stream:
        if chunk.event["index"] == 1:
            stream.push("Snow falls.", "next")
            stream.push(RAIN, "now")
            stream.end()
    # Pushed between two steps of the graph: the chunk that was next then is still made.
    assert shown(stream.folder) == [(MIA, 3), (RAIN, 4), (TOM, 4), ("Snow falls.", 4)]
    latency = [e["pushed"]["chunks"] for e in stream.folder.read_events() if "pushed" in e]
    assert latency == [1, 9]


@pytest.mark.usefixtures("small_model")
def test_what_is_pushed_before_the_first_chunk_is_not_lost(settings: Settings, runs: Path) -> None:
    stream = LiveStream((), runs, settings(chunks_per_prompt=1))
    stream.push(MIA)
    stream.push(TOM)
    stream.end()
    assert [chunk.event["index"] for chunk in stream] == [0, 1]
    assert shown(stream.folder) == [(MIA, 1), (TOM, 1)]


@pytest.mark.usefixtures("small_model")
def test_a_stopped_stream_goes_on_and_takes_what_came_meanwhile_once(settings: Settings, runs: Path) -> None:
    with LiveStream([MIA], runs, settings()) as stream:
        for chunk in stream:
            if chunk.event["index"] == 1:
                stream.push(TOM)
            if chunk.event["index"] == 5:
                break
    assert open_session(stream.folder.path) is None
    assert not stream.folder.video.exists()
    assert len(read_pictures(stream.folder.film.growing, range(200))) == 72
    push(stream.folder, RAIN)
    end(stream.folder)
    again = LiveStream([MIA], runs, settings(), resume=True)
    assert [chunk.event["index"] for chunk in again] == list(range(6, 12))
    assert shown(stream.folder) == [(MIA, 4), (TOM, 4), (RAIN, 4)]


@pytest.mark.usefixtures("small_model")
def test_a_stream_gives_what_a_script_of_the_same_prompts_gives(settings: Settings, runs: Path) -> None:
    stream = LiveStream([MIA], runs, settings())
    for chunk in stream:
        if chunk.event["index"] == 2:
            stream.push(TOM)
            stream.end()
    list(memreel.generate(memreel.script.Script("script", (MIA, TOM)), runs, settings()))
    script = RunFolder(runs / "script")
    for name in ("memory_bank", "llm_agent", "video"):
        assert getattr(script, name).read_bytes() == getattr(stream.folder, name).read_bytes()


@pytest.mark.usefixtures("small_model")
def test_another_process_can_push(settings: Settings, runs: Path) -> None:
    stream = LiveStream([MIA], runs, settings(chunks_per_prompt=2))
    pushed = False
    for rendered in stream.events():
        if rendered.event["type"] == "waiting" and not pushed:
            pushed = True
            command = [sys.executable, "-m", "memreel.cli", "push", str(stream.folder.path), TOM, "--end"]
            subprocess.run(command, check=True, timeout=60)
    assert shown(stream.folder) == [(MIA, 2), (TOM, 2)]


@pytest.mark.usefixtures("small_model")
def test_a_graph_of_ones_own_is_interrupted_and_resumed_with_the_prompt(settings: Settings, runs: Path) -> None:
    graph = build_graph(settings(chunks_per_prompt=2), InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    waiting = graph.invoke({"prompts": [], "video_id": "film", "live": True}, thread, context=context)
    assert waiting["__interrupt__"][0].value["index"] == 0
    graph.invoke(Command(resume=MIA), thread, context=context)
    graph.invoke(Command(resume={"prompt": TOM}), thread, context=context)
    assert graph.get_state(thread).next == ("await_prompt",)
    final = graph.invoke(Command(resume={"end": True}), thread, context=context)
    assert Path(final["video"]).is_file()
    assert shown(RunFolder(runs / "film")) == [(MIA, 2), (TOM, 2)]


@pytest.mark.usefixtures("small_model")
def test_ending_before_the_first_prompt_is_said_to_be_nothing(settings: Settings, runs: Path) -> None:
    stream = LiveStream((), runs, settings())
    stream.end()
    with pytest.raises(UserError, match="nothing was made"):
        list(stream)


def test_a_prompt_that_cannot_be_is_refused_where_it_is_pushed(settings: Settings, runs: Path) -> None:
    stream = LiveStream([MIA], runs, settings())
    with pytest.raises(UserError, match="empty"):
        stream.push("  ")
    folder = RunFolder.create(runs / "x")
    with pytest.raises(UserError, match="'next' or 'now'"):
        push(folder, MIA, "soon")  # type: ignore[arg-type]
    assert lines_after(folder, 0) == []


@pytest.mark.usefixtures("small_model")
def test_a_push_that_nobody_will_ever_take_is_refused(
    settings: Settings, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list(memreel.generate(memreel.script.Script("script", (MIA,)), runs, settings(chunks_per_prompt=1)))
    stream = LiveStream([MIA], runs, settings(chunks_per_prompt=1))
    stream.end()
    list(stream)
    RunFolder.create(runs / "begun")
    for name, says in (("script", "has a script"), ("live", "has ended"), ("begun", "again in a moment")):
        capsys.readouterr()
        assert main(["push", str(runs / name), TOM]) == 2
        assert says in capsys.readouterr().err
        assert not RunFolder(runs / name).inbox.exists() or TOM not in RunFolder(runs / name).inbox.read_text()
    with pytest.raises(UserError, match="has ended"):
        stream.push(TOM)


@pytest.mark.usefixtures("small_model")
def test_a_push_says_when_nobody_makes_the_stream_just_now(
    settings: Settings, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveStream([MIA], runs, settings()) as stream:
        chunks = iter(stream)  # dropping it would stop the run
        next(chunks)
        assert main(["push", str(stream.folder.path), TOM]) == 0
        assert capsys.readouterr().err == ""
    assert main(["push", str(stream.folder.path), RAIN]) == 0
    assert "memreel resume" in capsys.readouterr().err
    assert [line["prompt"] for line in lines_after(stream.folder, 0)] == [TOM, RAIN]


@pytest.mark.usefixtures("small_model")
def test_the_command_makes_a_video_of_what_is_typed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{MIA}\n\n{TOM}\n/show\n/end\nnever read\n"))
    command = ["live", "--out", str(runs), "--id", "film", "--set", "chunks_per_prompt=2", "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["videos"][0]["status"] == "done"
    assert "cast Mia #1" in captured.err
    assert shown(RunFolder(runs / "film")) == [(MIA, 2), (TOM, 2)]
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err


class Terminal:
    """A command in a child process whose terminal is this test."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            status = 70
            try:
                sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
                status = main(arguments)
            finally:
                os._exit(status)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._seen = ""

    def shows(self, text: str, seconds: float = 60) -> None:
        """Wait until ``text`` is shown, after what was waited for before; blanks are not drawn, but stepped over."""
        text, until = text.replace(" ", ""), time.monotonic() + seconds
        while text not in self._seen:
            assert time.monotonic() < until, f"no {text!r} in {self._seen!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                said = os.read(self._terminal, 65536).decode(errors="replace")
                if "\x1b[6n" in said:  # it asks where the cursor is
                    self.type("\x1b[1;1R")
                self._seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s", "", said)
        self._seen = self._seen[self._seen.index(text) + len(text) :]

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def status(self) -> int:
        with contextlib.suppress(OSError):  # the child has closed it
            while os.read(self._terminal, 65536):
                pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.usefixtures("small_model")
def test_on_a_terminal_prompts_are_typed_below_a_display_that_moves(runs: Path) -> None:
    command = ["live", "--out", str(runs), "--id", "film", "--set", "chunks_per_prompt=2"]
    terminal = Terminal(*command)
    terminal.shows("loading the model")
    terminal.type(f"{MIA}\r")
    terminal.shows("cast Mia #1")  # the line above
    terminal.shows("2/? chunks")  # the display below
    terminal.shows("● Mia #1")
    terminal.shows("waiting for a prompt")
    terminal.type("\x03")
    terminal.shows("stopping after this chunk")
    assert terminal.status() == 130
    terminal = Terminal("resume", str(runs / "film"))
    terminal.shows("waiting for a prompt")
    terminal.type(f"{TOM}\r")
    terminal.shows("prompt 2: cast")
    terminal.shows("prompt 2: done")
    terminal.shows("4/? chunks")
    terminal.type("\x04")
    assert terminal.status() == 0
    assert shown(RunFolder(runs / "film")) == [(MIA, 2), (TOM, 2)]
    assert RunFolder(runs / "film").complete()
