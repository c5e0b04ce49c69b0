"""``memreel batch``: several videos at a time on one model, each what it is alone; failures are passed over."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.graph.render import render
from memreel.output.run_folder import RunFolder
from memreel.script import Script

FILMS = {
    "one": ["Mia, a woman with red hair, walks into the library.", "Mia dances."],
    "two": ["Tom, a man with black hair, waits in the park.", "Rain falls.", "Tom leaves."],
    "three": ["Snow falls on a street."],
}
SHORT = ["--set", "chunks_per_prompt=3"]


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, prompts in FILMS.items():
        (folder / f"{name}.jsonl").write_text(json.dumps({"prompts": prompts}))
    return folder


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    videos = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"]
    return {video["id"]: video for video in videos}


def contents(folder: RunFolder) -> dict[str, bytes]:
    paths = [folder.video, folder.memory_bank, folder.llm_agent, *(folder.stream / "latents").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.usefixtures("small_model")
def test_videos_made_at_a_time_are_what_they_are_alone(
    scripts: Path, tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", str(scripts), "--out", str(runs), "--jobs", "3", "--json", *SHORT]) == 0
    assert {name: video["status"] for name, video in summary(capsys).items()} == dict.fromkeys(FILMS, "done")
    for name, prompts in FILMS.items():
        list(render(Script(name, tuple(prompts)), tmp_path / "alone", RunConfig(chunks_per_prompt=3)))
        assert contents(RunFolder(runs / name)) == contents(RunFolder(tmp_path / "alone" / name))


@pytest.mark.usefixtures("embedded_model")
def test_the_embedded_models_streams_do_not_disturb_each_other(scripts: Path, tmp_path: Path, runs: Path) -> None:
    (scripts / "two.jsonl").unlink()
    (scripts / "one.jsonl").write_text(json.dumps({"prompts": FILMS["one"][:1]}))
    assert main(["batch", str(scripts), "--out", str(runs), "-j", "2", *SHORT]) == 0
    for name in ("one", "three"):
        list(render(Script(name, tuple(FILMS[name][:1])), tmp_path / "alone", RunConfig(chunks_per_prompt=3)))
        assert contents(RunFolder(runs / name)) == contents(RunFolder(tmp_path / "alone" / name))


def test_a_failed_video_is_told_and_the_others_are_made_and_the_next_time_only_what_is_missing(
    scripts: Path, runs: Path, small_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (scripts / "broken.txt").write_text("")
    small_model.fail_at = 7
    command = ["batch", str(scripts), "--out", str(runs), "--jobs", "2", "--json", *SHORT]
    assert main(command) == 1
    seen = summary(capsys)
    assert {name: video["status"] for name, video in seen.items()} == {
        "one": "done",
        "two": "failed",
        "three": "done",
        "broken": "failed",
    }
    assert "cannot generate chunk 7" in seen["two"]["error"]
    before = {name: (runs / name / "events.jsonl").read_bytes() for name in ("one", "three")}
    assert sum(event["type"] == "chunk" for event in RunFolder(runs / "two").read_events()) == 7
    small_model.fail_at = None
    (scripts / "broken.txt").unlink()
    assert main(command) == 0
    assert {video["status"] for video in summary(capsys).values()} == {"done"}
    assert before == {name: (runs / name / "events.jsonl").read_bytes() for name in ("one", "three")}
    assert [e["index"] for e in RunFolder(runs / "two").read_events() if e["type"] == "chunk"] == list(range(9))


@pytest.mark.parametrize(("strike", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_every_video_at_its_next_chunk_and_the_same_command_goes_on(
    strike: signal.Signals,
    status: int,
    scripts: Path,
    tmp_path: Path,
    runs: Path,
    small_model: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, struck = small_model.open, []

    def opens(seed: int) -> Any:
        stream = opened(seed)
        generate = stream.generate

        def generates(memory: Any = ()) -> Any:
            if stream.index == 2 and not struck:
                struck.append(os.kill(os.getpid(), strike))
            return generate(memory)

        stream.generate = generates
        return stream

    monkeypatch.setattr(small_model, "open", opens)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    command = ["batch", str(scripts), "--out", str(runs), "--jobs", "2", "--json", *SHORT]
    assert main(command) == status
    seen = summary(capsys)
    assert {video["status"] for video in seen.values()} <= {"done", "interrupted"}
    assert seen["two"]["status"] == "interrupted", "it waits for its turn, or has nine chunks to make"
    for name, video in seen.items():
        assert RunFolder(runs / name).video.exists() == (video["status"] == "done")
    assert main(command) == 0
    assert {name: video["status"] for name, video in summary(capsys).items()} == dict.fromkeys(FILMS, "done")
    for name, prompts in FILMS.items():
        list(render(Script(name, tuple(prompts)), tmp_path / "alone", RunConfig(chunks_per_prompt=3)))
        assert contents(RunFolder(runs / name)) == contents(RunFolder(tmp_path / "alone" / name))


@pytest.mark.usefixtures("small_model")
def test_finished_runs_of_another_script_are_not_taken_for_this_ones(
    scripts: Path, runs: Path, capsys: pytest.CaptureFixture[str], settings: Callable[..., RunConfig]
) -> None:
    list(render(Script("one", ("Another.",)), runs, settings(chunks_per_prompt=3)))
    assert main(["batch", str(scripts / "one.jsonl"), "--out", str(runs), *SHORT]) == 1
    assert "of another script" in capsys.readouterr().err
