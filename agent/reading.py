"""What a reader of prompts is: prompt in, entities with attributes and global IDs out.

`PromptReader` has two steps, because the graph shows them as two nodes: `parse` says who and what is in the prompt,
`match` gives each its global ID. The analyst (code) and the chat reader (an LLM) implement it; whoever reads, IDs are
assigned by `memreel.agent.matching`, so no reader can give two entities of a prompt one ID. Readers hold no story:
all they know of earlier prompts is in the `BankState` they are handed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from typing_extensions import TypedDict

from memreel.memory.records import BankState, Entity, Kind

if TYPE_CHECKING:
    from memreel.configs.schema import AgentConfig


class Likeness(Protocol):
    """A cast member that an entity's phrase resembles, as the bank's index proposes it."""

    @property
    def global_id(self) -> int:
        """The cast member's global ID."""

    @property
    def similarity(self) -> float:
        """Cosine similarity of the two phrases' embeddings."""


Candidates = Callable[[Sequence[str]], Sequence[Sequence[Likeness]]]
"""For each phrase, the cast members most like it, best first."""

LONGEST_ENTITY = 80
LONGEST_ATTRIBUTE = 60
MOST_ATTRIBUTES = 12
MOST_ENTITIES = 24
"""Limits in characters and items; a reader cuts or drops what is beyond them."""


class ParsedEntity(TypedDict):
    """An entity as read from one prompt, before it has a global ID.

    ``same_as``: the cast ID that the reader is sure of. ``new``: the text says that it is somebody else ("another
    man"). With neither, matching decides.
    """

    entity: str
    kind: Kind
    attrs: list[str]
    same_as: int | None
    new: bool


class PromptReader(Protocol):
    """Reads prompts: the analyst or a chat model."""

    name: str
    """"analyst", or the chat model's name."""

    read_by: str
    """Who did the last `parse`: the reader itself, or "analyst" when it stood in."""

    notes: list[str]
    """What happened in the last `parse` that a record should keep: retries, who stood in for whom. Never a secret."""

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> list[ParsedEntity]:
        """Return the prompt's entities in order of first mention."""

    def match(self, prompt: str, parsed: list[ParsedEntity], bank: BankState, candidates: Candidates) -> list[Entity]:
        """Give every parsed entity a global ID: a cast member's, or the next free number."""


def prompt_reader(config: AgentConfig) -> PromptReader:
    """Return the reader that a configuration asks for: a chat model if one is named, else the analyst.

    The model may be named in the configuration or by ``MEMREEL_LLM_MODEL``; its server by ``base_url`` or
    ``MEMREEL_LLM_BASE_URL``.

    Raises:
        UserError: a chat model is named, but there is neither a key for the provider nor the address of a server.
    """
    model = config.model or os.environ.get("MEMREEL_LLM_MODEL")
    if model:
        from memreel.agent.chat import ChatReader

        return ChatReader(
            model, config.base_url or os.environ.get("MEMREEL_LLM_BASE_URL"), config.timeout_s, config.retries
        )
    from memreel.agent.analyst import Analyst

    return Analyst()
