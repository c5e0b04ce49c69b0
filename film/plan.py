"""The plan of a film: what a planner writes, a user edits as YAML, and the film is made by.

`Plan` is the one description of the file; `plan_yaml` writes it, `read_plan` reads it back and names file, line and
field of whatever is wrong. The module knows nothing of who makes a plan or of how a film is shot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from memreel.errors import UserError, did_you_mean
from memreel.film.clips.protocol import Ratio
from memreel.memory.records import Kind

CHUNK_SECONDS = 0.75
"""The step in which scenes are timed: 12 pictures at 16 a second."""
SHORTEST_FILM, LONGEST_FILM = 6.0, 600.0
LONGEST_SCENE = 60.0
LONGEST_SHOT = 10.0
"""Seconds that a scene lasts at most where nobody says how long it lasts."""
MOST_SCENES = 200

Transition = Literal["cut", "crossfade", "continuation"]
Text = Field(default="", max_length=4000)


class Part(BaseModel):
    """What all parts share: no unknown fields, blanks around a text removed."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Character(Part):
    """Somebody or something that must look the same in every scene; it enters the cast under its name."""

    name: str = Field(min_length=1, max_length=80)
    kind: Kind = "character"
    attributes: list[str] = Field(default_factory=list, max_length=12)


class Camera(Part):
    """Where the camera stands and how it moves."""

    angle: str = Field(default="medium shot", max_length=200)
    movement: str = Field(default="static", max_length=200)


class KeyFrame(Part):
    """A moment of a scene, in seconds from its beginning, at which its pictures are looked at.

    The memory takes its pictures from all of them; the anchors are what later scenes of the same place are compared
    with.
    """

    at: float = Field(ge=0)
    anchor: bool = False
    shows: str = Text


class Scene(Part):
    """One segment of the film. ``transition`` says how it begins: it joins the scene before to this one."""

    seconds: float = Field(ge=CHUNK_SECONDS, le=LONGEST_SCENE)
    text: str = Field(min_length=1, max_length=4000)
    characters: list[str] = Field(default_factory=list)
    environment: str = Text
    lighting: str = Text
    camera: Camera = Field(default_factory=Camera)
    transition: Transition = "cut"
    key_frames: list[KeyFrame] = Field(default_factory=list, max_length=200)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Put the key frames in order."""
        self.key_frames = sorted(self.key_frames, key=lambda frame: frame.at)
        return self


class Plan(Part):
    """A whole film: style, cast and scenes in order."""

    title: str = Field(min_length=1, max_length=200)
    style: str = Text
    palette: list[str] = Field(default_factory=list, max_length=12)
    ratio: Ratio = "16:9"
    characters: list[Character] = Field(default_factory=list, max_length=24)
    scenes: list[Scene] = Field(min_length=1, max_length=MOST_SCENES)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse what only the whole shows: names twice, names nobody has, key frames past the end."""
        for place, message in self._faults():
            raise ValueError(f"@{place}@{message}")
        return self

    def _faults(self) -> list[tuple[str, str]]:
        faults: list[tuple[str, str]] = []
        names = [character.name for character in self.characters]
        for number, name in enumerate(names):
            if name.casefold() in [other.casefold() for other in names[:number]]:
                faults.append((f"characters.{number}.name", f"'{name}' is there twice; give each a name of its own"))
        if self.scenes[0].transition != "cut":
            faults.append(("scenes.0.transition", "the first scene has none before it; it must be 'cut'"))
        for number, scene in enumerate(self.scenes):
            for place, name in enumerate(scene.characters):
                if name not in names:
                    cure = did_you_mean(name, names) or f"; characters: {', '.join(names) or 'none'}"
                    faults.append((f"scenes.{number}.characters.{place}", f"'{name}' is no character{cure}"))
            for place, frame in enumerate(scene.key_frames):
                if frame.at >= scene.seconds:
                    end = f"the scene ends at {scene.seconds:g}"
                    faults.append((f"scenes.{number}.key_frames.{place}.at", f"{frame.at:g}: {end}"))
        return faults

    @property
    def seconds(self) -> float:
        """Playing time of all scenes."""
        return sum(scene.seconds for scene in self.scenes)


def key_frames(seconds: float, density: float, every: int) -> list[KeyFrame]:
    """Return a scene's key frames: ``density`` a second from its beginning, every ``every``-th an anchor."""
    count = max(1, math.ceil(seconds * density - 1e-9))
    return [KeyFrame(at=round(n / density, 3), anchor=n % every == 0) for n in range(count)]


def with_key_frames(plan: Plan, density: float, every: int) -> Plan:
    """Return the plan with key frames of this density in every scene that has none of its own."""
    scenes = [
        scene
        if scene.key_frames
        else scene.model_copy(update={"key_frames": key_frames(scene.seconds, density, every)})
        for scene in plan.scenes
    ]
    return plan.model_copy(update={"scenes": scenes})


def scene_count(total: float, most: float = LONGEST_SHOT) -> int:
    """Return into how many scenes of 8 to 10 seconds a film is cut, none of them longer than ``most``."""
    chunks = round(total / CHUNK_SECONDS)
    return max(1, round(total / 9), math.ceil((chunks - 1) / _fitting(most)))


def scene_seconds(total: float, scenes: int, most: float = LONGEST_SHOT) -> list[float]:
    """Share ``total`` seconds out in whole chunks, as evenly as can be; the sum is within a chunk of it.

    Three scenes of 10 s at most have no room for the last of 40 chunks: it is left out rather than a scene be too long
    for the clip model. With fewer scenes than `scene_count` says, they are as long as they have to be.
    """
    chunks = max(scenes, round(total / CHUNK_SECONDS))
    if chunks == scenes * _fitting(most) + 1:
        chunks -= 1
    return [CHUNK_SECONDS * ((n + 1) * chunks // scenes - n * chunks // scenes) for n in range(scenes)]


def _fitting(most: float) -> int:
    """Return the whole chunks that a scene of at most so many seconds has."""
    return max(1, int(min(most, LONGEST_SHOT) / CHUNK_SECONDS + 1e-6))


def require_seconds(total: float) -> float:
    """Return a film's length if it is one that can be planned.

    Raises:
        UserError: too short or too long.
    """
    if not SHORTEST_FILM <= total <= LONGEST_FILM:
        raise UserError(
            f"--seconds {total:g}: a film is planned for {SHORTEST_FILM:g} to {LONGEST_FILM:g} seconds; "
            + ("for a single short clip use memreel run" if total < SHORTEST_FILM else "make several films of it")
        )
    return total


def plan_yaml(plan: Plan) -> str:
    """Return the plan as the YAML that `read_plan` takes, with a line on how to go on."""
    values = plan.model_dump(mode="json")
    for frame in (frame for scene in values["scenes"] for frame in scene["key_frames"]):
        if not frame["shows"]:
            del frame["shows"]
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    head = (
        f"# {len(plan.scenes)} scenes, {plan.seconds:g} s. Edit, then: memreel film plan.yaml --out DIR\n"
        "# transition: cut (new shot, same looks) | crossfade | continuation (goes on from the last picture)\n"
    )
    return head + body


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        UserError: missing, not UTF-8, not YAML, an unknown or wrong field; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such plan; make one with memreel plan") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save the plan as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    return parse_plan(text, str(path))


def parse_plan(text: str, label: str) -> Plan:
    """Check a plan in YAML; ``label`` says in a message where it came from.

    Raises:
        UserError: as `read_plan`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{label}{line}: not YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{label}: must be a plan with 'title' and 'scenes'; memreel plan prints one")
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{label}, {_complaint(error, tree)}") from None


def check_plan(values: Any, label: str) -> Plan:
    """Check a plan given as JSON values (a chat model's, or a state's).

    Raises:
        UserError: a field is unknown or wrong; the message names it.
    """
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{label}: {_complaint(error, None)}") from None


def _complaint(error: ValidationError, tree: yaml.Node | None) -> str:
    told = error.errors(include_url=False)
    first = next(
        (one for one in told if one["type"] == "extra_forbidden"), told[0]
    )  # a typo makes a missing one as well
    place, reason = tuple(first["loc"]), first["msg"]
    if first["type"] == "value_error" and reason.startswith("Value error, @"):
        _, dotted, reason = reason.split("@", 2)
        place = tuple(int(part) if part.isdecimal() else part for part in dotted.split("."))
    elif first["type"] == "extra_forbidden":
        known = _known_fields(place[:-1])
        reason = f"unknown field{did_you_mean(str(place[-1]), known) or '; known: ' + ', '.join(known)}"
    else:
        reason = reason[0].lower() + reason[1:]
        if first["type"] != "missing":
            reason += f", not {first['input']!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    line = f"line {_line(tree, place)}: " if tree is not None else ""
    return f"{line}{dotted_place(place)}: {reason}{more}"


def dotted_place(place: Sequence[int | str]) -> str:
    """Return a field's place as a reader counts: ``scenes.2.camera`` is in the second scene."""
    return ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in place) or "the plan"


def _known_fields(place: Sequence[int | str]) -> list[str]:
    """Return the fields of the part at ``place``."""
    parts: dict[str, type[Part]] = {
        "scenes": Scene,
        "characters": Character,
        "camera": Camera,
        "key_frames": KeyFrame,
    }
    names = [part for part in place if isinstance(part, str)]
    part: type[Part] = parts.get(names[-1], Plan) if names else Plan
    return list(part.model_fields)


def _line(tree: yaml.Node | None, place: Sequence[int | str]) -> int:
    """Return the line (from 1) of the deepest node that ``place`` leads to."""
    node, line = tree, 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
