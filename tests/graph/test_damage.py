"""Damaged, lost and full: what cannot be made again is named by its file, everything else is as if nothing had been."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from memreel.cli import main
from memreel.errors import MemreelError, StoreError
from memreel.graph.history import fork_at
from memreel.graph.latents import latents_path
from memreel.graph.render import generate
from memreel.graph.stream import LiveStream
from memreel.output.run_folder import RunFolder
from memreel.tests.graph.stopped_run import CONFIG, PROMPTS, SCRIPT, equal, flip, full_for, go_on, stopped

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def half(small_model: Any, tmp_path: Path) -> RunFolder:
    """A run that stopped after four of its six chunks."""
    return stopped(tmp_path / "half")


@pytest.fixture
def whole(small_model: Any, tmp_path: Path) -> RunFolder:
    """The same run, uninterrupted."""
    return stopped(tmp_path / "whole", 6)


def test_lost_memory_frames_torn_lines_and_leftovers_are_made_good(
    half: RunFolder, whole: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = sorted((half.stream / "memory").iterdir())
    flip(tensors[0])
    for path in half.frames.iterdir():
        path.unlink()
    (half.frames / "p9_c9_f0.png").write_bytes(b"of a chunk that was lost")
    (half.frames / ".p9_c9_f1.png.part").write_bytes(b"half")
    with half.events.open("ab") as file:
        file.write(b'{"type": "chunk", "index": 4')
    assert go_on(half, capsys)[0] == 0
    equal(half, whole)


@pytest.mark.parametrize(("damage", "index"), [("flipped", 1), ("flipped", 3), ("cut", 3), ("gone", 3)])
def test_damaged_latents_are_named_and_nothing_is_made_of_them(
    damage: str, index: int, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = latents_path(half, index)
    if damage == "flipped":
        flip(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    status, said = go_on(half, capsys)
    assert (status, path.name in said, "Traceback" in said) == (1, True, False), said
    assert not half.video.exists()


@pytest.mark.parametrize("damage", ["gone", "overwritten", "flipped"])
def test_lost_checkpoints_are_named_and_the_chunks_left_alone(
    damage: str, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "flipped":
        with sqlite3.connect(half.checkpoints) as database:
            newest = "(SELECT max(checkpoint_id) FROM checkpoints)"
            [state] = database.execute(f"SELECT checkpoint FROM checkpoints WHERE checkpoint_id = {newest}").fetchone()
            at = len(state) // 2
            changed = state[:at] + bytes([state[at] ^ 8]) + state[at + 1 :]
            database.execute(f"UPDATE checkpoints SET checkpoint = ? WHERE checkpoint_id = {newest}", [changed])
        database.close()
    else:
        for path in half.path.glob("state.sqlite*"):
            path.unlink()
        if damage == "overwritten":
            half.checkpoints.write_bytes(b"not a database" * 400)
    status, said = go_on(half, capsys)
    assert (status, "state.sqlite" in said, "Traceback" in said) == (1, True, False), said
    assert latents_path(half, 3).is_file()
    assert not half.video.exists()


WRITERS = (
    "latents",
    ".m4s",
    "live.mp4",
    "live.m3u8",
    "stream/memory",
    "frames/",
    "events.jsonl",
    "video.mp4",
    "memory_bank",
    "llm_agent",
    "run.json",
    "report",
    "checksums",
)


def test_a_full_disk_names_the_file_and_the_run_goes_on_when_there_is_room(
    half: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every writer in turn finds the disk full; the database has a test of its own."""
    struck: set[str] = set()
    for kind in WRITERS:
        with monkeypatch.context() as patch:
            full_for(kind, struck, patch)
            with pytest.raises(StoreError, match="No space left on device"):
                list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
    assert struck == set(WRITERS)
    list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
    equal(half, whole)


def test_a_full_disk_for_the_checkpoints_names_the_database_and_the_run_goes_on_when_there_is_room(
    half: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself says that there is no room: right away, and after some states more."""
    with sqlite3.connect(half.checkpoints) as database:
        database.execute("VACUUM")
    database.close()
    real = sqlite3.connect
    for room in (0, 1, 2):

        def cramped(path: Any, room: int = room, **options: Any) -> sqlite3.Connection:
            connection = real(path, **options)
            [pages] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + room}")
            return connection

        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", cramped)
            with pytest.raises(StoreError, match=r"state\.sqlite: database or disk is full"):
                list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
        assert not half.video.exists()
    list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
    equal(half, whole)


def test_a_fork_on_a_full_disk_is_an_error_and_the_run_is_as_it_was(
    half: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full_for("film-at-1.2", set(), patch)
        with pytest.raises(MemreelError, match=r"film-at-1\.2.*No space left on device"):
            fork_at(half, 1, 2, ["Rain falls."], half.path.parent)
    list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
    equal(half, whole)


def test_a_push_on_a_full_disk_is_an_error_and_the_stream_is_as_it_was(
    small_model: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveStream(PROMPTS, runs, CONFIG) as stream:
        for chunk in stream:
            if chunk.event["index"] == 1:
                with monkeypatch.context() as patch:
                    full_for("inbox", set(), patch)
                    with pytest.raises(StoreError, match=r"inbox\.jsonl.*No space left on device"):
                        stream.push("Rain falls.")
                stream.push("Snow falls.")
                stream.end()
    told = [record["prompt"] for record in stream.folder.read_json(stream.folder.llm_agent)]
    assert told == [*PROMPTS, "Snow falls."]


def test_a_check_finds_whatever_is_not_as_it_was_written(
    half: RunFolder, whole: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (half, whole):
        assert main(["check", str(folder.path)]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out == "film: whole\nfilm: whole\n"
    ends = [whole.video, whole.memory_bank, whole.llm_agent, whole.run, whole.report, whole.film.playlist]
    goes_on = [latents_path(whole, 2), whole.film.piece(2), next((whole.stream / "memory").iterdir())]
    for path in [*ends, *goes_on, next(whole.frames.iterdir())]:
        before = path.read_bytes()
        flip(path)
        assert main(["check", str(whole.path.parent)]) == 1, path
        first, *lines = capsys.readouterr().out.splitlines()
        assert first == "film: damaged"
        assert len(lines) == 1, lines
        assert str(path) in lines[0]
        path.write_bytes(before)
    assert main(["check", str(whole.path)]) == 0


def test_a_changed_final_file_is_not_read_as_if_it_were_the_runs(
    whole: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    text = whole.memory_bank.read_text()
    whole.memory_bank.write_text(text.replace("red hair", "rad hair"))
    assert main(["show", str(whole.path)]) == 1
    assert "memory_bank.json is damaged" in capsys.readouterr().err
    whole.memory_bank.write_text(text)
    listed = whole.checksums.read_text()
    whole.report.unlink()
    assert main(["report", str(whole.path)]) == 0
    assert whole.checksums.read_text() == listed, "the same page again"


def test_other_programs_can_check_the_final_files(whole: RunFolder) -> None:
    asked = ["sha256sum", "--check", "--strict", "--quiet", whole.checksums.name]
    subprocess.run(asked, cwd=whole.path, check=True)
    flip(whole.video)
    assert subprocess.run(asked, cwd=whole.path, capture_output=True, check=False).returncode == 1
