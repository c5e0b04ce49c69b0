"""A scene's text rewritten after a take that failed, by what was wrong with it.

What failed is read off the score: looks that are not as they should be, who was not to be seen, a place or a join that
does not fit. A chat model rewrites the scene around that where one is configured; otherwise, or where its text drops
somebody, the rules do: what came out wrong is said first and plainly. Scores are made elsewhere, and how a text becomes
a request is `memreel.film.prompting`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import HumanMessage
from pydantic import BaseModel, Field

from memreel.agent.llm import Chat
from memreel.film.asking import NoAnswer, ask_for, texts
from memreel.film.memory import clause
from memreel.film.plan import Scene
from memreel.film.state import Take
from memreel.memory.records import BankState

LOW = 0.6
"""A part of the score below which the text says what should have been."""
LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Fault:
    """What failed, in words for a chat model, and what the text should say instead.

    ``whose`` is the global ID of the one who came out wrong, ``None`` where it was the place or the join.
    """

    what: str
    instead: str
    whose: int | None = None


class Rewritten(BaseModel):
    """The scene's text, rewritten."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="The whole scene, rewritten.")


def faults(take: Take, scene: Scene, bank: BankState) -> list[Fault]:
    """Return what a judged take's score says is wrong, people first."""
    score = take["score"]
    if score is None:
        return []
    found = []
    for key in {**score["entities"], **score["wrong"]}:
        member, wrong, worth = bank["cast"][key], score["wrong"].get(key, []), score["entities"].get(key, 1.0)
        name = member["name"][:1].upper() + member["name"][1:]
        if worth <= 0:
            told = f"{name} is plainly to be seen, all the time."
            looks = clause(name, member["all_attrs"])
            found.append(Fault(f"{name} was not to be seen.", f"{looks} {told}", int(key)))
        elif wrong:
            found.append(Fault(f"{name} did not have: {', '.join(wrong)}.", clause(name, wrong), int(key)))
        elif worth < 1:
            found.append(Fault(f"{name} did not look as before.", clause(name, member["all_attrs"]), int(key)))
    place = scene.environment
    if place and score["spatial"] is not None and score["spatial"] < LOW:
        found.append(Fault("The place did not look as before.", f"The same {_bare(place)} as before."))
    if score["temporal"] is not None and score["temporal"] < LOW:
        found.append(Fault("It did not go on from the scene before.", "Nothing has moved since the scene before."))
    return found


def corrected(text: str, wrong: Sequence[Fault], chat: Chat | None, notes: list[str]) -> str:
    """Return a scene's text, rewritten so that what failed comes out right; the same text if nothing did.

    Args:
        text: the scene's text, as it was filmed.
        wrong: what failed.
        chat: who rewrites it; ``None``: the rules.
        notes: takes what a record should keep.
    """
    if not wrong:
        return text
    if chat is not None:
        question = texts()["rewrite"].format(
            scene=text, faults="\n".join(f"- {fault.what} It should be: {fault.instead}" for fault in wrong)
        )
        names = [fault.instead.split(":")[0] for fault in wrong if fault.whose is not None]

        def usable(answer: Rewritten) -> str:
            missing = [name for name in names if name.casefold() not in answer.text.casefold()]
            if missing:
                raise ValueError(f"the text no longer speaks of {', '.join(missing)}")
            return answer.text.strip()

        try:
            return ask_for(chat, [HumanMessage(question)], Rewritten, "rewrite", usable, notes)
        except NoAnswer as error:
            notes.append(f"{chat.name}: {error}; the text was corrected by rules")
    first = [fault.instead for fault in wrong if fault.instead not in text]
    return " ".join([*first, text])


def _bare(place: str) -> str:
    first, _, rest = place.partition(" ")
    return rest if first.lower() in ("a", "an", "the") and rest else place
