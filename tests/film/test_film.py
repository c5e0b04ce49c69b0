"""A film from an idea or a plan to the finished file, on the embedded model: review, retakes, resume, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from PIL import Image

from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.film.graph import build_film_graph
from memreel.film.making import make_film, plan_film
from memreel.film.productions import close_production
from memreel.film.settings import FilmContext
from memreel.memory.archive import load
from memreel.model.protocol import VideoModel
from memreel.output.run_folder import RunFolder

PLAN: dict[str, Any] = {
    "title": "Library and beach",
    "characters": [{"name": "Mia", "attributes": ["young woman", "red hair", "blue sweater"]}],
    "scenes": [
        {"seconds": 1.5, "text": "In a quiet library, Mia waits.", "characters": ["Mia"], "environment": "library"},
        {"seconds": 0.75, "text": "Mia waves.", "characters": ["Mia"], "transition": "continuation"},
        {"seconds": 1.5, "text": "On a beach, Mia waves.", "characters": ["Mia"], "transition": "crossfade"},
    ],
}  # fmt: skip


def made(runs: Path, plan: dict[str, Any] = PLAN, resume: bool = False, stop_at: str = "", **film: Any) -> list[Any]:
    context = FilmContext(out=str(runs), config=RunConfig.model_validate({"film": film}))
    given = {"plan": plan, "film_id": "film"}
    events = []
    stream = make_film(given, context, resume=resume)  # type: ignore[arg-type]
    for event in stream:
        events.append(event)
        if stop_at and event["type"] == stop_at:
            stream.close()  # type: ignore[attr-defined]
            break
    return events


@pytest.mark.usefixtures("embedded_model")
def test_a_plan_becomes_one_film_of_its_length_with_bank_chapters_and_report(runs: Path) -> None:
    events = made(runs, stop_at="shot")  # stopped after the first scene …
    folder = RunFolder(runs / "film")
    first = (folder.clips / "s01a1.mp4").stat().st_mtime_ns
    with pytest.raises(UserError, match="unfinished film of another plan"):
        made(runs, {**PLAN, "title": "another"}, resume=True)
    events = made(runs, resume=True)  # … and gone on with
    assert events[-1] == {"type": "done", "status": "done", "video": "video.mp4"}
    assert (folder.clips / "s01a1.mp4").stat().st_mtime_ns == first
    with av.open(str(folder.video)) as video:
        assert sum(1 for _ in video.decode(video=0)) == round(3.75 * 16)
        assert [chapter["metadata"]["title"][:2] for chapter in video.chapters()] == ["1.", "3."]
    bank = load(folder.memory_bank)
    assert bank["cast"]["1"]["name"] == "Mia"
    assert set(bank["cast"]["1"]["all_attrs"]) >= {"red hair", "blue sweater"}
    assert sorted(bank["prompts"]) == ["0", "1", "2", "3"]
    assert bank["frames"]
    assert all((folder.path / frame["frame_path"]).is_file() for frame in bank["frames"].values())
    facts = json.loads(folder.run.read_text())
    assert [take["key"] for take in facts["takes"] if take["key"] in facts["shots"]] == facts["shots"]
    assert facts["spent"]["usd"] == 0
    last = next(take for take in facts["takes"] if take["key"] == facts["shots"][-1])
    assert "Mia: red hair, blue sweater." in last["prompt"]
    assert last["references"], "the bank's frames went along"
    assert last["score"]["total"] > 0.6
    types = [event["type"] for event in folder.read_events()]
    assert [types.count(kind) for kind in ("run", "shot", "merged", "done")] == [1, 3, 1, 1]
    page = folder.report.read_text()
    assert page.count("<img") >= 6
    assert "s03a1 · chosen" in page
    with pytest.raises(UserError, match="finished film"):
        made(runs, resume=True)


@pytest.mark.usefixtures("embedded_model")
def test_what_is_not_consistent_enough_is_generated_again_at_most_as_often_as_told_and_the_best_is_kept(
    runs: Path,
) -> None:
    plan = {**PLAN, "scenes": [{**scene, "seconds": 0.75} for scene in PLAN["scenes"][:2]]}
    events = made(runs, plan, threshold=1.0, retakes=1)  # no continuation is the picture before, to the last pixel
    judged = [event for event in events if event["type"] == "take" and event["scene"] == 2]
    assert [(event["take"], event["again"]) for event in judged] == [(1, True), (2, False)]
    shot = [event for event in events if event["type"] == "shot"][-1]
    assert shot["score"] == max(event["score"]["total"] for event in judged)
    page = RunFolder(runs / "film").report.read_text()
    assert "s02a1" in page
    assert "s02a2" in page


@pytest.mark.usefixtures("embedded_model")
def test_a_person_sees_plan_and_cost_before_anything_is_made_and_may_change_or_stop_it(runs: Path) -> None:
    graph = build_film_graph(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    context = FilmContext(out=str(runs), review=True)
    state = graph.invoke({"plan": PLAN, "film_id": "film"}, thread, context=context)
    [waiting] = state["__interrupt__"]
    assert waiting.value["plan"]["title"] == PLAN["title"]
    assert waiting.value["usd"] == 0
    assert [route["key"] for route in waiting.value["routes"]] == ["s01a1", "s02a1", "s03a1"]
    assert not (runs / "film" / "clips").exists()
    edited = {**PLAN, "title": "Changed"}
    state = graph.invoke(Command(resume={"plan": edited}), thread, context=context)
    assert state["__interrupt__"][0].value["plan"]["title"] == "Changed"
    state = graph.invoke(Command(resume=False), thread, context=context)
    assert state["approved"] is False
    assert not (runs / "film" / "clips").exists()
    close_production(runs / "film")


@pytest.mark.usefixtures("embedded_model")
def test_a_reference_picture_enters_the_bank_and_is_shown_to_the_model(runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "mia.png"
    Image.fromarray(np.full((90, 160, 3), 120, dtype=np.uint8)).save(picture)
    context = FilmContext(out=str(runs))
    plan = {**PLAN, "scenes": [{**PLAN["scenes"][0], "seconds": 0.75}]}
    for event in make_film({"plan": plan, "refs": [str(picture)], "film_id": "film"}, context):
        if event["type"] == "plan":
            assert event["pictures"][0]["shows"] == "mia"
    facts = json.loads((runs / "film" / "run.json").read_text())
    assert facts["takes"][0]["references"] == ["p0_c1_f0"]


def test_planning_leaves_nothing_behind_and_dry_runs_name_the_cost(
    embedded_model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNWAYML_API_SECRET", raising=False)
    plan, offer, notes = plan_film({"idea": "Mia waits in a park. Tom waves.", "seconds": 18}, FilmContext())
    assert (plan.seconds, offer["usd"], notes) == (18.0, 0, ["planned by rules"])
    assert (
        main(["film", "Mia waits in a park.", "--out", "out", "--model", "runway", "--seconds", "18", "--dry-run"]) == 0
    )
    told = capsys.readouterr().out
    assert "gen4.5" in told
    assert "missing: RUNWAYML_API_SECRET" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["  "], "the idea is empty"),
        (["A cat.", "--seconds", "3"], "6 to 600 seconds"),
        (["A cat.", "--seconds", "10800"], "6 to 600 seconds"),
        (["A cat.", "--refs", "cat.txt"], "not a picture"),
        (["A cat.", "--refs", "nowhere.png"], "no such file"),
        (["A cat.", "--model", "runwey"], "did you mean"),
        (["plan.yaml"], "line 4"),
        (["nowhere.yaml"], "no such plan"),
        (["plan.yaml", "--seconds", "30"], "a plan says how long"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_made(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.txt").write_text("no picture")
    (tmp_path / "plan.yaml").write_text("title: t\nscenes:\n- seconds: 9\n  txt: Mia waits.\n")
    assert main(["film", *arguments, "--out", "out"]) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert says in line or (says == "did you mean" and "runway" in line)
    assert not (tmp_path / "out").exists()
