"""A folder is gone on with by what made it, by one process at a time; anything else is refused and changes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from memreel.benchmarks.kills import lasting
from memreel.configs import load_config
from memreel.errors import StoreError, UserError
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.graph.render import generate, render
from memreel.graph.session import open_session
from memreel.model.worker import compute_threads
from memreel.output.run_folder import RunFolder
from memreel.script import Script
from memreel.tests.graph.stopped_run import CONFIG, PROMPTS, SCRIPT, SETTINGS, go_on, stopped

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def half(small_model: Any, tmp_path: Path) -> RunFolder:
    """A run that stopped after two of its six chunks."""
    return stopped(tmp_path / "half", 2)


def latents_of(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in (folder.stream / "latents").iterdir())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--seed", "3"], "with seed=0 instead of 3"),
        (["--set", "memory.slots=1"], "with memory.slots=2 instead of 1"),
        (["--set", "chunks_per_prompt=5"], "with chunks_per_prompt=3 instead of 5"),
    ],
)
def test_a_run_of_another_seed_or_configuration_is_refused_by_the_field_that_differs(
    more: list[str], says: str, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lasting(half)
    status, said = go_on(half, capsys, *more)
    assert (status, len(said.splitlines())) == (2, 1), said
    assert says in said
    assert "--force" in said
    assert lasting(half) == before


def test_a_run_of_another_script_is_refused(half: RunFolder) -> None:
    for prompts, says in (
        ((PROMPTS[0], "Rain."), "its prompt 2 is 'Mia picks"),
        (PROMPTS[:1], "2 prompts instead of 1"),
    ):
        with pytest.raises(UserError, match=says):
            next(render(Script("film", tuple(prompts)), half.path.parent, CONFIG, resume=True))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("weights", "0123", "of other weights, exchanged since"),
        ("threads", 77, "made with 77 threads, not {threads} (set OMP_NUM_THREADS=77)"),
        ("device", "cuda", "made on cuda, not cpu (set model.device)"),
    ],
)
def test_other_weights_threads_or_devices_are_noticed(
    field: str, value: Any, says: str, half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = half.events.read_bytes().splitlines(keepends=True)
    made = json.loads(first)
    assert made["made_with"]["threads"] == compute_threads()
    made["made_with"][field] = value
    half.events.write_bytes(b"".join([json.dumps(made).encode() + b"\n", *rest]))
    status, said = go_on(half, capsys)
    assert (status, len(latents_of(half))) == (2, 2), said
    assert says.format(threads=compute_threads()) in said


def test_a_second_process_is_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "film")
    hold = "import sys, time; from pathlib import Path; from memreel.output.run_folder import RunFolder\n"
    hold += "held = RunFolder(Path(sys.argv[1])).hold(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(folder.path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process"):
            next(render(SCRIPT, tmp_path, CONFIG, resume=True))
        other.kill()
    folder.hold().release()


def test_a_state_of_a_run_that_was_replaced_is_refused(half: RunFolder, tmp_path: Path) -> None:
    graph = build_graph(CONFIG, InMemorySaver(), interrupt_before=["parse_prompt"])
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


def test_force_starts_over(half: RunFolder) -> None:
    config = load_config("sketch", [*SETTINGS, "seed=3"])
    chunks = generate(SCRIPT, half.path.parent, config)
    assert next(chunks).event["index"] == 0
    chunks.close()  # type: ignore[attr-defined]
    assert latents_of(half) == ["000000.safetensors"]
