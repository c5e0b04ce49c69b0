"""Who reads the benchmark's pictures: the reader of the drawn world, or a chat model that sees, for any other picture.

Nobody may, too, where crops alone are to tell (`memreel.benchmarks.recallbench.crops`). The others both answer the same
question, who of those that should be there is to be seen and how each looks, so that every figure means the same
whoever judged. The reader knows where everybody should stand; a chat model is told the order from left to right instead
and chooses each value from a list. Its own accuracy is measured on painted truth like the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, Field

from memreel.benchmarks.recallbench.scripts import looks
from memreel.benchmarks.recallbench.sight import Glance, compared, look_at
from memreel.configs.schema import AgentConfig
from memreel.errors import ModelError, UserError
from memreel.model.protocol import Pictures, VideoSpec
from memreel.world import palette
from memreel.world.draw import HEIGHT, WIDTH
from memreel.world.shapes import Look
from memreel.world.stories import Story, pose_at

READER = "reader"
"""The name of the drawn world's reader."""
NOBODY = "nobody"
"""The name of no judge."""
NOT_SEEN = "unclear"
"""What a chat model says of an attribute that cannot be made out; it counts as wrong."""
QUESTION = """This is one picture of a video. These should be in it, numbered from left to right:
{wanted}
For each number say whether it is in the picture, and how it looks in the picture, whatever it should look like: choose
each value from the list given for it, or '{unclear}' if it cannot be made out. Then list the people in the picture who
are none of these, in the same way."""


class Judge(Protocol):
    """Reads pictures for the benchmark."""

    name: str

    def check(self, spec: VideoSpec) -> None:
        """Refuse a video model whose pictures cannot be read.

        Raises:
            UserError: its pictures are of a size that the judge does not know.
        """

    def look(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> Glance:
        """Read a picture ``[height, width, 3]`` of second ``t`` of a scene; see `memreel.benchmarks.recallbench.sight`.

        Raises:
            ModelError: there is no answer.
        """


class WorldReader:
    """The deterministic reader of the drawn world."""

    name = READER

    def check(self, spec: VideoSpec) -> None:
        """Refuse pictures of another size than the world is drawn in."""
        if (spec.width, spec.height) != (WIDTH, HEIGHT):
            raise UserError(
                f"the reader of the drawn world needs pictures of {WIDTH} x {HEIGHT}, the video model makes "
                f"{spec.width} x {spec.height}: name a chat model that sees with --judge, or a detector and an encoder "
                "with --crops"
            )

    def look(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> Glance:
        """Read a picture."""
        return look_at(picture, story, scene, t, offset)


class Nobody:
    """Reads nothing."""

    name = NOBODY

    def check(self, spec: VideoSpec) -> None:
        """Take pictures of any size."""

    def look(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> Glance:
        """Return who should be there, nobody's look."""
        del picture, offset
        return Glance(dict.fromkeys(in_order(story, scene, t)), [], [], None)


class Figure(BaseModel):
    """How one of those in the picture looks: only what was asked for."""

    hair: str | None = None
    top: str | None = None
    hat: str | None = None
    colour: str | None = None


class Numbered(Figure):
    """One of those asked for."""

    number: int
    visible: bool


class Reading(BaseModel):
    """Who is in the picture, and how each looks."""

    asked: list[Numbered]
    others: list[Figure] = Field(default_factory=list, description="People who are none of those asked for.")


class ChatJudge:
    """A chat model that sees."""

    def __init__(self, model: str, config: AgentConfig) -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            UserError: there is neither a key nor the address of a server.
        """
        from memreel.agent.llm import Chat

        self.name = model
        self.notes: list[str] = []
        self._chat = Chat(model, config)

    def check(self, spec: VideoSpec) -> None:
        """Take pictures of any size."""

    def look(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> Glance:
        """Ask about a picture; positions are not used."""
        from memreel.film.asking import NoAnswer, ask_for
        from memreel.film.vision import as_jpeg, with_picture

        del offset
        order = in_order(story, scene, t)
        if not order:
            return Glance({}, [], [], None)
        wanted = {number: story.beings[key].look for number, key in enumerate(order, 1)}
        lines = [f"{number}. a {look.kind}: {_lists(look)}" for number, look in wanted.items()]
        question = QUESTION.format(wanted="\n".join(lines), unclear=NOT_SEEN)
        message = with_picture(question, as_jpeg(picture))
        try:
            reading = ask_for(self._chat, [message], Reading, "look", lambda told: _checked(told, wanted), self.notes)
        except NoAnswer as error:
            raise ModelError(f"the judge '{self.name}' gave no answer ({error}); the same command goes on") from None
        shown = {order[number - 1]: found for number, found in reading[0].items()}
        return compared(story, shown, [key for key in order if _is_person(story.beings[key].look)], reading[1])


def judge_for(name: str, config: AgentConfig) -> Judge:
    """Return the reader of the drawn world, nobody, or the chat model of that name at the agent's address.

    Raises:
        UserError: a chat model is named, and there is neither a key nor the address of a server.
    """
    if name == NOBODY:
        return Nobody()
    return WorldReader() if name == READER else ChatJudge(name, config)


def in_order(story: Story, scene: int, t: float) -> list[int]:
    """Return who and what is to be seen at second ``t`` of a scene, from left to right; a thing after who holds it."""
    seen = story.visible(scene, t)
    spots = [spot for spot in story.scenes[scene].spots if spot.key in seen]
    spots.sort(key=lambda spot: pose_at(spot.start, spot.x, spot.action, spot.phase, t).x)
    return [key for spot in spots for key in (spot.key, spot.holds) if key is not None]


def _is_person(look: Look) -> bool:
    return look.kind in palette.PEOPLE


def _values(look: Look) -> Mapping[str, Sequence[str]]:
    """Return what each attribute of such a figure or thing can be."""
    if _is_person(look):
        return {"hair": list(palette.HAIR), "top": list(palette.TOP), "hat": list(palette.HAT)}
    return {"colour": list(palette.FUR if look.kind in palette.ANIMALS else palette.TOP)}


def _lists(look: Look) -> str:
    return "; ".join(f"{name} is one of {', '.join(values)}" for name, values in _values(look).items())


def _checked(
    told: Reading, wanted: Mapping[int, Look]
) -> tuple[dict[int, dict[str, str] | None], list[dict[str, str]]]:
    """Return an answer by number, and the others; who is not spoken of is not there.

    Raises:
        ValueError: a number that was not asked for, or a value that is in no list.
    """
    if strangers := {one.number for one in told.asked} - set(wanted):
        raise ValueError(f"numbers {sorted(strangers)} were not asked for")
    shown: dict[int, dict[str, str] | None] = dict.fromkeys(wanted)
    for one in told.asked:
        if one.visible:
            shown[one.number] = _attributes(one, wanted[one.number], f"number {one.number}")
    return shown, [_attributes(one, Look("woman"), "one of the others") for one in told.others]


def _attributes(told: Figure, look: Look, whose: str) -> dict[str, str]:
    found = {}
    for name, values in _values(look).items():
        value = str(getattr(told, name) or NOT_SEEN).casefold()
        if value not in (*values, NOT_SEEN):
            raise ValueError(f"{name} of {whose} is '{value}', not one of {', '.join(values)} or {NOT_SEEN}")
        found[name] = value
    return found


assert all(name in Figure.model_fields for kind in ("woman", "dog") for name in looks(Look(kind)))
