"""The film graph's context: what a caller sets for a whole film, as plain JSON with descriptions.

In LangGraph Studio its fields are the assistant's settings. It says which clip model, which budget, which configuration
and where to write; what these mean is known elsewhere.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from memreel.graph.context import Context


class FilmContext(Context):
    """Where a film is written, what makes its clips, and whether a person looks at the plan first."""

    called: ClassVar[str] = "film context"

    out: str = Field("runs", min_length=1, description="Folder in which the film's folder <film id> is made.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="Seed of the film; empty: the configuration's.")
    model: str = Field(
        "local",
        min_length=1,
        description="What makes the clips: 'local' (the configuration's video model), a video model's name, a "
        "provider or a hosted model's name (runway, google, veo-3.1 …), or 'auto' to choose among all of them.",
    )
    budget: float | None = Field(None, ge=0, description="US dollars that the film may cost; empty: no limit.")
    review: bool = Field(False, description="Interrupt with plan and cost before anything is generated or paid.")
