"""What hosted models can do and cost: `providers.yaml`, read and checked.

One table for every question about a provider: what may be asked (`fitting`), what it costs (`hosted`), who is asked
first (`router`). This module reads; it sends nothing and decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from memreel.errors import UserError, did_you_mean
from memreel.film.clips.protocol import Capabilities, Quality, Ratio

FILE = Path(__file__).with_name("providers.yaml")
BETTER: Mapping[Quality, tuple[Quality, ...]] = {
    "draft": ("draft", "standard", "premium"),
    "standard": ("standard", "premium", "draft"),
    "premium": ("premium", "standard", "draft"),
}
"""What is taken for a quality, best match first."""


class Row(BaseModel):
    """What all parts of the table share: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Provider(Row):
    """Who runs models: its name for people, the variables that may hold its key, and how it charges."""

    title: str
    keys: tuple[str, ...] = ()
    vertex: bool = Field(False, description="May be spoken to through Vertex AI, without a key of its own.")
    usd_per_credit: float = Field(0.0, ge=0)
    reserve: float = Field(1.0, ge=1)

    def key(self) -> str | None:
        """Return the key from the environment, or ``None`` if none is set."""
        return next((value for name in self.keys if (value := os.environ.get(name))), None)

    @property
    def ready(self) -> bool:
        """Whether it can be asked: it needs no key, or there is one, or a project's credentials stand in for it."""
        return not self.keys or self.key() is not None or (self.vertex and on_vertex())


class Offer(Row):
    """What one quality is called at the provider, and its price."""

    model: str
    resolution: str = ""
    usd_per_second: float = Field(ge=0)


class Painter(Row):
    """An image model that paints a first frame from reference pictures."""

    model: str
    usd: float = Field(ge=0)
    references: int = Field(ge=1)
    prompt_units: int
    ratios: dict[Ratio, str]


class Model(Row):
    """One video model: its limits, its words for ratios, its prices.

    ``source`` says where the figures are from; ``assumed`` names those that are nobody's word: memreel's own guess.
    """

    provider: str
    source: str
    assumed: tuple[str, ...] = ()
    api: Literal["tasks", "interactions", "veo"]
    vertex_only: bool = False
    seconds: tuple[int, int] | None = None
    lengths: tuple[int, ...] = ()
    lengths_with_references: tuple[int, ...] = ()
    ratios: dict[Ratio, str]
    ratios_with_first_frame: dict[Ratio, str] = {}
    prompt_units: int
    references: int = 0
    first_frame: bool = False
    last_frame: bool = False
    sound: bool = False
    seed: bool = False
    picture_bytes: int
    speed: float = Field(description="Seconds of waiting per second of video.")
    tokens_per_second: float | None = None
    usd_per_million_read: float = 0.0
    quality: dict[Quality, Offer]
    painter: Painter | None = None

    def offer(self, quality: Quality) -> Offer:
        """Return what this model offers for a quality, or the nearest to it."""
        return next(self.quality[near] for near in BETTER[quality] if near in self.quality)

    def capabilities(self) -> Capabilities:
        """Say what the model can do, a painter's help included."""
        low, high = self.seconds or (min(self.lengths), max(self.lengths))
        return Capabilities(
            seconds=(low, high),
            lengths=self.lengths or tuple(float(whole) for whole in range(low, high + 1)),
            ratios=tuple({**self.ratios, **self.ratios_with_first_frame}),
            prompt_units=self.prompt_units,
            references=self.references or (self.painter.references if self.painter else 0),
            references_with_first_frame=False,
            first_frame=self.first_frame,
            last_frame=self.last_frame,
            sound=self.sound,
            seed=self.seed,
        )


class ChatPrice(Row):
    """What a chat model charges, in dollars a million tokens, and where that is from."""

    read: float = Field(ge=0)
    written: float = Field(ge=0)
    source: str


class Conditions(Row):
    """When a routing rule holds: all that are given must. Budgets are dollars for the whole film."""

    quality: Quality | None = None
    budget_over: float | None = None
    budget_under: float | None = None
    style: tuple[str, ...] = ()
    references: bool | None = None
    first_frame: bool | None = None


class Rule(Row):
    """A routing rule: whom to prefer (models, or providers for all of theirs), when, and why."""

    when: Conditions
    prefer: tuple[str, ...]
    because: str


class Table(Row):
    """All of ``providers.yaml``."""

    providers: dict[str, Provider]
    models: dict[str, Model]
    local: dict[str, tuple[Quality, ...]]
    chat: dict[str, ChatPrice]
    routes: tuple[Rule, ...]

    def provider_of(self, model: str) -> Provider:
        """Return who runs a model."""
        return self.providers[self.models[model].provider]

    def serves(self, model: str, quality: Quality) -> bool:
        """Tell whether a model, hosted or of this machine, offers this very quality."""
        return quality in (self.models[model].quality if model in self.models else self.local.get(model, ()))

    def chat_price(self, model: str) -> ChatPrice | None:
        """Return what a chat model charges; ``provider:name`` goes by the name, a dated name by the plain one."""
        name = model.rpartition(":")[2].rpartition("/")[2]
        known = [key for key in self.chat if name == key or name.startswith(f"{key}-2")]
        return self.chat[max(known, key=len)] if known else None

    def select(self, name: str) -> tuple[str, ...]:
        """Return the models that a name stands for: a model's own, or a provider's or ``auto`` for those on offer here.

        Raises:
            UserError: no such model or provider.
        """
        if name in self.models:
            return (name,)
        found = tuple(
            key
            for key, model in self.models.items()
            if name in ("auto", model.provider) and (on_vertex() or not model.vertex_only)
        )
        if not found:
            known = ["auto", *self.providers, *self.models]
            raise UserError(
                f"no hosted model '{name}'{did_you_mean(name, known) or '; there are: ' + ', '.join(known)}"
            )
        return found


def on_vertex() -> bool:
    """Tell whether Google's SDK is to speak to Vertex AI, where a project's credentials stand in for a key."""
    return os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() in ("1", "true")


@cache
def table() -> Table:
    """Read the table that comes with memreel."""
    return Table.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))
