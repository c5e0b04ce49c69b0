"""The eye that asks a vision model: who is to be seen, whether they look right, what a reference picture shows.

Any chat model that takes pictures will do; it is asked for structured answers. Where it gives none, the picture counts
as one about which nothing is known, and likeness decides (`memreel.film.likeness`). A picture is sent as a small JPEG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import HumanMessage
from PIL import Image
from pydantic import BaseModel, Field

from memreel.agent.llm import Chat
from memreel.configs.schema import AgentConfig
from memreel.film.asking import NoAnswer, ask_for, texts
from memreel.film.likeness import MIDDLE
from memreel.film.sight import Sight, Wanted
from memreel.model.protocol import Pictures

LONGEST_SIDE = 768
QUALITY = 85
KEPT = 64
"""Answers that are remembered, by picture and question: the same one is not paid for twice."""


class Seen(BaseModel):
    """What is to be seen of one of those asked for."""

    number: int = Field(description="The number it was asked for under.")
    visible: float = Field(ge=0, le=1, description="0: not there; 1: plainly there.")
    wrong: list[str] = Field(default_factory=list, description="Its attributes that are wrong or missing, as worded.")
    box: list[float] = Field(default_factory=list, max_length=4, description="left, top, right, bottom in 0..1.")


class Look(BaseModel):
    """Who and what is to be seen."""

    seen: list[Seen]


class Described(BaseModel):
    """What a picture shows."""

    caption: str = Field(min_length=1)
    attributes: list[str] = Field(default_factory=list, max_length=12)


class ChatEye:
    """Looks through a vision model."""

    sees = True

    def __init__(self, model: str, config: AgentConfig) -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            UserError: there is neither a key nor the address of a server.
        """
        self.name = model
        self.notes: list[str] = []
        """What a record should keep: answers sent back, pictures that could not be looked at."""
        self.chat = Chat(model, config)
        self._kept: dict[tuple[bytes, str], dict[int, Sight]] = {}

    def look(self, picture: Pictures, wanted: Mapping[int, Wanted], story: str = "") -> dict[int, Sight]:
        """Ask who is to be seen and how much of their looks is right."""
        if not wanted:
            return {}
        lines = [f"{number}. {want.name}: {', '.join(want.looks) or want.phrase}" for number, want in wanted.items()]
        question = texts()["compare"].replace("{wanted}", "\n".join(lines)).replace("{story}", story)
        jpeg = as_jpeg(picture)
        if (jpeg, question) in self._kept:
            return self._kept[jpeg, question]
        try:
            answer = self._ask(question, jpeg, wanted)
        except NoAnswer as error:
            self.notes.append(f"{self.name}: {error}; likeness alone decided")
            return {number: Sight(0.5, box=MIDDLE) for number in wanted}
        while len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[jpeg, question] = answer
        return answer

    def _ask(self, question: str, jpeg: bytes, wanted: Mapping[int, Wanted]) -> dict[int, Sight]:
        """Ask about a picture.

        Raises:
            NoAnswer: there was no answer that can be used.
        """
        message = with_picture(question, jpeg)
        return ask_for(self.chat, [message], Look, "look", lambda look: _by_number(look, wanted), self.notes)

    def describe(self, picture: Pictures, hint: str) -> tuple[str, tuple[str, ...]]:
        """Ask what a reference picture shows; its file's name stands in where there is no answer."""
        question = texts()["describe"].replace("{hint}", f"Its file is called '{hint}'." if hint else "")
        try:
            described = ask_for(
                self.chat, [with_picture(question, as_jpeg(picture))], Described, "describe", lambda d: d, self.notes
            )
        except NoAnswer as error:
            self.notes.append(f"{self.name}: {error}; the picture goes by its file's name")
            return hint, ()
        return described.caption, tuple(look.strip() for look in described.attributes if look.strip())


def _by_number(look: Look, wanted: Mapping[int, Wanted]) -> dict[int, Sight]:
    """Return an answer by global ID; who is not mentioned is not there.

    Raises:
        ValueError: a number that was not asked for.
    """
    if strangers := {seen.number for seen in look.seen} - set(wanted):
        raise ValueError(f"numbers {sorted(strangers)} were not asked for")
    sights = {number: Sight(0.0, 0.0, want.looks) for number, want in wanted.items()}
    for seen in look.seen:
        want = wanted[seen.number]
        if seen.visible <= 0:
            continue
        wrong = _wrong(seen.wrong, want.looks)
        likeness = 1 - len(wrong) / len(want.looks) if want.looks else None
        sights[seen.number] = Sight(seen.visible, likeness, wrong, _box(seen.box))
    return sights


def _wrong(told: Sequence[str], looks: Sequence[str]) -> tuple[str, ...]:
    """Return the looks that the model calls wrong, in whatever words it repeats them."""
    said = [word.casefold() for word in told]
    return tuple(look for look in looks if any(look.casefold() in one or one in look.casefold() for one in said if one))


def _box(told: Sequence[float]) -> tuple[float, float, float, float] | None:
    if len(told) != 4 or not all(0 <= value <= 1 for value in told) or told[0] >= told[2] or told[1] >= told[3]:
        return None
    return told[0], told[1], told[2], told[3]


def with_picture(question: str, jpeg: bytes) -> HumanMessage:
    """Return a question about a picture as a chat model takes it."""
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    content: list[str | dict[str, Any]] = [
        {"type": "text", "text": question},
        {"type": "image_url", "image_url": {"url": uri}},
    ]
    return HumanMessage(content)


def as_jpeg(picture: Pictures) -> bytes:
    """Return a picture as a JPEG of at most `LONGEST_SIDE`."""
    image = Image.fromarray(picture)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
