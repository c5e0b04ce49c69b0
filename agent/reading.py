"""What a reader of prompts is: prompt in, entities with attributes and global IDs out.

`PromptReader` has two steps, because the graph shows them as two nodes: `parse` says who and what is in the prompt,
`match` gives each its global ID. The analyst (code) and the chat reader (an LLM) implement it; whoever reads, IDs are
assigned by `memreel.agent.matching`, so no reader can give two entities of a prompt one ID. Readers hold no story:
all they know of earlier prompts is in the `BankState` they are handed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NotRequired, Protocol

from typing_extensions import TypedDict

from memreel.memory.records import BankState, Entity, Kind
from memreel.memory.records import Presence as Presence
from memreel.memory.records import Pronoun as Pronoun

if TYPE_CHECKING:
    from memreel.agent.llm import Chat
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
LONGEST_PLACE = 80
MOST_ATTRIBUTES = 12
MOST_ENTITIES = 24
"""Limits in characters and items; a reader cuts or drops what is beyond them."""


class ParsedEntity(TypedDict):
    """An entity as read from one prompt, before it has a global ID.

    ``same_as``: the cast ID that the reader is sure of. ``new``: the text says that it is somebody else ("another
    man"). With neither, matching decides. ``presence`` is "present" where it is left out, and
    ``pronoun`` is the one most often read for it, if any.
    """

    entity: str
    kind: Kind
    attrs: list[str]
    same_as: int | None
    new: bool
    presence: NotRequired[Presence]
    pronoun: NotRequired[Pronoun]


class Scene(TypedDict):
    """Where a prompt plays and who comes, goes or is only spoken of, by global ID; what is not told is left out."""

    place: NotRequired[str]
    enters: NotRequired[list[int]]
    leaves: NotRequired[list[int]]
    mentioned: NotRequired[list[int]]


class ChatCall(TypedDict):
    """One chat request: how long it took, what it cost, how it ended ("ok", "invalid", or a kind of error)."""

    model: str
    seconds: float
    input_tokens: int
    output_tokens: int
    outcome: str


@dataclass
class Reading:
    """A prompt as read.

    ``entities`` are in order of first mention; ``place`` is where it plays, if it says so. ``read_by`` is the reader
    itself, or "analyst" where it stood in; ``notes`` say what a record should keep: retries, who stood in for whom,
    what was left out. ``calls`` are the chat requests made. None of them ever carries a secret.
    """

    entities: list[ParsedEntity]
    read_by: str
    place: str = ""
    notes: list[str] = field(default_factory=list)
    calls: list[ChatCall] = field(default_factory=list)


def scene(place: str, entities: Sequence[Entity]) -> Scene:
    """Return the scene of a prompt from its place and its entities."""
    told: Scene = {"place": place} if place else {}
    for key in ("enters", "leaves", "mentioned"):
        if ids := [entity["global_id"] for entity in entities if entity.get("presence") == key]:
            told[key] = ids
    return told


def as_read(parsed: Sequence[ParsedEntity], entities: Sequence[Entity]) -> list[Entity]:
    """Return entities with how each is in the picture and its pronoun: ``parsed`` has the same in the same order."""
    known: list[Entity] = []
    for entity, read in zip(entities, parsed, strict=True):
        one: Entity = {**entity}
        if (how := read.get("presence", "present")) != "present":
            one["presence"] = how
        if "pronoun" in read:
            one["pronoun"] = read["pronoun"]
        known.append(one)
    return known


class PromptReader(Protocol):
    """Reads prompts: the analyst or a chat model. Its methods may be called by several threads."""

    name: str
    """"analyst", or the chat model's name."""

    chat: Chat | None
    """The chat model that it asks."""

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:
        """Read a prompt's entities."""

    def match(self, prompt: str, parsed: list[ParsedEntity], bank: BankState, candidates: Candidates) -> list[Entity]:
        """Give every parsed entity a global ID: a cast member's, or the next free number."""


def chat_model(config: AgentConfig) -> Chat | None:
    """Return the chat model that is named in the configuration or by ``MEMREEL_LLM_MODEL``, or ``None``.

    Raises:
        UserError: it cannot be used: no key and no address of a server, or its package is not installed.
    """
    model = config.model or os.environ.get("MEMREEL_LLM_MODEL")
    if not model:
        return None
    from memreel.agent.llm import Chat

    return Chat(model, config)


def prompt_reader(config: AgentConfig) -> PromptReader:
    """Return the reader that a configuration asks for: a chat model if one is named, else the analyst.

    The model may be named in the configuration or by ``MEMREEL_LLM_MODEL``; its server by ``base_url`` or
    ``MEMREEL_LLM_BASE_URL``.

    Raises:
        UserError: a chat model is named, but there is neither a key for the provider nor the address of a server.
    """
    if chat := chat_model(config):
        from memreel.agent.chat import ChatReader

        return ChatReader(chat)
    from memreel.agent.analyst import Analyst

    return Analyst()
