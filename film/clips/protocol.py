"""What every clip model offers: say what it can do, say what a clip would cost, make the clip.

A `ClipModel` turns one `ClipRequest` into one video file. The local stream, a hosted provider, and a router over many
of them are all clip models; the film asks one of them and does not know which. None of them knows of scenes, plans, the
bank or LangGraph: references are pictures with words, chosen by the caller.

Seconds are playing time unless a name says otherwise; money is US dollars; pictures are files on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Event = dict[str, Any]
"""A line for the event log: a ``type`` (``"clip_…"``) and JSON values."""

Emit = Callable[[Event], None]
"""Takes an event while a clip is being made: an adaption, a retry, a failover, a task's progress."""

Ratio = Literal["16:9", "9:16", "1:1"]
Quality = Literal["draft", "standard", "premium"]


@dataclass(frozen=True)
class Reference:
    """A picture of somebody or something that the clip shall show the same way.

    ``tag`` names it in a prompt (``@tag``): 3 to 16 letters, digits or underscores, unique in its request. ``caption``
    says in words what the picture shows. ``frame_id`` is the memory frame's id where the picture is one of the bank's.
    """

    path: Path
    tag: str
    caption: str
    frame_id: str | None = None


@dataclass(frozen=True)
class ClipRequest:
    """One clip that is wanted. A request describes the wish; a model refuses or adapts what it cannot do.

    ``key`` names the wish inside its film (``s03a1``: segment 3, take 1), letters and digits only. The same key is the
    same wish: a task that was already paid for under it is picked up, not paid for again.

    ``first_frame`` asks for a continuation of the picture (the last one of the clip before); ``references`` (best
    first) for the likeness of what they show. A model that cannot do both at once honours ``first_frame``, and says so
    in an event. ``style`` is the plan's visual style, for routing only: it already stands in ``prompt``.

    ``plain`` is the prompt without camera, light and style, for a model that knows only what happens. ``after`` is the
    key of the clip before it in the film, for a model that keeps a stream and goes on from there.
    """

    key: str
    prompt: str
    seconds: float
    seed: int
    ratio: Ratio = "16:9"
    first_frame: Path | None = None
    last_frame: Path | None = None
    references: tuple[Reference, ...] = ()
    quality: Quality = "standard"
    style: str = ""
    plain: str = ""
    after: str = ""


@dataclass(frozen=True)
class Cost:
    """What a clip costs or would cost: dollars, the provider's credits, and the seconds of waiting to be expected."""

    usd: float = 0.0
    credits: float = 0.0
    wall_seconds: float = 0.0


@dataclass(frozen=True)
class Clip:
    """A finished clip: a playable video file and what it took.

    ``seconds`` is the file's playing time, which may be longer than was asked where a provider offers fixed lengths;
    the merge cuts it. ``repeats`` are the pictures at its beginning that show the first frame that was asked for, once
    more. ``provider`` and ``model`` say who made it in the end, failovers included; ``notes`` what was adapted, in
    words for the report.
    """

    path: Path
    seconds: float
    provider: str
    model: str
    cost: Cost = field(default_factory=Cost)
    task_id: str | None = None
    notes: tuple[str, ...] = ()
    repeats: int = 0


@dataclass(frozen=True)
class Capabilities:
    """What a clip model can do; for a router, what at least one of its models can do.

    ``seconds`` are the clip lengths on offer: (shortest, longest), or every length if ``lengths`` is given.
    ``prompt_units`` counts UTF-16 code units. ``references`` is the most pictures in one request (0: none), and
    ``references_with_first_frame`` whether they may stand beside a first frame. ``at_once``
    is how many clips may be under way at the same time.
    """

    seconds: tuple[float, float]
    lengths: tuple[float, ...] = ()
    ratios: tuple[Ratio, ...] = ("16:9",)
    prompt_units: int = 1000
    references: int = 0
    references_with_first_frame: bool = False
    first_frame: bool = False
    last_frame: bool = False
    sound: bool = False
    seed: bool = False
    at_once: int = 3


class ClipModel(Protocol):
    """Makes clips. One model serves all segments of a film, from several threads unless its notes say otherwise."""

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do; fixed while it lives."""

    def estimate(self, request: ClipRequest) -> Cost:
        """Say what the clip would cost. Nothing is sent.

        Raises:
            UserError: the model cannot serve the request, not even adapted; the message names the limit.
        """

    def generate(self, request: ClipRequest, folder: Path, emit: Emit) -> Clip:
        """Make the clip as ``folder/<key>.mp4`` and return it; a finished one of the same request is returned as it is.

        Raises:
            UserError: as `estimate`, or a key is missing (which environment variable), or the budget does not allow it.
            ModelError: the model failed, after its retries and failovers.
            StoreError: the folder cannot be written.
        """
