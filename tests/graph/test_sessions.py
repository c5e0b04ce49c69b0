"""Sessions and checkpoints: what a stepped, edited, restarted or taken-over run does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from memreel.configs.schema import RunConfig
from memreel.errors import StoreError, UserError
from memreel.graph.assembly import Graph, build_graph
from memreel.graph.context import RunContext
from memreel.graph.render import generate
from memreel.graph.session import Session, open_session
from memreel.output.run_folder import RunFolder
from memreel.tests.graph.stopped_run import CONFIG, SCRIPT, equal, stopped

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."

Settings = Callable[..., RunConfig]


class Stepped:
    """A graph that stops before each chunk, on one thread."""

    def __init__(self, config: RunConfig, runs: Path, thread: str = "t") -> None:
        self.graph: Graph = build_graph(config, InMemorySaver(), interrupt_before=["generate_chunk"])
        self.thread: Any = {"configurable": {"thread_id": thread}}
        self.context = RunContext(out=str(runs))

    def begin(self, *prompts: str, video_id: str = "film") -> None:
        self.graph.invoke({"prompts": list(prompts), "video_id": video_id}, self.thread, context=self.context)

    def step(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.graph.invoke(None, self.thread, context=self.context)

    def finish(self) -> None:
        while self.graph.get_state(self.thread).next:
            self.step()

    @property
    def values(self) -> Any:
        return self.graph.get_state(self.thread).values


@pytest.fixture
def forget() -> Callable[[Path], None]:
    """End this process's session in a folder as a restart would: without a word."""

    def end(path: Path) -> None:
        session = open_session(path)
        assert session is not None
        session.writer.abort()
        session._release()

    return end


def test_an_edit_of_text_and_memory_between_nodes_is_what_the_next_chunk_gets(
    small_model: Any, settings: Settings, runs: Path
) -> None:
    film = Stepped(settings(chunks_per_prompt=6), runs)
    film.begin(MIA)
    film.step(4)
    bank = film.values["bank"]
    assert len(bank["memory"]) == 2
    edit = {"text": "Rain.", "bank": {**bank, "memory": bank["memory"][1:]}}
    film.graph.update_state(film.thread, edit)
    film.step()
    assert small_model.streams[0].texts[-1] == "Rain."
    assert film.values["attended"] == bank["memory"][1:]
    film.finish()
    assert film.values["index"] == 6


@pytest.mark.usefixtures("small_model")
def test_an_edited_memory_that_cannot_be_is_refused(settings: Settings, runs: Path) -> None:
    film = Stepped(settings(), runs)
    film.begin(MIA)
    film.graph.update_state(film.thread, {"bank": {**film.values["bank"], "memory": ["p9_c9_f0"]}})
    with pytest.raises(UserError, match="p9_c9_f0"):
        film.step()


@pytest.mark.usefixtures("small_model")
def test_a_restart_before_the_first_chunk_loses_nothing(
    settings: Settings, runs: Path, forget: Callable[[Path], None]
) -> None:
    film = Stepped(settings(), runs)
    film.begin(MIA)
    forget(runs / "film")
    film.finish()
    assert RunFolder(runs / "film").finished()


@pytest.mark.usefixtures("small_model")
def test_a_run_whose_folder_was_taken_over_stops_and_the_other_goes_on(settings: Settings, runs: Path) -> None:
    first, second = Stepped(settings(), runs, "a"), Stepped(settings(), runs, "b")
    first.begin(MIA)
    first.step(1)
    second.begin(TOM)
    second.step(1)
    with pytest.raises(StoreError, match="another run has started in this folder"):
        first.step()
    second.finish()
    folder = RunFolder(runs / "film")
    assert folder.finished()
    assert [event["prompt"] for event in folder.read_events() if event["type"] == "prompt"] == [TOM]


@pytest.mark.usefixtures("small_model")
def test_two_videos_interleaved_are_each_what_they_are_alone(settings: Settings, runs: Path) -> None:
    def latents(video_id: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((runs / video_id / "stream" / "latents").iterdir())]

    config = settings()
    for video_id, prompts in (("alone-a", (MIA, TOM, MIA)), ("alone-b", (TOM, TOM))):
        film = Stepped(config, runs, video_id)
        film.begin(*prompts, video_id=video_id)
        film.finish()
    a, b = Stepped(config, runs, "a"), Stepped(config, runs, "b")
    a.begin(MIA, TOM, MIA, video_id="together-a")
    b.begin(TOM, TOM, video_id="together-b")
    for _ in range(8):
        a.step()
        b.step()
    a.finish()
    b.finish()
    for name in "ab":
        assert latents(f"together-{name}") == latents(f"alone-{name}")
        one, other = RunFolder(runs / f"together-{name}"), RunFolder(runs / f"alone-{name}")
        assert one.memory_bank.read_bytes() == other.memory_bank.read_bytes()
        assert one.llm_agent.read_bytes() == other.llm_agent.read_bytes()
        assert one.video.read_bytes() == other.video.read_bytes()


@pytest.mark.usefixtures("small_model")
def test_sqlite_keeps_the_state_for_another_process(settings: Settings, runs: Path, tmp_path: Path) -> None:
    thread: Any = {"configurable": {"thread_id": "film"}}
    database = str(tmp_path / "state.sqlite")
    with SqliteSaver.from_conn_string(database) as saver:
        graph = build_graph(settings(), saver)
        final = graph.invoke({"prompts": [MIA, TOM]}, thread, context=RunContext(out=str(runs)))
    with SqliteSaver.from_conn_string(database) as saver:
        read = build_graph(settings(), saver).get_state(thread)
        assert read.values == final
        assert len(list(saver.list(thread))) > 2 * 4 * 2


@pytest.mark.usefixtures("small_model")
def test_an_ended_session_can_end_again(settings: Settings, runs: Path) -> None:
    session = Session.start(runs / "film", "film", [MIA], settings(), None)
    session.abort("stopped")
    session.abort("stopped")
    assert open_session(runs / "film") is None
    assert [event["type"] for event in RunFolder(runs / "film").read_events()] == ["run", "done"]


@pytest.mark.usefixtures("small_model")
def test_python_goes_on_with_the_chunks_that_are_missing(tmp_path: Path) -> None:
    half, whole = stopped(tmp_path / "half"), stopped(tmp_path / "whole", 6)
    made = list(generate(SCRIPT, half.path.parent, CONFIG, resume=True))
    assert [chunk.event["index"] for chunk in made] == [4, 5]
    equal(half, whole)
    for lost in (half.report, half.checksums):
        lost.unlink()
        assert list(generate(SCRIPT, half.path.parent, CONFIG, resume=True)) == []
        assert half.complete()


@pytest.mark.usefixtures("small_model")
def test_a_graph_of_ones_own_goes_on_after_a_restart_before_every_bank_update(
    runs: Path, tmp_path: Path, forget: Callable[[Path], None]
) -> None:
    whole = stopped(tmp_path / "whole", 6)
    graph = build_graph(CONFIG, InMemorySaver(), interrupt_before=["update_memory"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": list(SCRIPT.prompts), "video_id": "film"}, thread, context=context)
    while graph.get_state(thread).next:
        forget(runs / "film")
        graph.invoke(None, thread, context=context)
    equal(RunFolder(runs / "film"), whole)
