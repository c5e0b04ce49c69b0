"""A run on the small model that stopped after some of its six chunks, and how it is damaged and gone on with."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from memreel.benchmarks.kills import differing
from memreel.cli import main
from memreel.configs import load_config
from memreel.graph.render import generate
from memreel.output.run_folder import RunFolder
from memreel.script import Script

PROMPTS = (
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Mia picks up the notebook and walks out.",
)
SETTINGS = ["chunks_per_prompt=3", "memory.frames_per_entity=1", "memory.slots=2", "video.hls=true"]
SCRIPT, CONFIG = Script("film", PROMPTS), load_config("sketch", SETTINGS)


def stopped(out: Path, after: int = 4) -> RunFolder:
    """Make the run in ``out`` and stop it after so many chunks; six make it whole."""
    chunks = generate(SCRIPT, out, CONFIG)
    made = 0
    for chunk in chunks:
        made = chunk.event["index"] + 1
        if made == after != 6:
            break
    chunks.close()  # type: ignore[attr-defined]
    assert made == after
    return RunFolder(out / SCRIPT.video_id)


def command(folder: RunFolder, *more: str) -> list[str]:
    """Return the command line that goes on with a run."""
    script = folder.path.parent / "film.jsonl"
    script.write_text(json.dumps({"prompts": PROMPTS}))
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["run", str(script), "--out", str(folder.path.parent), *settings, *more]


def go_on(folder: RunFolder, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    """Go on with a run by the command line; return its exit status and what it says."""
    capsys.readouterr()
    status = main(command(folder, *more))
    return status, capsys.readouterr().err


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def full_for(kind: str, struck: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file whose path contains ``kind`` find the disk full when it is opened to be written."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if kind in str(path) and set(mode) & set("wax+"):
            struck.add(kind)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)


def equal(folder: RunFolder, other: RunFolder) -> None:
    """Compare two runs, naming the files that differ."""
    assert differing(folder, other) == []
    assert folder.complete()
