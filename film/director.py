"""Planning with a chat model: one structured answer becomes a plan whose lengths are made to fit.

The model chooses scenes, words and pictures; the arithmetic is done here: lengths in whole chunks that sum to what was
asked for, key frames where it gave none. An answer that is no plan goes back with what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field

from memreel.agent.llm import Chat
from memreel.errors import UserError
from memreel.film.asking import NoAnswer, ask_for, texts
from memreel.film.plan import (
    CHUNK_SECONDS,
    LONGEST_SCENE,
    Camera,
    Character,
    KeyFrame,
    Plan,
    Scene,
    Transition,
    check_plan,
    key_frames,
    scene_count,
    scene_seconds,
)
from memreel.film.planning import Given, Pace
from memreel.film.state import FilmState

TOOL = "film_plan"


class CannotPlan(Exception):
    """The chat model gave no plan; the message is fit for the record."""


class DirectedScene(BaseModel):
    """One scene."""

    seconds: float = Field(9.0, gt=0, description="About how long.")
    text: str = Field(min_length=1, description="What is to be seen.")
    characters: list[str] = Field(default_factory=list, description="Names of those in it.")
    environment: str = Field("", description="Where: 'a quiet library'.")
    lighting: str = ""
    camera: Camera = Field(default_factory=Camera)
    transition: Transition = "cut"
    key_frames: list[KeyFrame] = Field(default_factory=list)


class DirectedPlan(BaseModel):
    """The plan of a film."""

    title: str = Field(min_length=1)
    style: str = ""
    palette: list[str] = Field(default_factory=list)
    characters: list[Character] = Field(default_factory=list)
    scenes: list[DirectedScene] = Field(min_length=1)


def plan_by_chat(chat: Chat, state: FilmState, given: Sequence[Given], pace: Pace, notes: list[str]) -> Plan:
    """Let a chat model plan an idea or a script.

    Raises:
        CannotPlan: it gave no usable plan in time.
    """
    script = state.get("prompts")
    idea = "\n".join(script) if script else state["idea"]
    wanted = state.get("seconds")
    total = wanted if wanted is not None else 9.0 * len(script or [""])
    scenes = scene_count(total, pace.most)
    rules = texts()["director"].format(scenes=scenes, seconds=f"{total:g}", each=f"{total / scenes:.0f}")
    pictures = "\n".join(f"Reference picture {one.path.name}: {one.caption}" for one in given)
    task = texts()["director_task"].format(
        what="A script, a prompt a line" if script else "An idea",
        idea=idea.replace("</idea>", ""),
        pictures=pictures,
        seconds=f"{total:g}",
    )

    def usable(answer: DirectedPlan) -> Plan:
        return fitted(answer, total, scenes, pace)

    try:
        return ask_for(chat, [SystemMessage(rules), HumanMessage(task)], DirectedPlan, TOOL, usable, notes)
    except NoAnswer as error:
        raise CannotPlan(str(error)) from None


def fitted(answer: DirectedPlan, total: float, scenes: int, pace: Pace) -> Plan:
    """Return an answer as a plan of the asked length.

    Raises:
        ValueError: it is none: too few or too many scenes, names that nobody has, a wrong transition.
    """
    if not max(1, scenes - 2) <= len(answer.scenes) <= scenes + 2:
        raise ValueError(f"{len(answer.scenes)} scenes; give {scenes}")
    lengths = weighed_seconds([scene.seconds for scene in answer.scenes], total, pace.most)
    parts = [
        Scene(
            **scene.model_dump(exclude={"seconds", "key_frames", "camera"}),
            seconds=length,
            camera=scene.camera,
            key_frames=_moments(scene.key_frames, length, pace),
        ).model_dump(mode="json")
        for scene, length in zip(answer.scenes, lengths, strict=True)
    ]
    if parts:
        parts[0]["transition"] = "cut"
    values = json.loads(answer.model_dump_json(exclude={"scenes"})) | {"scenes": parts}
    try:
        return check_plan(values, "plan")
    except UserError as error:
        raise ValueError(str(error)) from None


def weighed_seconds(wishes: Sequence[float], total: float, most: float = LONGEST_SCENE) -> list[float]:
    """Share ``total`` seconds out in whole chunks by the given weights, within a chunk of it in all.

    Where a scene would be longer than ``most``, the clip model's longest clip, all are as long as each other.
    """
    even = scene_seconds(total, len(wishes), most)
    if max(wishes) - min(wishes) < CHUNK_SECONDS:
        return even
    chunks, whole, ends, at = round(sum(even) / CHUNK_SECONDS), sum(wishes), [0], 0.0
    for number, wish in enumerate(wishes, start=1):
        at += wish
        left = len(wishes) - number
        ends.append(min(max(ends[-1] + 1, round(chunks * at / whole)), chunks - left))
    lengths = [CHUNK_SECONDS * (after - before) for before, after in pairwise(ends)]
    return lengths if max(lengths) <= most else even


def _moments(told: Sequence[KeyFrame], seconds: float, pace: Pace) -> list[KeyFrame]:
    """Return the key frames: those at the usual density, and those that were told of."""
    usual = {frame.at: frame for frame in key_frames(seconds, pace.key_frames, pace.anchor_every)}
    for frame in told:
        if frame.at < seconds:
            nearest = min(usual, key=lambda at: abs(at - frame.at))
            anchor = frame.anchor or usual[nearest].anchor
            usual[nearest] = usual[nearest].model_copy(update={"shows": frame.shows, "anchor": anchor})
    return [usual[at] for at in sorted(usual)]
