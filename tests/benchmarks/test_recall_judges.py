"""A chat model as the judge of RecallBench, over HTTP; what looks at its pictures here is the drawn world's reader."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from chat_server import ChatServer, Text, Tool, call, serve
from painted import Faults, PaintedModel
from PIL import Image

from memreel.benchmarks.recall import Plan, make_take
from memreel.benchmarks.recallbench.accuracy import reader_accuracy
from memreel.benchmarks.recallbench.judges import ChatJudge, WorldReader, in_order
from memreel.benchmarks.recallbench.scripts import BenchScript, looks, make_script
from memreel.benchmarks.recallbench.sight import Glance
from memreel.benchmarks.recallbench.strategies import parse_variant
from memreel.configs import load_config
from memreel.configs.schema import AgentConfig
from memreel.errors import ModelError, UserError
from memreel.model.protocol import Pictures, VideoSpec
from memreel.world import palette
from memreel.world.draw import pad_tables, paint
from memreel.world.places import backgrounds
from memreel.world.shapes import table

SCENE = 1


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing")


@pytest.fixture(scope="module")
def script() -> BenchScript:
    """A script with two people in its second scene."""
    return next(s for s in map(make_script, range(40)) if sum(_person(s, key) for key in _there(s)) == 2)


def _there(script: BenchScript) -> list[int]:
    return in_order(script.story, SCENE, script.story.settled(SCENE))


def _person(script: BenchScript, key: int) -> bool:
    return script.story.beings[key].look.kind in palette.PEOPLE


def painted(script: BenchScript) -> Pictures:
    story, t = script.story, script.story.settled(SCENE)
    behind = backgrounds()[palette.PLACES.index(story.scenes[SCENE].place)][None]
    drawn, _ = paint(torch.from_numpy(pad_tables([table(story.rows(SCENE, t))], 80)), behind)
    return np.asarray((drawn[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def told(script: BenchScript, **changes: Any) -> list[dict[str, Any]]:
    """Return the true answer, with changes to the first person's."""
    answer = [
        {"number": number, "visible": True, **looks(script.story.beings[key].look)}
        for number, key in enumerate(_there(script), 1)
    ]
    first = next(i for i, key in enumerate(_there(script)) if _person(script, key))
    answer[first] |= changes
    return answer


def judged(script: BenchScript, *replies: Any) -> tuple[Glance, ChatServer]:
    with serve(*replies) as server:
        judge = ChatJudge("eyes", AgentConfig(base_url=server.base_url, retries=0))
        return judge.look(painted(script), script.story, SCENE, script.story.settled(SCENE)), server


def test_a_true_answer_is_what_the_reader_reads(script: BenchScript) -> None:
    glance, server = judged(script, call("look", asked=told(script)))
    reader = WorldReader().look(painted(script), script.story, SCENE, script.story.settled(SCENE))
    assert glance == reader
    [asked] = server.requests
    text, picture = asked["messages"][0]["content"]
    assert Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",")[1]))).size == (192, 112)
    truth = [value for key in _there(script) for value in looks(script.story.beings[key].look).values()]
    assert "1. a" in text["text"]
    assert all(value in text["text"] for value in truth)
    assert not any(script.story.beings[key].name in text["text"] for key in _there(script) if _person(script, key))


def test_who_is_wrong_not_there_or_twice_is_told_apart(script: BenchScript) -> None:
    first, second = (key for key in _there(script) if _person(script, key))
    other = looks(script.story.beings[second].look)
    clone, _ = judged(script, call("look", asked=told(script, **other)))
    assert clone.twice == [second]
    gone, _ = judged(script, call("look", asked=told(script, visible=False)))
    assert gone.shown[first] is None
    stranger, _ = judged(
        script, call("look", asked=told(script), others=[{"hair": "red", "top": "pink", "hat": "none"}])
    )
    assert stranger.others == [{"hair": "red", "top": "pink", "hat": "none"}]
    unclear, _ = judged(script, call("look", asked=told(script, hat="unclear")))
    assert unclear.shown[first] == {**looks(script.story.beings[first].look), "hat": "unclear"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hair": "mauve"}, "'mauve', not one of black"),
        ({"number": 9}, "were not asked for"),
        ({"visible": "…"}, "visible"),
    ],
)
def test_an_answer_that_will_not_do_is_sent_back_with_its_fault(
    script: BenchScript, wrong: dict[str, Any], says: str
) -> None:
    glance, server = judged(
        script, call("look", asked=told(script, **wrong)), Text(json.dumps({"asked": told(script)}))
    )
    assert says in server.requests[1]["messages"][-1]["content"]
    assert None not in glance.shown.values()


def test_a_judge_without_an_answer_stops_the_benchmark(script: BenchScript) -> None:
    with pytest.raises(ModelError, match=r"'eyes' gave no answer .*goes on"):
        judged(script, Text("I would rather not."))


def reads(asked: dict[str, Any]) -> Tool:
    """Answer from the picture: what the reader sees of each kind that the question asks for, wherever it stands."""
    text, picture = asked["messages"][0]["content"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",")[1]))))
    kinds = re.findall(r"^(\d+)\. an? (\w+):", text["text"], re.M)
    return answer_of(pixels, [(int(number), kind) for number, kind in kinds])


def answer_of(pixels: Pictures, wanted: list[tuple[int, str]]) -> Tool:
    from memreel.world.reader import find_faces

    best = max((find_faces(pixels / np.float32(255), place) for place in palette.PLACES), key=len)
    faces = sorted(best, key=lambda face: face.x)
    asked = []
    for number, kind in wanted:
        if kind in palette.PEOPLE and faces:
            face = faces.pop(0)
            asked.append({"number": number, "visible": True, "hair": face.hair, "top": face.top, "hat": face.hat})
        else:
            asked.append({"number": number, "visible": False})
    return call("look", asked=asked)


def test_a_film_is_measured_by_the_judges_eyes() -> None:
    script = next(s for s in map(make_script, range(40)) if s.archetype == "solo")
    settings = ["chunks_per_prompt=7", "memory.presence=0.2", "memory.presence_ratio=0.5"]
    with serve(reads) as server:
        config = load_config("sketch", [*settings, f"agent.base_url={server.base_url}", "agent.model=null"])
        model = PaintedModel([script], Faults())
        plan = Plan(config, (), judge="eyes")
        take = make_take(plan, script.number, parse_variant("identity@gold"), model)
    people = [case for case in take.cases if case.person]
    assert people
    assert [case.shown for case in people] == [case.truth for case in people]
    assert len(server.requests) >= len(script.prompts)


def test_a_chat_judge_takes_pictures_of_any_size_and_the_reader_its_own_only() -> None:
    wan = VideoSpec(832, 480, 16, 16, 60, 104)
    ChatJudge("eyes", AgentConfig()).check(wan)
    with pytest.raises(UserError, match="832 x 480: name a chat model that sees with --judge"):
        WorldReader().check(wan)


def test_a_judges_own_accuracy_is_measured_on_painted_truth() -> None:
    scripts = [make_script(number) for number in range(3)]
    with serve(lambda _: call("look", asked=[])) as server:
        blind = reader_accuracy(scripts, ChatJudge("eyes", AgentConfig(base_url=server.base_url)))
    assert blind["all"]["mean"] == 0.0
    assert reader_accuracy(scripts, WorldReader())["all"]["mean"] > 0.98
