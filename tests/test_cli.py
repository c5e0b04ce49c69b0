"""The command line: what a user types, what comes back, and which exit status; nothing half-written for bad input."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import pytest

from memreel.cli import main
from memreel.output.events import ChunkEvent, DoneEvent, PromptEvent, RunEvent
from memreel.output.run_folder import RunFolder

SHORT = ["--set", "chunks_per_prompt=4"]
PROMPTS = [
    "Mia, a young woman with red hair and a blue sweater, walks into a quiet library.",
    "Noah, a man with black hair, reads alone.",
    "Mia walks back into the library.",
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "library.jsonl"
    path.write_text(json.dumps({"prompts": PROMPTS}) + "\n")
    return path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that was written to stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert "Traceback" not in line
    return line


def memreel(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memreel.cli", *arguments], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.usefixtures("small_model")
class TestRun:
    def test_a_script_becomes_a_run_folder_with_every_artefact(
        self, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", str(script), "--out", str(tmp_path / "out"), *SHORT, "--seed", "5"]) == 0
        folder = RunFolder.open(tmp_path / "out" / "library")
        for path in (folder.video, folder.memory_bank, folder.llm_agent, folder.report, folder.run, folder.checkpoints):
            assert path.stat().st_size > 0, path
        with av.open(str(folder.video)) as container:
            assert container.streams.video[0].frames == 3 * 4 * 12
        assert folder.read_json(folder.run)["seed"] == 5
        out = capsys.readouterr().out
        assert str(folder.video) in out
        assert str(folder.report) in out

    def test_the_event_log_keeps_to_its_wire_format(self, script: Path, tmp_path: Path) -> None:
        assert main(["run", str(script), "--out", str(tmp_path / "out"), *SHORT]) == 0
        events = list(RunFolder(tmp_path / "out" / "library").read_events())
        assert [e["type"] for e in events] == ["run", *(["prompt", *["chunk"] * 4] * 3), "done"]
        formats = {"run": RunEvent, "prompt": PromptEvent, "chunk": ChunkEvent, "done": DoneEvent}
        for event in events:
            wire = formats[event["type"]]
            assert wire.__required_keys__ <= set(event) <= wire.__required_keys__ | wire.__optional_keys__

    def test_json_is_the_last_line_of_stdout_and_the_rest_goes_to_stderr(
        self, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT, "--json"]) == 0
        captured = capsys.readouterr()
        [line] = captured.out.splitlines()
        summary = json.loads(line)
        [video] = summary["videos"]
        assert (video["id"], video["status"], video["chunks"], video["pictures"]) == ("library", "done", 12, 144)
        assert video["video_seconds"] == 9.0
        assert Path(video["video"]).is_file()
        assert Path(video["report"]).is_file()
        assert summary["seconds"] >= video["seconds"] > 0
        assert summary["ratio"] == pytest.approx(9.0 / summary["seconds"], rel=0.01)
        assert "prompt 3/3" in captured.err

    def test_each_line_of_a_file_becomes_a_video_of_its_own(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = tmp_path / "two.jsonl"
        script.write_text("".join(json.dumps({"prompts": [prompt]}) + "\n" for prompt in PROMPTS[:2]))
        assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT, "--json"]) == 0
        videos = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"]
        assert [video["id"] for video in videos] == ["two-1", "two-2"]
        banks = [json.loads(Path(video["memory_bank"]).read_text()) for video in videos]
        assert [[m["name"] for m in bank["global_registry"].values()][:1] for bank in banks] == [["Mia"], ["Noah"]]

    def test_a_finished_run_is_not_replaced_without_force(
        self, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["run", str(script), "-o", str(tmp_path / "out"), *SHORT]
        assert main(command) == 0
        before = (tmp_path / "out" / "library" / "events.jsonl").read_bytes()
        capsys.readouterr()
        assert main(command) == 2
        line = complaint(capsys)
        assert str(tmp_path / "out" / "library") in line
        assert "--force" in line
        assert (tmp_path / "out" / "library" / "events.jsonl").read_bytes() == before
        assert main([*command, "--force"]) == 0
        assert (tmp_path / "out" / "library" / "events.jsonl").read_bytes() != before

    def test_an_unfinished_run_is_made_anew(self, script: Path, tmp_path: Path) -> None:
        left = RunFolder.create(tmp_path / "out" / "library")
        left.append_event({"type": "run"})
        assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT]) == 0
        assert left.finished()

    def test_a_model_that_fails_is_one_line_and_status_1_and_the_other_videos_are_made(
        self, tmp_path: Path, small_model: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = tmp_path / "two.jsonl"
        script.write_text("".join(json.dumps({"prompts": PROMPTS[: n + 1]}) + "\n" for n in (1, 0)))
        small_model.fail_at = 6
        assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT, "--json"]) == 1
        captured = capsys.readouterr()
        videos = json.loads(captured.out.splitlines()[-1])["videos"]
        assert [video["status"] for video in videos] == ["failed", "done"]
        assert "cannot generate chunk 6" in videos[0]["error"]
        assert "Traceback" not in captured.err
        folder = RunFolder.open(tmp_path / "out" / "two-1")
        assert sum(event["type"] == "chunk" for event in folder.read_events()) == 6
        assert not folder.video.exists()

    def test_ctrl_c_stops_after_the_chunk_with_status_130_and_a_readable_folder(
        self, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = tmp_path / "out" / "library" / "events.jsonl"
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored

        def press() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (log.exists() and b'"chunk"' in log.read_bytes()):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        status = main(["run", str(script), "-o", str(tmp_path / "out"), "--set", "chunks_per_prompt=4000", "--json"])
        thread.join()
        assert status == 130
        captured = capsys.readouterr()
        assert json.loads(captured.out.splitlines()[-1])["videos"][0]["status"] == "interrupted"
        assert "interrupted" in captured.err
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        folder = RunFolder.open(log.parent)
        events = list(folder.read_events())
        assert events[-1]["type"] == "done"
        assert events[-1]["status"] != "done"
        assert not folder.video.exists()
        assert main(["show", str(folder.path)]) == 0
        assert main(["report", str(folder.path)]) == 0

    def test_settings_that_the_model_cannot_serve_leave_an_earlier_run_alone(
        self, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["run", str(script), "-o", str(tmp_path / "out"), *SHORT]
        assert main(command) == 0
        capsys.readouterr()
        assert main([*command, "--force", "--set", "memory.slots=9"]) == 2
        assert "memory.slots=9" in complaint(capsys)
        assert RunFolder(tmp_path / "out" / "library").finished()


BAD_SCRIPTS: dict[str, tuple[str, bytes, list[str]]] = {
    "broken JSON": ("s.jsonl", b'{"prompts": ["A cat."]}\n{"prompts": ["A dog.", }\n', ["s.jsonl, line 2", "JSON"]),
    "no prompts": ("s.jsonl", b'{"prompts": []}\n', ["s.jsonl, line 1", "no prompts"]),
    "an empty file": ("s.jsonl", b"", ["s.jsonl", "no prompts"]),
    "an empty prompt": ("s.jsonl", b'{"prompts": ["A cat.", "  "]}\n', ["s.jsonl, line 1", "prompt 2 is empty"]),
    "not UTF-8": ("s.txt", b"A cat.\nA caf\xe9.\n", ["s.txt, line 2", "UTF-8"]),
    "an unknown form": ("s.docx", b"A cat.", ["s.docx", ".jsonl"]),
}


@pytest.mark.parametrize("case", BAD_SCRIPTS)
def test_a_bad_script_is_one_line_with_file_line_and_cure(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content, says = BAD_SCRIPTS[case]
    (tmp_path / name).write_bytes(content)
    assert main(["run", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    line = complaint(capsys)
    assert all(text in line for text in says), line
    assert not (tmp_path / "out").exists()


def test_a_missing_script_is_named_with_the_nearest_one(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = script.parent / "out"
    assert main(["run", str(script.parent / "libary.jsonl"), "--out", str(out)]) == 2
    line = complaint(capsys)
    assert "libary.jsonl" in line
    assert "did you mean 'library.jsonl'?" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "memory.slot=2"], ["memory.slot", "did you mean 'memory.slots'?"]),
        (["--set", "chunks_per_prompt=0"], ["chunks_per_prompt", "greater than or equal to 1"]),
        (["--set", "chunks_per_prompt"], ["key=value"]),
        (["--seed", "-1"], ["--seed"]),
        (["--config", "sketsh"], ["did you mean 'sketch'?"]),
        (["--config", "missing/file.yaml"], ["missing/file.yaml", "no such"]),
        (["--sed", "3"], ["--sed", "--seed"]),
    ],
)
def test_a_wrong_option_or_key_is_one_line_that_suggests_the_right_one(
    arguments: list[str], says: list[str], script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(script), "--out", str(tmp_path / "out"), *arguments]) == 2
    line = complaint(capsys)
    assert all(text in line for text in says), line
    assert not (tmp_path / "out").exists()


def test_a_configuration_file_with_an_unknown_key_names_file_and_key(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("memory:\n  slotz: 2\n")
    assert main(["run", str(script), "-o", str(tmp_path / "out"), "-c", str(tmp_path / "mine.yaml")]) == 2
    line = complaint(capsys)
    assert "mine.yaml" in line
    assert "did you mean 'memory.slots'?" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["library.jsonl", "library.jsonl/deep", "/proc/memreel", "/sys/memreel/deep"])
def test_an_unwritable_output_is_refused_before_anything_is_made(
    out: str, script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(script), "--out", str(tmp_path / out)]) == 2
    line = complaint(capsys)
    assert out in line
    assert "choose another --out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["library.jsonl"]


def test_a_folder_that_is_no_run_is_refused(script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / "library").mkdir(parents=True)
    (tmp_path / "out" / "library" / "video.mp4").write_bytes(b"holiday")
    assert main(["run", str(script), "--out", str(tmp_path / "out")]) == 2
    assert "no run of memreel's" in complaint(capsys)
    assert (tmp_path / "out" / "library" / "video.mp4").read_bytes() == b"holiday"


def test_missing_arguments_and_unknown_commands_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "Missing" in complaint(capsys)
    assert main(["rum"]) == 2
    assert "rum" in complaint(capsys)


def test_a_script_on_standard_input_is_read(tmp_path: Path, small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"A cat sleeps.\nThe cat wakes.\n")))
    assert main(["run", "-", "--out", str(tmp_path), *SHORT]) == 0
    assert RunFolder(tmp_path / "stdin").finished()


@pytest.mark.usefixtures("small_model")
def test_show_prints_cast_and_memory_of_a_run_or_of_its_parent(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT]) == 0
    bank = json.loads((tmp_path / "out" / "library" / "memory_bank.json").read_text())
    for path in (tmp_path / "out", tmp_path / "out" / "library"):
        capsys.readouterr()
        assert main(["show", str(path)]) == 0
        shown = capsys.readouterr().out
        assert "3 prompts, 12 chunks, finished" in shown
        assert all(member["name"] in shown for member in bank["global_registry"].values())
        assert all(name in shown for name in bank["frame_archive"])
        assert "red hair" in shown


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_path_without_a_run_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        assert main([command, str(path)]) == 2
        assert str(path) in complaint(capsys)


@pytest.mark.usefixtures("small_model")
def test_report_builds_the_page_again(script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT]) == 0
    page = tmp_path / "out" / "library" / "report.html"
    first = page.read_bytes()
    page.unlink()
    capsys.readouterr()
    assert main(["report", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.split() == [str(page)]
    assert page.read_bytes() == first


@pytest.mark.usefixtures("small_model")
def test_a_damaged_run_is_one_line_and_status_1(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(script), "-o", str(tmp_path / "out"), *SHORT]) == 0
    (tmp_path / "out" / "library" / "memory_bank.json").write_text("{")
    capsys.readouterr()
    assert main(["show", str(tmp_path / "out")]) == 1
    assert "memory_bank.json is damaged" in complaint(capsys)


def test_help_version_and_errors_through_the_real_command_load_nothing_heavy() -> None:
    script = (
        "import sys; from memreel.cli import main; status = main(sys.argv[1:]); print(status, *sorted(sys.modules))"
    )
    for arguments in (["--help"], ["run", "--help"], ["--version"], ["run", "missing.jsonl", "--out", "out"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
        status, *modules = done.stdout.splitlines()[-1].split()
        assert status == ("2" if "missing.jsonl" in arguments else "0")
        assert not {"torch", "av", "numpy", "langgraph", "transformers", "faiss"} & set(modules), arguments
    assert memreel("--version").stdout.split()[0] == "memreel"


def test_the_process_exits_with_the_status(tmp_path: Path) -> None:
    done = memreel("run", "missing.jsonl", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["memreel: missing.jsonl: no such file; check the path"]


@pytest.mark.usefixtures("small_model")
class TestDoctor:
    def test_all_is_well_without_a_chat_model(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert "missing" not in out
        for part in ("python", "torch", "sentence encoder", "video model", "H.264 encoder", "faiss", "langgraph"):
            assert f"ok      {part}" in out
        assert "53aa51172d142c89" in out
        assert "unset   chat model" in out

    def test_what_is_missing_comes_with_the_command_that_gets_it(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("memreel.output.video.ENCODERS", ("no_such_encoder",))
        assert main(["doctor"]) == 1
        lines = capsys.readouterr().out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("missing H.264 encoder"))
        assert "pip install" in lines[at + 1]
        assert any(line.startswith("ok      langgraph") for line in lines)

    def test_a_chat_model_needs_a_key_or_a_server_and_the_key_is_never_shown(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MEMREEL_LLM_MODEL", "some-model")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        monkeypatch.delenv("MEMREEL_LLM_BASE_URL", raising=False)
        assert main(["doctor"]) == 1
        assert "export OPENAI_API_KEY" in capsys.readouterr().out
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert "ok      chat model        some-model" in out
        assert "sk-secret" not in out
