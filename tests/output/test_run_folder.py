"""The run folder: whole files or none, a log that survives a kill, and nobody else's files touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from memreel.errors import StoreError, UserError
from memreel.output.run_folder import RunFolder, require_writable, run_folders


def test_a_new_folder_is_empty_and_known_as_a_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "video")
    assert folder.exists()
    assert list(folder.read_events()) == []
    assert not folder.finished()
    assert RunFolder.open(folder.path).path == folder.path


def test_creating_again_removes_the_earlier_run_and_keeps_foreign_files(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.write_json(folder.memory_bank, {"old": True})
    folder.append_event({"type": "chunk"})
    folder.video.write_bytes(b"old")
    (folder.path / "state.sqlite-wal").write_bytes(b"old")
    (folder.frames / "p1_c1_f0.png").write_bytes(b"old")
    (folder.path / "notes.txt").write_text("mine")
    RunFolder.create(folder.path)
    assert sorted(path.name for path in folder.path.iterdir()) == ["events.jsonl", "frames", "notes.txt", "stream"]
    assert list(folder.frames.iterdir()) == []
    assert list(folder.read_events()) == []


def test_a_folder_that_is_no_run_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"holiday")
    with pytest.raises(UserError, match="no run of memreel's; choose another --out"):
        RunFolder.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_json_is_replaced_whole_and_stays_as_it_was_when_the_new_value_fails(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.write_json(folder.run, {"seed": 1, "name": "Zoë"})
    with pytest.raises(TypeError):
        folder.write_json(folder.run, {"seed": object()})
    assert folder.read_json(folder.run) == {"seed": 1, "name": "Zoë"}
    assert [path.name for path in folder.path.glob(".*")] == []


def test_a_full_disk_is_a_store_error_that_names_the_file(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.events.unlink()
    folder.events.symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"cannot write .*events\.jsonl: No space left"):
        folder.append_event({"type": "chunk"})


def test_events_come_back_in_order_and_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    for index in range(3):
        folder.append_event({"type": "chunk", "index": index, "text": "line\nbreak"})
    with folder.events.open("ab") as file:
        file.write(b'{"type": "chu')
    assert [event["index"] for event in folder.read_events()] == [0, 1, 2]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.events.write_bytes(b'{"type": "run"}\n{"type": \n{"type": "done"}\n')
    with pytest.raises(StoreError, match=r"events\.jsonl, line 2 is damaged"):
        list(folder.read_events())


def test_a_damaged_json_file_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.memory_bank.write_text('{"cut')
    with pytest.raises(StoreError, match=r"memory_bank\.json is damaged"):
        folder.read_json(folder.memory_bank)


def test_only_a_run_that_went_to_its_end_is_finished(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.video.write_bytes(b"...")
    folder.append_event({"type": "done", "status": "stopped"})
    assert not folder.finished()
    folder.append_event({"type": "done", "status": "done"})
    assert folder.finished()
    folder.video.unlink()
    assert not folder.finished()


def test_runs_are_found_by_their_own_folder_and_by_the_parent(tmp_path: Path) -> None:
    for name in ("b", "a"):
        RunFolder.create(tmp_path / name)
    (tmp_path / "other").mkdir()
    assert [folder.path.name for folder in run_folders(tmp_path)] == ["a", "b"]
    assert [folder.path.name for folder in run_folders(tmp_path / "a")] == ["a"]
    for nothing in (tmp_path / "other", tmp_path / "missing"):
        with pytest.raises(UserError, match="no run"):
            run_folders(nothing)
    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.open(tmp_path / "other")


def test_a_path_through_a_file_is_not_writable_and_nothing_is_made_by_asking(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file is not a folder; choose another --out"):
        require_writable(tmp_path / "file" / "deep" / "out")
    require_writable(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
