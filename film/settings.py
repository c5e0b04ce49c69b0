"""The film graph's context: what a caller sets for a whole film, as plain JSON with descriptions.

In LangGraph Studio its fields are the assistant's settings. It says which clip model, which budget, which configuration
and where to write; what these mean is known elsewhere.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from memreel.configs.schema import RunConfig
from memreel.errors import UserError, did_you_mean
from memreel.graph.context import RunContext


class FilmContext(BaseModel):
    """Where a film is written, what makes its clips, and whether a person looks at the plan first."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    out: str = Field("runs", min_length=1, description="Folder in which the film's folder <film id> is made.")
    preset: str | None = Field(None, description="Preset or YAML file to start from.")
    config: RunConfig | None = Field(None, description="A complete configuration to start from, instead of a preset.")
    overrides: tuple[str, ...] = Field((), description="Settings on top of it, as 'key=value': film.threshold=0.7.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="Seed of the film; empty: the configuration's.")
    model: str = Field(
        "local",
        min_length=1,
        description="What makes the clips: 'local' (the configuration's video model), a video model's name, a "
        "provider or a hosted model's name (runway, google, veo-3.1 …), or 'auto' for the best hosted one.",
    )
    budget: float | None = Field(None, ge=0, description="US dollars that the film may cost; empty: no limit.")
    review: bool = Field(False, description="Interrupt with plan and cost before anything is generated or paid.")

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, value: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Say what is wrong as memreel does."""
        try:
            return check(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                hint = did_you_mean(key, cls.model_fields) or f"; known: {', '.join(cls.model_fields)}"
                raise UserError(f"film context: unknown field '{key}'{hint}") from None
            raise UserError(f"film context: '{key}': {first['msg'].lower()}, not {first['input']!r}") from None

    def run_config(self) -> RunConfig:
        """Return the configuration that this context asks for, checked.

        Raises:
            UserError: both a preset and a configuration are given, or one of the settings is wrong.
        """
        return RunContext(preset=self.preset, config=self.config, overrides=self.overrides, seed=self.seed).run_config()
