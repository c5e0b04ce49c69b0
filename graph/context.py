"""What a caller of a graph sets for a whole run, as plain JSON with descriptions.

In-process it is passed as ``graph.invoke(..., context=RunContext(...))`` or as a dict; in LangGraph Studio its fields
are the assistant's settings. It says *which* configuration to use and where to write; `memreel.configs` checks it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from memreel.configs import load_config, override_config, parse_config
from memreel.configs.schema import RunConfig
from memreel.errors import UserError, did_you_mean


class Context(BaseModel):
    """Where a graph writes and how it is configured; everything has a default.

    Making one raises `UserError` for an unknown field or a value that a field refuses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    called: ClassVar[str] = "context"
    """How messages speak of it."""

    out: str = Field("runs", min_length=1, description="Folder in which the run folder <video id> is made.")
    preset: str | None = Field(
        None, description="Preset or YAML file to start from; empty: the configuration that the graph was built with."
    )
    config: RunConfig | None = Field(None, description="A complete configuration to start from, instead of a preset.")
    overrides: tuple[str, ...] = Field(
        (), description="Settings on top of it, as 'key=value': chunks_per_prompt=4, memory.slots=2, prompt.enrich=off."
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="Seed of the video's noise; empty: the configuration's.")

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, value: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Say what is wrong as memreel does: LangGraph makes a context of a caller's dict before any node runs."""
        try:
            return check(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                hint = did_you_mean(key, cls.model_fields) or f"; known: {', '.join(cls.model_fields)}"
                raise UserError(f"{cls.called}: unknown field '{key}'{hint}") from None
            raise UserError(f"{cls.called}: '{key}': {first['msg'].lower()}, not {first['input']!r}") from None

    def run_config(self) -> RunConfig:
        """Return the configuration that this context asks for, checked.

        Raises:
            UserError: both a preset and a configuration are given, or one of the settings is wrong.
        """
        if self.preset and self.config is not None:
            raise UserError(f"{self.called}: give either a preset or a config, not both")
        config = self.config or load_config(self.preset or "sketch")
        config = override_config(config, self.overrides)
        update = {key: value for key, value in self._settings().items() if value is not None}
        return parse_config({**config.model_dump(), **update}, self.called) if update else config

    def _settings(self) -> dict[str, Any]:
        """Return the settings that have a field of their own."""
        return {"seed": self.seed}


class RunContext(Context):
    """Where a run writes and how it is configured; everything has a default."""

    called: ClassVar[str] = "run context"

    chunks_per_prompt: int | None = Field(
        None, ge=1, le=100_000, description="Chunks per prompt, 0.75 s each; empty: the configuration's."
    )

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "chunks_per_prompt": self.chunks_per_prompt}
