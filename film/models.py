"""What makes a film's clips, and what looks at them, by name.

``local`` is the configuration's video model; a video model's name is that model; ``auto`` chooses among all providers
and the local one; every other name is a provider's or a hosted model's. The eye is the vision model where one is named,
else the reader of the drawn world where the clips are drawn, else none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import memreel.model
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.film.clips.ledger import Books
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import ClipModel, ClipRequest
from memreel.film.sight import DrawnEye, Eye, PlainEye
from memreel.model import VIDEO_MODELS
from memreel.model.sketch.model import SketchModel


@runtime_checkable
class Routed(Protocol):
    """A clip model that stands for several, with a budget."""

    @property
    def local(self) -> LocalStream | None:
        """This machine's own model, if it is one of them."""

    @property
    def alone(self) -> LocalStream | None:
        """This machine's own model, if no other can be asked."""

    def route(self, request: ClipRequest) -> Any:
        """Say where a clip would go."""

    def dry_run(self, requests: Sequence[ClipRequest], folder: Path | None = None) -> dict[str, Any]:
        """Return routes and cost of all clips; nothing is sent."""

    def require(self, requests: Sequence[ClipRequest], folder: Path | None = None) -> None:
        """Refuse what cannot be made or paid for; nothing is sent."""

    def affords(self, requests: Sequence[ClipRequest], folder: Path) -> bool:
        """Tell whether what is left of the budget pays for all these clips."""


def clip_model(name: str, config: RunConfig, books: Books) -> ClipModel:
    """Return the clip model of this name; what it costs goes into ``books``.

    Raises:
        UserError: there is none, or it cannot be used here.
    """
    if name == "local" or name in VIDEO_MODELS:
        chosen = config.model if name == "local" else config.model.model_copy(update={"name": name})
        return LocalStream(partial(memreel.model.load, chosen), config.memory.slots)
    from memreel.film.clips.router import hosted

    if name != "auto":
        return hosted(name, books)
    local, absent = None, {}
    try:
        local = LocalStream(partial(memreel.model.load, config.model), config.memory.slots)
    except UserError as error:  # its weights are not here: the providers remain
        absent[config.model.name] = str(error)
    return hosted(name, books, local=local, absent=absent)


def local_of(clips: ClipModel) -> LocalStream | None:
    """Return this machine's own model, if it is the film's, or one of those to choose from."""
    if isinstance(clips, LocalStream):
        return clips
    return clips.local if isinstance(clips, Routed) else None


def made_here(clips: ClipModel, request: ClipRequest) -> LocalStream | None:
    """Return this machine's own model, if it is the one that will make a clip.

    Raises:
        UserError: no model can make it.
    """
    if isinstance(clips, Routed) and clips.route(request).provider != LocalStream.provider:
        return None
    return local_of(clips)


def eye_for(config: RunConfig, clips: ClipModel) -> Eye:
    """Return the eye for a film's pictures.

    Raises:
        UserError: a vision model is named, but cannot be used.
    """
    if name := config.film.vision or os.environ.get("MEMREEL_VISION_MODEL"):
        from memreel.film.vision import ChatEye

        return ChatEye(name, config.agent)
    alone = clips.alone if isinstance(clips, Routed) else local_of(clips)
    if alone is not None and isinstance(alone.model, SketchModel):
        return DrawnEye(lambda: cast(SketchModel, alone.model))
    return PlainEye()
