"""What was drawn is looked at in the background, and what was seen is in the cast before the next prompt is matched."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Hang, Status, Text, call, serve

from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.graph.assembly import build_graph
from memreel.graph.checks import looker_for
from memreel.graph.context import RunContext
from memreel.memory.ranking import blended, plainest
from memreel.memory.records import CastMember, Frame, empty_bank
from memreel.output.run_folder import RunFolder
from memreel.world import palette
from memreel.world.draw import pad_tables, paint
from memreel.world.looker import SketchLooker
from memreel.world.places import backgrounds
from memreel.world.shapes import Look, Pose, figure, table

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
MIA_AGAIN = "Mia waits in the park."

Settings = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    monkeypatch.setattr("memreel.agent.llm.FIRST_PAUSE_S", 0.01)


def film(config: RunConfig, runs: Path, video_id: str = "film") -> list[dict[str, Any]]:
    given: Any = {"prompts": [MIA, MIA_AGAIN], "video_id": video_id}
    return list(build_graph(config).stream(given, context=RunContext(out=str(runs)), stream_mode="custom"))


def verified(settings: Settings, server: Any, timeout_s: float = 5.0, **verify: Any) -> RunConfig:
    return settings(
        chunks_per_prompt=6,
        agent={"base_url": server.base_url, "timeout_s": timeout_s, "retries": 0},
        verify={"attributes": True, "model": "eyes-1", **verify},
    )


@pytest.mark.usefixtures("small_model")
def test_what_a_chat_model_sees_is_in_the_cast_before_the_next_prompt_is_matched(
    settings: Settings, runs: Path
) -> None:
    with serve(call("report_looks", visible=True, attrs=["brown hair", "blue sweater"], score=0.9)) as server:
        seen = film(verified(settings, server), runs)
    kinds = [event["type"] for event in seen]
    assert kinds.index("check") < kinds.index("prompt", 2)
    check = seen[kinds.index("check")]
    assert (check["global_id"], check["by"], check["score"]) == (1, "eyes-1", 0.9)
    assert [one["outcome"] for one in check["calls"]] == ["ok"]
    text, picture = server.requests[0]["messages"][1]["content"]
    assert "Mia, woman, red hair, blue sweater" in text["text"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    second = [event for event in seen if event["type"] == "prompt"][1]
    assert "brown hair" in second["text"]
    assert "red hair" not in second["text"]
    assert len(server.requests) == 1
    assert list(RunFolder(runs / "film").read_events()) == seen
    schema = json.loads((Path(__file__).parent / "schemas" / "event.schema.json").read_text())
    for event in seen:
        jsonschema.validate(event, schema)


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize("fault", [Status(500), Text("no"), Hang(), call("report_looks", visible=3, score=7)])
def test_who_cannot_be_asked_corrects_nothing(settings: Settings, runs: Path, fault: Any) -> None:
    with serve(fault) as server:
        seen = film(verified(settings, server, timeout_s=0.5), runs)
    [check] = [event for event in seen if event["type"] == "check"]
    assert (check["attrs"], check["score"]) == (None, None)
    assert "eyes-1" in check["notes"][0]
    assert "red hair" in [event for event in seen if event["type"] == "prompt"][1]["text"]


@pytest.mark.usefixtures("small_model")
def test_a_weight_lets_what_was_seen_choose_the_frames(settings: Settings, runs: Path) -> None:
    unlike = call("report_looks", visible=True, attrs=["red hair", "blue sweater"], score=0.0)

    def memory(weight: float, video_id: str) -> tuple[str, list[str]]:
        with serve(unlike) as server:
            config = verified(settings, server, weight=weight)
            taste = {"slots": 1, "sink_discount": 0.0}
            config = config.model_copy(update={"memory": config.memory.model_copy(update=taste)})
            seen = film(config, runs, video_id)
        [check] = [event for event in seen if event["type"] == "check"]
        return check["frame"], [event for event in seen if event["type"] == "prompt"][1]["memory"]

    looked_at, chosen = memory(0.0, "off")
    assert chosen == [looked_at]
    again, chosen = memory(0.9, "on")
    assert (again, len(chosen)) == (looked_at, 1)
    assert chosen != [looked_at]


@pytest.mark.usefixtures("small_model")
def test_a_run_that_is_gone_on_with_looks_again_at_what_it_lost(settings: Settings, runs: Path) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    from memreel.graph.session import open_session

    with serve(call("report_looks", visible=True, attrs=["brown hair"], score=0.9)) as server:
        config = verified(settings, server)
        graph = build_graph(config, InMemorySaver(), interrupt_before=["generate_chunk"])
        thread: Any = {"configurable": {"thread_id": "t"}}
        context = RunContext(out=str(runs))
        graph.invoke({"prompts": [MIA, MIA_AGAIN], "video_id": "film"}, thread, context=context)
        while not graph.get_state(thread).values["checks"]:
            graph.invoke(None, thread, context=context)
        session = open_session(runs / "film")
        assert session is not None
        session.abort("killed")
        while graph.get_state(thread).next:
            graph.invoke(None, thread, context=context)
        values = graph.get_state(thread).values
    assert values["bank"]["cast"]["1"]["all_attrs"] == ["brown hair"]
    assert values["checks"]["1"]["done"]
    assert len(server.requests) == 2


def painted(*looks: Look) -> np.ndarray:
    rows = [row for i, look in enumerate(looks) for row in figure(look, Pose(60.0 + 70 * i))]
    places = torch.tensor([palette.PLACES.index("library")])
    tables = [table(rows)]
    pictures, _ = paint(torch.from_numpy(pad_tables(tables, max(map(len, tables)))), backgrounds(), places)
    return (pictures[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def member(*attrs: str) -> CastMember:
    return {
        "global_id": 1,
        "kind": "character",
        "name": "Mia",
        "all_entities": ["Mia"],
        "all_attrs": list(attrs),
        "instances": [],
    }


def test_the_reader_of_the_drawn_world_confirms_and_corrects() -> None:
    picture = painted(Look("woman", hair="red", top="blue", hat="none"))
    right = SketchLooker().look(picture, member("young woman", "red hair", "blue sweater", "tall"), MIA)
    assert (right.attrs, right.score) == (["young woman", "red hair", "blue sweater", "tall"], 1.0)
    wrong = SketchLooker().look(picture, member("black hair", "blue sweater"), MIA)
    assert (wrong.attrs, wrong.score) == (["red hair", "blue sweater"], 0.5)


def test_the_reader_says_nothing_where_it_cannot_be_sure() -> None:
    both = painted(Look("woman", hair="red", top="blue", hat="none"), Look("man", hair="black", top="red", hat="none"))
    one = painted(Look("woman", hair="red", top="blue", hat="none"))
    for picture, prompt in ((both, MIA), (one, "Mia walks through a market.")):
        looks = SketchLooker().look(picture, member("red hair"), prompt)
        assert (looks.attrs, looks.score) == (None, None)
        assert looks.notes


def test_who_looks_depends_on_the_configuration(settings: Settings) -> None:
    assert looker_for(settings(), "sketch") is None
    looker = looker_for(settings(verify={"attributes": True}), "sketch")
    assert looker is not None
    assert looker.name == "sketch reader"
    with pytest.raises(UserError, match="name a chat model that sees"):
        looker_for(settings(verify={"attributes": True}), "other")


def test_a_blend_is_the_weighted_mean() -> None:
    frame: Frame = {
        "frame_id": "p1_c1_f0",
        "frame_path": "",
        "prompt_id": 1,
        "chunk_id": 1,
        "frame": 0,
        "index": 0,
        "score": 0.8,
        "entity_scores": {"1": 0.8},
        "associated_entities": [1],
    }
    bank = {**empty_bank(), "frames": {"p1_c1_f0": frame}}
    mixed = blended(bank, "p1_c1_f0", 1, 0.0, 0.25)  # type: ignore[arg-type]
    assert mixed["frames"]["p1_c1_f0"]["entity_scores"] == {"1": 0.6}
    assert mixed["frames"]["p1_c1_f0"]["score"] == pytest.approx(0.6)
    assert plainest(mixed, 1, 0.7) is None
    assert json.dumps(bank["frames"]) == json.dumps({"p1_c1_f0": frame})
