"""A run that is killed and started again is, byte for byte, the run that was not: latents, bank, pictures, video."""

from __future__ import annotations

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

from memreel.benchmarks.kills import differing, lasting
from memreel.cli import main
from memreel.output.run_folder import RunFolder

PROMPTS = [
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Mia picks up the notebook and walks out.",
]
SETTINGS = [
    "chunks_per_prompt=3",
    "memory.frames_per_entity=1",
    "memory.slots=1",
    "memory.scenery_frames=0",
    "model.device=cpu",
]
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
    """A run that stopped after three of its six chunks; the word to stop is sometimes heard a chunk late."""
    out = tmp_path_factory.mktemp("stopped")
    status, _ = runs_of.make(out, chunks=3, signal=signal.SIGTERM)
    assert status == 143, runs_of.said.read_text()
    assert 3 <= len(latents_of(RunFolder(out / "film"))) < CHUNKS
    return RunFolder(out / "film")


@pytest.fixture
def half(stopped: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the stopped run, to be damaged."""
    shutil.copytree(stopped.path, tmp_path / "half" / "film")
    return RunFolder(tmp_path / "half" / "film")


def equal(folder: RunFolder, other: RunFolder) -> None:
    """Compare two runs, naming the files that differ."""
    assert differing(folder, other) == []
    assert folder.complete()


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
    """A few kills; `memreel.benchmarks.kills` strikes as often as one likes."""
    draw = random.Random(20)
    for _ in range(3):
        status, _ = runs_of.make(tmp_path, writes=draw.randint(6, 24))
        assert status in (-signal.SIGKILL, 0), runs_of.said.read_text()
        if status == 0:
            break
    else:
        assert runs_of.make(tmp_path)[0] == 0, runs_of.said.read_text()
    equal(RunFolder(tmp_path / "film"), whole[0])


def test_killed_while_the_video_is_completed(runs_of: Runs, whole: tuple[RunFolder, int], half: RunFolder) -> None:
    for file in ("video.mp4", "run.json", "report.html", "checksums"):
        assert runs_of.make(half.path.parent, file=file)[0] == -signal.SIGKILL, runs_of.said.read_text()
    assert runs_of.make(half.path.parent)[0] == 0, runs_of.said.read_text()
    equal(half, whole[0])


def test_killed_and_stopped_at_moments_by_the_clock(
    runs_of: Runs, whole: tuple[RunFolder, int], tmp_path: Path
) -> None:
    draw = random.Random(7)
    for strike in (signal.SIGKILL, signal.SIGINT):
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


def latents_of(folder: RunFolder) -> list[Path]:
    return sorted((folder.stream / "latents").iterdir())
