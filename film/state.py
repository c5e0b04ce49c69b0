"""The film graph's state: the plan, the cast and bank, what is due and what is done, as small JSON.

It is the truth of where a film stands, so a film that was stopped goes on from its last checkpoint. Clips and pictures
lie in the film's folder under their keys; models live in the process. What grows is one record a take.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from memreel.film.consistency import Score
from memreel.memory.records import BankState


class FilmInput(TypedDict):
    """What a caller gives: an idea, a script's prompts or a finished plan, one of them; the rest has defaults.

    ``refs`` are paths of reference pictures; ``film_id`` names the folder inside the context's ``out``.
    """

    idea: NotRequired[
        Annotated[str, Field(description="What the film shows, in a sentence or more: people, looks, places, events.")]
    ]
    prompts: NotRequired[Annotated[list[str], Field(description="Instead of an idea: a script, one text a scene.")]]
    plan: NotRequired[Annotated[dict[str, Any], Field(description="Instead of an idea: a finished plan.")]]
    seconds: NotRequired[Annotated[float | None, Field(description="Playing time, 6 to 600 seconds; by default 45.")]]
    refs: NotRequired[Annotated[list[str], Field(description="Paths of reference pictures of people and things.")]]
    film_id: NotRequired[Annotated[str, Field(description="Name of the film's folder; derived if left out.")]]


class Due(TypedDict):
    """A take that is to be made: of which scene, the how-manieth.

    A retake knows whose looks are to be stressed, by global ID, and the scene's ``text`` as corrected; else it is "".
    """

    scene: int
    take: int
    stressed: list[int]
    text: str


class Take(TypedDict):
    """A clip that was made for a scene, with what went into it and what it is worth.

    ``text`` is the scene's as corrected, or ""; ``repeats`` are pictures at the clip's beginning that show the end of
    the scene before once more; ``references`` are ids of memory frames; ``sent_bytes`` is the size of all pictures that
    went along; ``score`` is ``None`` until it was judged.
    """

    scene: int
    take: int
    key: str
    path: str
    seconds: float
    repeats: int
    text: str
    provider: str
    model: str
    usd: float
    credits: float
    prompt: str
    references: list[str]
    sent_bytes: int
    notes: list[str]
    score: Score | None


class FilmState(TypedDict, total=False):
    """The state between two nodes; a key is absent until the node that sets it has run.

    Attributes:
        idea: what the film is to show, in words.
        prompts: a script's prompts, if one was given instead.
        plan: the plan, see `memreel.film.plan.Plan`.
        seconds: the playing time that was asked for.
        refs: paths of the reference pictures.
        film_id: name of the film's folder.
        planned_by: who made the plan: a chat model's name, "rules" or "user".
        approved: whether the plan may be shot.
        bank: cast, memory frames and scenes as prompts.
        read: scenes whose entities are in the bank.
        due: takes that are to be made now.
        made: takes that are made and not yet judged.
        takes: every judged take.
        shots: the chosen take of each scene that is done, in order.
        logged: lines of the film's event log that this state accounts for.
        video: path of the finished film.
    """

    idea: str
    prompts: list[str]
    plan: dict[str, Any]
    seconds: float | None
    refs: list[str]
    film_id: str
    planned_by: str
    approved: bool
    bank: BankState
    read: int
    due: list[Due]
    made: list[Take]
    takes: list[Take]
    shots: list[Take]
    logged: int
    video: str
