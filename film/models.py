"""What makes a film's clips, and what looks at them, by name.

``local`` is the configuration's video model; a video model's name is that model; every other name is a provider's or a
hosted model's. The eye is the vision model where one is named, else the reader of the drawn world where the clips are
drawn, else none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import memreel.model
from memreel.configs.schema import RunConfig
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import ClipModel, ClipRequest
from memreel.film.sight import DrawnEye, Eye, PlainEye
from memreel.model import VIDEO_MODELS
from memreel.model.sketch.model import SketchModel


@runtime_checkable
class Routed(Protocol):
    """A clip model that stands for several, with a budget."""

    def dry_run(self, requests: Sequence[ClipRequest]) -> dict[str, Any]:
        """Return routes and cost of all clips; nothing is sent."""

    def require(self, requests: Sequence[ClipRequest]) -> None:
        """Refuse what cannot be made or paid for; nothing is sent."""

    def affords(self, requests: Sequence[ClipRequest], folder: Path) -> bool:
        """Tell whether what is left of the budget pays for all these clips."""

    def ledger(self, folder: Path) -> Any:
        """Return the ledger of a film's clips."""


def clip_model(name: str, config: RunConfig, budget: float | None) -> ClipModel:
    """Return the clip model of this name.

    Raises:
        UserError: there is none, or it cannot be used here.
    """
    if name == "local" or name in VIDEO_MODELS:
        chosen = config.model if name == "local" else config.model.model_copy(update={"name": name})
        return LocalStream(memreel.model.load(chosen))
    from memreel.film.clips.router import hosted

    return hosted(name, budget)


def eye_for(config: RunConfig, clips: ClipModel) -> Eye:
    """Return the eye for a film's pictures.

    Raises:
        UserError: a vision model is named, but cannot be used.
    """
    if name := config.film.vision or os.environ.get("MEMREEL_VISION_MODEL"):
        from memreel.film.vision import ChatEye

        return ChatEye(name, config.agent)
    if isinstance(clips, LocalStream) and isinstance(clips.model, SketchModel):
        return DrawnEye(clips.model)
    return PlainEye()
