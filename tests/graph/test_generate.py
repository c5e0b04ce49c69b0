"""Plain Python iteration: chunks with pictures, seeds, several videos, stopping early, faults at the call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memreel
from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.checkpoints import checkpoints
from memreel.graph.render import render
from memreel.graph.session import open_session
from memreel.output.run_folder import RunFolder
from memreel.output.video import read_pictures
from memreel.script import Script

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."

Settings = Callable[..., RunConfig]


@pytest.mark.usefixtures("embedded_model")
def test_each_chunk_comes_with_its_event_and_its_pictures(settings: Settings, runs: Path) -> None:
    chunks = list(memreel.generate([MIA, TOM], runs, settings(chunks_per_prompt=2)))
    assert [chunk.event["index"] for chunk in chunks] == list(range(4))
    assert {chunk.pictures.shape for chunk in chunks} == {(12, 112, 192, 3)}
    assert {chunk.pictures.dtype for chunk in chunks} == {np.dtype(np.uint8)}
    filmed = read_pictures(runs / "video" / "video.mp4", range(48))
    for chunk in chunks:
        shown = filmed[chunk.event["index"] * 12 + 5].astype(int)
        assert np.abs(shown.mean((0, 1)) - chunk.pictures[5].mean((0, 1))).max() < 12


@pytest.mark.usefixtures("embedded_model")
def test_a_seed_repeats_bit_for_bit_and_another_differs(settings: Settings, runs: Path) -> None:
    def pictures(out: str, seed: int | None) -> np.ndarray[Any, Any]:
        config = settings(seed=3, chunks_per_prompt=2)
        return np.stack([chunk.pictures for chunk in memreel.generate([MIA, TOM], runs / out, config, seed)])

    first = pictures("a", None)
    assert np.array_equal(first, pictures("b", 3))
    assert not np.array_equal(first, pictures("c", 4))
    assert (runs / "a/video/memory_bank.json").read_bytes() == (runs / "b/video/memory_bank.json").read_bytes()


@pytest.mark.usefixtures("embedded_model")
def test_a_script_of_several_videos_gives_each_a_cast_of_its_own(
    settings: Settings, runs: Path, tmp_path: Path
) -> None:
    script = tmp_path / "films.jsonl"
    script.write_text(f'{{"prompts": ["{MIA}"]}}\n{{"prompts": ["{TOM}"]}}\n')
    config = settings(chunks_per_prompt=2)
    chunks = list(memreel.generate(script, runs, config))
    assert [chunk.video_id for chunk in chunks] == ["films-1"] * 2 + ["films-2"] * 2
    bank = RunFolder(runs / "films-2").read_json(runs / "films-2" / "memory_bank.json")
    assert [member["name"] for member in bank["global_registry"].values()][:1] == ["Tom"]
    alone = list(memreel.generate(Script("alone", (TOM,)), runs, config))
    assert np.array_equal(alone[-1].pictures, chunks[-1].pictures)


@pytest.mark.usefixtures("small_model")
def test_closing_the_iterator_ends_the_run_and_leaves_no_half_of_a_file(settings: Settings, runs: Path) -> None:
    chunks = memreel.generate([MIA], runs, settings(chunks_per_prompt=50))
    assert next(chunks).event["index"] == 0
    assert next(chunks).event["index"] == 1
    chunks.close()  # type: ignore[attr-defined]
    folder = RunFolder(runs / "video")
    assert open_session(folder.path) is None
    assert not folder.video.exists()
    assert not list(folder.path.rglob("*.part"))
    events = list(folder.read_events())
    assert (events[-1]["type"], events[-1]["status"]) == ("done", "stopped")
    assert [event["index"] for event in events if event["type"] == "chunk"] == [0, 1]


@pytest.mark.usefixtures("small_model")
def test_a_stopped_run_is_replaced_whole_by_the_next(settings: Settings, runs: Path) -> None:
    stopped = memreel.generate([MIA], runs, settings(chunks_per_prompt=9))
    next(stopped)
    finished = list(memreel.generate([TOM], runs, settings(chunks_per_prompt=2)))
    stopped.close()  # type: ignore[attr-defined]
    folder = RunFolder(runs / "video")
    assert len(finished) == 2
    assert folder.finished()
    assert len(list((folder.stream / "latents").iterdir())) == 2


@pytest.mark.usefixtures("small_model")
def test_checkpoints_lie_in_the_run_folder(settings: Settings, runs: Path) -> None:
    events = [rendered.event["type"] for rendered in render(Script("film", (MIA,)), runs, settings())]
    assert events == ["run", "prompt", *["chunk"] * 4, "done"]
    with checkpoints(runs / "film" / "state.sqlite") as saver:
        state = build_graph(settings(), saver).get_state({"configurable": {"thread_id": "film"}})
        assert state.values["index"] == 4
        assert state.next == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"script": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
        ({"script": []}, "script: no prompts"),
        ({"script": ["a"], "config": "skech"}, "did you mean 'sketch'?"),
        ({"script": ["a"], "seed": -1}, "'seed'"),
    ],
)
def test_what_the_user_got_wrong_is_said_by_the_call_itself(arguments: dict[str, Any], says: str, runs: Path) -> None:
    with pytest.raises(memreel.UserError) as caught:
        memreel.generate(out=runs, **arguments)
    assert says in str(caught.value)
    assert not runs.exists()


def test_importing_memreel_imports_nothing_heavy() -> None:
    code = (
        "import sys, memreel; before = set(sys.modules); assert dir(memreel)\n"
        "assert not {'torch', 'langgraph', 'pydantic', 'numpy', 'yaml'} & before, before\n"
        "memreel.RunConfig\n"
        "assert 'torch' not in sys.modules and 'langgraph' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there_and_others_are_not() -> None:
    for name in memreel.__all__:
        assert callable(getattr(memreel, name)), name
    with pytest.raises(AttributeError, match="nothing"):
        _ = memreel.nothing
