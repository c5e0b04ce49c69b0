"""A run that is killed and started again is, byte for byte, the run that was not: latents, bank, pictures, video."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from langgraph.checkpoint.memory import InMemorySaver

from memreel.benchmarks.kills import differing, lasting
from memreel.cli import main
from memreel.configs import load_config
from memreel.errors import StoreError, UserError
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.graph.latents import latents_path
from memreel.graph.render import generate, render
from memreel.graph.session import open_session
from memreel.output.run_folder import RunFolder
from memreel.script import Script

PROMPTS = [
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Mia picks up the notebook and walks out.",
]
SETTINGS = ["chunks_per_prompt=3", "memory.frames_per_entity=1", "memory.slots=2", "model.device=cpu"]
CHUNKS = 6


class Runs:
    """Runs of one script in forked processes."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "film.jsonl"
        self.script.write_text(json.dumps({"prompts": PROMPTS}))
        self.said = folder / "said"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "LANGGRAPH_STRICT_MSGPACK": "true"}
        environment.pop("MEMREEL_LLM_MODEL", None)
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "forked_runs.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def arguments(self, out: Path, *more: str) -> list[str]:
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        return ["run", str(self.script), "--out", str(out), *settings, *more]

    def begin(self, out: Path, *more: str, **moment: Any) -> None:
        """Start the run; it is struck at the ``moment``."""
        order = {"arguments": self.arguments(out, *more), "out": str(self.said), **moment}
        if "chunks" in order:
            order["log"] = str(out / "film" / "events.jsonl")
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def end(self) -> tuple[int, int]:
        """Wait for the run; return its exit status and the number of its writes."""
        assert self._server.stdout is not None
        status, writes = json.loads(self._server.stdout.readline())
        return status, writes

    def make(self, out: Path, *more: str, **moment: Any) -> tuple[int, int]:
        self.begin(out, *more, **moment)
        return self.end()

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)


@pytest.fixture(scope="module")
def runs_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    runs = Runs(tmp_path_factory.mktemp("script"))
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def whole(runs_of: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, int]:
    """An uninterrupted run, and the number of its writes."""
    out = tmp_path_factory.mktemp("whole")
    status, writes = runs_of.make(out)
    assert status == 0, runs_of.said.read_text()
    return RunFolder(out / "film"), writes


@pytest.fixture(scope="module")
def stopped(runs_of: Runs, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that stopped after four of its six chunks; the word to stop is sometimes heard a chunk late."""
    for asked in (4, 3) * 5:
        out = tmp_path_factory.mktemp("stopped")
        status, _ = runs_of.make(out, chunks=asked, signal=signal.SIGTERM)
        assert status == 143, runs_of.said.read_text()
        folder = RunFolder(out / "film")
        if len(latents_of(folder)) == 4:
            break
    assert len(latents_of(folder)) == 4
    return folder


@pytest.fixture
def half(stopped: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the stopped run, to be damaged."""
    shutil.copytree(stopped.path, tmp_path / "half" / "film")
    return RunFolder(tmp_path / "half" / "film")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute in this process as the forked ones do: bits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def equal(folder: RunFolder, other: RunFolder) -> None:
    """Compare two runs, naming the files that differ."""
    assert differing(folder, other) == []
    assert folder.report.is_file()


def test_an_uninterrupted_run_has_everything_that_is_compared(whole: tuple[RunFolder, int]) -> None:
    folder, writes = whole
    files = lasting(folder)["files"]
    assert {"video.mp4", "memory_bank.json", "llm_agent.json"} <= files.keys()
    assert sum(name.startswith("stream/latents/") for name in files) == CHUNKS
    assert 0 < sum(name.startswith("frames/") for name in files) < 4, "frames were dropped too"
    assert writes > 30


def test_killed_again_and_again_while_it_writes_it_ends_as_if_nothing_had_been(
    runs_of: Runs, whole: tuple[RunFolder, int], tmp_path: Path
) -> None:
    draw = random.Random(20)
    for _ in range(6):
        status, _ = runs_of.make(tmp_path, writes=draw.randint(6, 24))
        assert status in (-signal.SIGKILL, 0), runs_of.said.read_text()
        if status == 0:
            break
    else:
        assert runs_of.make(tmp_path)[0] == 0, runs_of.said.read_text()
    equal(RunFolder(tmp_path / "film"), whole[0])


def test_killed_while_the_video_is_completed(runs_of: Runs, whole: tuple[RunFolder, int], half: RunFolder) -> None:
    """The last writes of a run: video, bank, reading, run.json, the log's end, the report."""
    for at in (10, 13):
        assert runs_of.make(half.path.parent, writes=at)[0] == -signal.SIGKILL, runs_of.said.read_text()
    assert runs_of.make(half.path.parent)[0] == 0, runs_of.said.read_text()
    equal(half, whole[0])


def test_killed_and_stopped_at_moments_by_the_clock(
    runs_of: Runs, whole: tuple[RunFolder, int], tmp_path: Path
) -> None:
    draw = random.Random(7)
    for strike in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        status, _ = runs_of.make(tmp_path, signal=strike, seconds=draw.uniform(1, 4))
        assert status in ({-9, 0} if strike == signal.SIGKILL else {130, 0}), runs_of.said.read_text()
        if status == 0:
            break
    else:
        assert runs_of.make(tmp_path)[0] == 0, runs_of.said.read_text()
    equal(RunFolder(tmp_path / "film"), whole[0])


def test_what_was_asked_to_stop_can_be_shown_and_has_no_video(stopped: RunFolder) -> None:
    assert not stopped.video.exists()
    assert main(["show", str(stopped.path)]) == 0
    assert list(stopped.read_events())[-1]["type"] == "done"


def test_lost_memory_frames_torn_lines_and_leftovers_are_made_good(
    runs_of: Runs, whole: tuple[RunFolder, int], half: RunFolder
) -> None:
    tensors = sorted((half.stream / "memory").iterdir())
    flip(tensors[0])
    for path in half.frames.iterdir():
        path.unlink()
    (half.frames / "p9_c9_f0.png").write_bytes(b"of a chunk that was lost")
    (half.frames / ".p9_c9_f1.png.part").write_bytes(b"half")
    with half.events.open("ab") as file:
        file.write(b'{"type": "chunk", "index": 4')
    assert runs_of.make(half.path.parent)[0] == 0, runs_of.said.read_text()
    equal(half, whole[0])


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def go_on(folder: RunFolder, capsys: pytest.CaptureFixture[str], runs_of: Runs, *more: str) -> tuple[int, str]:
    """Continue a run in this process; return its exit status and what it says."""
    capsys.readouterr()
    status = main(runs_of.arguments(folder.path.parent, *more))
    return status, capsys.readouterr().err


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("index", [0, 3])
def test_damaged_latents_are_named_and_nothing_is_made_of_them(
    damage: str, index: int, runs_of: Runs, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = latents_path(half, index)
    if damage == "flipped":
        flip(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    status, said = go_on(half, capsys, runs_of)
    assert (status, path.name in said, "Traceback" in said) == (1, True, False), said
    assert not half.video.exists()


@pytest.mark.parametrize("damage", ["gone", "overwritten"])
def test_lost_checkpoints_are_named_and_the_chunks_left_alone(
    damage: str, runs_of: Runs, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in half.path.glob("state.sqlite*"):
        path.unlink()
    if damage == "overwritten":
        half.checkpoints.write_bytes(b"not a database" * 400)
    status, said = go_on(half, capsys, runs_of)
    assert (status, "state.sqlite" in said) == (1, True), said
    assert latents_path(half, 3).is_file()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--seed", "3"], "with seed=0 instead of 3"),
        (["--set", "memory.slots=1"], "with memory.slots=2 instead of 1"),
        (["--set", "chunks_per_prompt=5"], "with chunks_per_prompt=3 instead of 5"),
    ],
)
def test_a_run_of_another_seed_or_configuration_is_refused_by_the_field_that_differs(
    more: list[str], says: str, runs_of: Runs, stopped: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lasting(stopped)
    status, said = go_on(stopped, capsys, runs_of, *more)
    assert (status, len(said.splitlines())) == (2, 1), said
    assert says in said
    assert "--force" in said
    assert lasting(stopped) == before


def test_a_run_of_another_script_is_refused(stopped: RunFolder) -> None:
    config = load_config("sketch", SETTINGS)
    for prompts, says in (
        ((PROMPTS[0], "Rain."), "its prompt 2 is 'Mia picks"),
        (PROMPTS[:1], "2 prompts instead of 1"),
    ):
        with pytest.raises(UserError, match=says):
            next(render(Script("film", tuple(prompts)), stopped.path.parent, config, resume=True))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("weights", "0123", "of other weights, exchanged since"),
        ("threads", 7, "made with 7 threads, not 1 (set OMP_NUM_THREADS=7)"),
        ("device", "cuda", "made on cuda, not cpu (set model.device)"),
    ],
)
def test_other_weights_threads_or_devices_are_noticed(
    field: str,
    value: Any,
    says: str,
    runs_of: Runs,
    half: RunFolder,
    one_thread: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *rest = half.events.read_bytes().splitlines(keepends=True)
    made = json.loads(first)
    assert made["made_with"]["threads"] == 1
    made["made_with"][field] = value
    half.events.write_bytes(b"".join([json.dumps(made).encode() + b"\n", *rest]))
    status, said = go_on(half, capsys, runs_of)
    assert (status, says in said, len(latents_of(half))) == (2, True, 4), said


def latents_of(folder: RunFolder) -> list[Path]:
    return sorted((folder.stream / "latents").iterdir())


def test_a_full_disk_names_the_file_and_the_run_goes_on_when_there_is_room(
    whole: tuple[RunFolder, int], half: RunFolder, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every writer in turn finds the disk full: latents, pieces, live video, memory, log, final files, report."""
    script, config = Script("film", tuple(PROMPTS)), load_config("sketch", SETTINGS)
    real = Path.open
    struck = set()

    def full(kind: str) -> Any:
        def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if kind in str(path) and set(mode) & set("wax+"):
                struck.add(kind)
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, mode, *rest, **more)

        return opened

    writers = (
        "latents",
        ".m4s",
        "live.mp4",
        "stream/memory",
        "frames/",
        "events.jsonl",
        "video.mp4",
        "memory_bank",
        "report",
    )
    for kind in writers:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full(kind))
            with pytest.raises(StoreError, match="No space left on device"):
                list(generate(script, half.path.parent, config, resume=True))
        assert kind in struck
    list(generate(script, half.path.parent, config, resume=True))
    equal(half, whole[0])


def test_force_starts_over(half: RunFolder, one_thread: None) -> None:
    config = load_config("sketch", [*SETTINGS, "seed=3"])
    chunks = generate(Script("film", tuple(PROMPTS)), half.path.parent, config)
    assert next(chunks).event["index"] == 0
    chunks.close()  # type: ignore[attr-defined]
    assert [path.name for path in (half.stream / "latents").iterdir()] == ["000000.safetensors"]


def test_python_goes_on_with_the_chunks_that_are_missing(
    whole: tuple[RunFolder, int], half: RunFolder, one_thread: None
) -> None:
    script, config = Script("film", tuple(PROMPTS)), load_config("sketch", SETTINGS)
    made = list(generate(script, half.path.parent, config, resume=True))
    assert made[-1].event["index"] == CHUNKS - 1
    assert 1 <= len(made) <= 2
    equal(half, whole[0])
    half.report.unlink()
    assert list(generate(script, half.path.parent, config, resume=True)) == []
    assert half.report.is_file()


def test_a_second_process_is_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "film")
    hold = "import sys, time; from pathlib import Path; from memreel.output.run_folder import RunFolder\n"
    hold += "held = RunFolder(Path(sys.argv[1])).hold(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(folder.path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process"):
            next(render(Script("film", tuple(PROMPTS)), tmp_path, load_config("sketch", SETTINGS), resume=True))
        other.kill()
    folder.hold().release()


def test_a_graph_of_ones_own_goes_on_after_a_restart(
    whole: tuple[RunFolder, int], tmp_path: Path, one_thread: None
) -> None:
    graph = build_graph(load_config("sketch", SETTINGS), InMemorySaver(), interrupt_before=["update_memory"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(tmp_path))
    graph.invoke({"prompts": PROMPTS[:1], "video_id": "film"}, thread, context=context)
    while graph.get_state(thread).next:
        if session := open_session(tmp_path / "film"):  # what a restart leaves of it
            session.writer.abort()
            session._release()
        graph.invoke(None, thread, context=context)
    made = RunFolder(tmp_path / "film")
    assert [event["index"] for event in made.read_events() if event["type"] == "chunk"] == [0, 1, 2]
    for index in range(3):
        assert latents_path(made, index).read_bytes() == latents_path(whole[0], index).read_bytes()


def test_a_state_of_a_run_that_was_replaced_is_refused(half: RunFolder, tmp_path: Path) -> None:
    graph = build_graph(load_config("sketch", SETTINGS), InMemorySaver(), interrupt_before=["parse_prompt"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(tmp_path / "other"))
    graph.invoke({"prompts": PROMPTS, "video_id": "film"}, thread, context=context)
    session = open_session(tmp_path / "other" / "film")
    assert session is not None
    session.abort("stopped")
    shutil.rmtree(tmp_path / "other" / "film")
    shutil.copytree(half.path, tmp_path / "other" / "film")
    before = half.events.read_bytes()
    with pytest.raises(StoreError, match="another run has started"):
        graph.invoke(None, thread, context=context)
    assert (tmp_path / "other" / "film" / "events.jsonl").read_bytes() == before
