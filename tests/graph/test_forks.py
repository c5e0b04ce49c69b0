"""Forks: a run branches off at any of its states, shares what is common, and the original stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.errors import StoreError
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.graph.latents import latents_path
from memreel.graph.render import render
from memreel.graph.session import open_session
from memreel.output.run_folder import RunFolder
from memreel.output.video import read_pictures
from memreel.script import Script

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."
RAIN = "Rain falls on the empty park."

Settings = Callable[..., RunConfig]


def contents(folder: RunFolder) -> dict[str, bytes]:
    """Return every file of a run but its list of forks and its database."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and path != folder.forks and not path.name.startswith(folder.checkpoints.name)
    }


def latents(folder: RunFolder) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder.stream / "latents").iterdir())]


@pytest.fixture
def film(small_model: Any, runs: Path) -> RunFolder:
    """A finished run of two prompts, four chunks each."""
    return made(runs)


def made(runs: Path) -> RunFolder:
    list(render(Script("film", (MIA, TOM)), runs, RunConfig(chunks_per_prompt=4)))
    return RunFolder(runs / "film")


def test_the_command_forks_at_a_chunk_and_shares_what_comes_before(
    film: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(film)
    asked = ["fork", str(film.path), "--at", "2.2", "--prompt", RAIN, "--out", str(tmp_path), "--json"]
    assert main(asked) == 0
    [video] = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"]
    branch = RunFolder(Path(video["path"]))
    assert branch.path == tmp_path / "film-at-2.2"
    assert contents(film) == before
    events = list(branch.read_events())
    assert [event["prompt"] for event in events if event["type"] == "prompt"] == [MIA, TOM, RAIN]
    counts = [sum(e["type"] == "chunk" and e["prompt_id"] == number for e in events) for number in (1, 2, 3)]
    assert counts == [4, 2, 4]
    for index in range(6):
        assert latents_path(branch, index).samefile(latents_path(film, index))
        assert branch.film.piece(index).samefile(film.film.piece(index))
    assert not latents_path(branch, 6).samefile(latents_path(film, 6))
    assert len(read_pictures(branch.video, range(200))) == 120
    assert branch.finished()
    whole = [event for event in film.read_events() if event["type"] == "chunk"]
    mine = [event for event in events if event["type"] == "chunk"]
    assert mine[:6] == whole[:6]


@pytest.mark.usefixtures("embedded_model")
def test_a_fork_that_changes_nothing_gives_the_same_video(runs: Path, tmp_path: Path) -> None:
    """Rewound to a chunk and given the same prompts again, bit for bit the same comes."""
    film = made(runs)
    assert main(["fork", str(film.path), "--at", "1", "--prompt", TOM, "--out", str(tmp_path)]) == 0
    branch = RunFolder(tmp_path / "film-at-1.4")
    assert latents(branch) == latents(film)
    for name in ("memory_bank", "llm_agent", "video"):
        assert getattr(branch, name).read_bytes() == getattr(film, name).read_bytes(), name


def test_another_seed_makes_another_take_from_there(film: RunFolder, tmp_path: Path) -> None:
    assert main(["fork", str(film.path), "--at", "2.3", "--seed", "9", "--out", str(tmp_path)]) == 0
    branch = RunFolder(tmp_path / "film-at-2.3")
    assert latents(branch)[:7] == latents(film)[:7]
    assert latents(branch)[7] != latents(film)[7]
    assert branch.read_json(branch.run)["seed"] == 9


def test_history_shows_the_tree_from_any_of_its_runs(
    film: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fork", str(film.path), "--at", "2.1", "--prompt", RAIN, "--out", str(tmp_path)]) == 0
    child = tmp_path / "film-at-2.1"
    assert main(["fork", str(child), "--at", "3.2", "--prompt", MIA, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for path in (film.path, child, tmp_path / "film-at-2.1-at-3.2"):
        assert main(["history", str(path)]) == 0
        shown = capsys.readouterr().out
        lines = {name: next(i for i, line in enumerate(shown.splitlines()) if name in line) for name in (path.name,)}
        assert lines
        order = [shown.index(text) for text in ("film ", "at 2.1", "at 3.2")]
        assert order == sorted(order)
        assert RAIN[:20] in shown


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("3.1", "it has prompts 1 to 2"),
        ("2.9", "prompt 2 has chunks 1 to 4"),
        ("two", "PROMPT.CHUNK"),
        ("2.0", "PROMPT.CHUNK"),
    ],
)
def test_a_point_that_is_not_there_is_named(
    at: str, says: str, film: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fork", str(film.path), "--at", at, "--prompt", RAIN, "--out", str(tmp_path / "x")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_stopped_fork_is_gone_on_with_by_resume(film: RunFolder, tmp_path: Path) -> None:
    from memreel.graph.history import fork_at

    branch = fork_at(film, 2, 2, [RAIN], tmp_path)
    events = render(Script(branch.path.name, (MIA, TOM, RAIN)), tmp_path, RunConfig(chunks_per_prompt=4), resume=True)
    assert next(events).event["type"] == "prompt"
    events.close()  # type: ignore[attr-defined]
    assert main(["resume", str(branch.path)]) == 0
    assert branch.finished()
    assert main(["resume", str(branch.path)]) == 0


@pytest.mark.usefixtures("small_model")
def test_langgraphs_own_history_forks_and_both_go_on(settings: Settings, runs: Path) -> None:
    graph = build_graph(settings(), InMemorySaver(), interrupt_before=["generate_chunk"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": [MIA, TOM], "video_id": "film"}, thread, context=context)
    for _ in range(6):
        graph.invoke(None, thread, context=context)
    newest = graph.get_state(thread)
    earlier = next(s for s in graph.get_state_history(thread) if s.values["index"] == 2 and s.next)
    other = graph.update_state(earlier.config, {"prompts": [MIA, RAIN]})
    while graph.get_state(thread).next:
        graph.invoke(None, other if other else thread, context=context)
        other = None  # from now on the thread's newest state is the fork's
    values = graph.get_state(thread).values
    branch = RunFolder(runs / values["video_id"])
    assert branch.path.name == "film-at-1.2"
    assert [e["prompt"] for e in branch.read_events() if e["type"] == "prompt"] == [MIA, RAIN]
    assert branch.finished()
    original = RunFolder(runs / "film")
    assert latents_path(branch, 1).samefile(latents_path(original, 1))
    assert len(latents(original)) == 6
    branch_is = contents(branch)
    config: Any = newest.config
    while config is not None:
        graph.invoke(None, config, context=context)
        config = None if not graph.get_state(thread).next else thread
    assert original.finished()
    assert contents(branch) == branch_is
    assert [e["prompt"] for e in original.read_events() if e["type"] == "prompt"] == [MIA, TOM]


@pytest.mark.usefixtures("small_model")
def test_states_of_a_log_that_was_changed_are_refused(settings: Settings, runs: Path) -> None:
    graph = build_graph(settings(), InMemorySaver(), interrupt_before=["generate_chunk"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": [MIA], "video_id": "film"}, thread, context=context)
    session = open_session(runs / "film")
    assert session is not None
    session.abort("stopped")
    folder = RunFolder(runs / "film")
    folder.events.write_bytes(folder.events.read_bytes().replace(b"red hair", b"old hair", 1))
    with pytest.raises(StoreError, match=r"events\.jsonl is not the log"):
        graph.invoke(None, thread, context=context)
