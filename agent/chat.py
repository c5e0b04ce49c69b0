"""The chat reader: a chat model reads and matches a prompt in one structured call.

The reply may be a tool call or JSON in the text; it is checked against the cast, and what cannot be used goes back with
the errors, twice at most. When that does not help, or no server answers (see `memreel.agent.llm`), the analyst reads
the prompt, and the reading says so: a chat model can cost bounded time, never the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, Field, ValidationError

from memreel.agent.analyst import Analyst
from memreel.agent.llm import NO_SUCH_REQUEST, Chat, Unavailable
from memreel.agent.reading import (
    LONGEST_ATTRIBUTE,
    LONGEST_ENTITY,
    LONGEST_PLACE,
    MOST_ATTRIBUTES,
    MOST_ENTITIES,
    Candidates,
    ParsedEntity,
    Reading,
)
from memreel.agent.replies import json_of, said_in
from memreel.agent.texts import filled, texts
from memreel.memory.records import BankState, Entity, Presence, phrase

TOOL = "report_entities"
CORRECTIONS = 2
"""How often an unusable answer is sent back, at most."""
LONGEST_PROMPT = 8000
"""Characters of a prompt, of the previous prompt and of the cast that a request carries, each."""

Asking = Literal["tool", "plain"]


class ReadEntity(BaseModel):
    """One character or object of the prompt."""

    entity: str = Field(description="Name, or noun without article and adjectives.")
    kind: Literal["character", "object"]
    attrs: list[str] = Field(default_factory=list, description="Visual attributes as short noun phrases.")
    global_id: int | None = Field(None, description="Number of the cast member it is; null if it is new.")
    presence: Presence = Field(
        "present", description="Whether it is there, enters, leaves, or is only mentioned and not to be seen."
    )


class Answer(BaseModel):
    """The place of the prompt, and its characters and objects."""

    place: str | None = Field(None, description="Where it plays, in a few words; null if the prompt does not say.")
    entities: list[ReadEntity]


class _Unusable(Exception):
    """An answer that cannot be used; the message tells the model why."""


class ChatReader:
    """Reads prompts with a chat model; the analyst stands in where it fails."""

    def __init__(self, chat: Chat) -> None:
        """Prepare to ask ``chat``; nothing is sent yet."""
        self.name = chat.name
        self.chat: Chat | None = chat
        self._asked = chat
        self._analyst = Analyst()
        self._asking: Asking = "tool"

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:
        """Read the prompt's entities with the chat model, or with the analyst if it cannot."""
        reading = Reading([], self.name)
        try:
            reading.place, reading.entities = self._ask(prompt, bank, candidates, reading)
            return reading
        except Unavailable as error:
            reading.notes.append(f"{self.name}: {error}; the analyst read this prompt")
        except _Unusable as error:
            reading.notes.append(f"{self.name}: no usable answer ({error}); the analyst read this prompt")
        second = self._analyst.parse(prompt, bank, candidates)
        return Reading(second.entities, second.read_by, second.place, reading.notes + second.notes, reading.calls)

    def match(self, prompt: str, parsed: list[ParsedEntity], bank: BankState, candidates: Candidates) -> list[Entity]:
        """Give every parsed entity a global ID: the one it was read with, or the next free number."""
        return self._analyst.match(prompt, parsed, bank, candidates)

    def _ask(
        self, prompt: str, bank: BankState, candidates: Candidates, reading: Reading
    ) -> tuple[str, list[ParsedEntity]]:
        """Ask until an answer can be used, or raise."""
        if len(prompt) > LONGEST_PROMPT:
            reading.notes.append(f"{self.name}: was given the first {LONGEST_PROMPT} of {len(prompt)} characters")
        messages = conversation(prompt, bank, candidates)
        deadline = self._asked.deadline()
        for correction in range(CORRECTIONS + 1):
            reply = self._send(messages, deadline, reading)
            try:
                return usable(reply, bank)
            except _Unusable as error:
                reading.calls[-1]["outcome"] = "invalid"
                if correction == CORRECTIONS:
                    raise
                reading.notes.append(f"{self.name}: answer {correction + 1} sent back ({error})")
                said = AIMessage(said_in(reply) or texts()["nothing_said"])
                messages = [*messages, said, HumanMessage(filled(texts()["correction"], {"errors": str(error)}))]
        raise AssertionError("unreachable")

    def _send(self, messages: Sequence[BaseMessage], deadline: float, reading: Reading) -> AIMessage:
        """Send one request; a server that does not take tools is asked for JSON from then on."""
        if self._asking == "tool":
            try:
                return self._asked.ask(messages, reading.calls, tools=[_tool()], choice=TOOL, deadline=deadline)
            except Unavailable as error:
                if error.status not in NO_SUCH_REQUEST:
                    raise
        plain = [*messages[:1], HumanMessage(texts()["plain_format"]), *messages[1:]]
        reply = self._asked.ask(plain, reading.calls, deadline=deadline)
        if self._asking == "tool":
            self._asking = "plain"
            reading.notes.append(f"{self.name}: no tool calls on this server; asked for JSON")
        return reply


def conversation(prompt: str, bank: BankState, candidates: Candidates) -> list[BaseMessage]:
    """Return the messages that ask for a prompt's entities: rules, examples, cast, candidates, prompt."""
    said = texts()
    messages: list[BaseMessage] = [SystemMessage(said["system"])]
    for example in said["examples"]:
        cast = "\n".join(example["cast"]) or said["nobody"]
        messages.append(HumanMessage(_question(example["prompt"], cast, said["no_candidates"], example["previous"])))
        messages.append(AIMessage(json.dumps({"place": example["place"], "entities": example["entities"]})))
    members = [f"{key} {member['kind']} {phrase(member)}" for key, member in bank["cast"].items()]
    previous = bank["prompts"].get(str(max(map(int, bank["prompts"]), default=0)))
    similar = []
    if members:
        for sentence, likenesses in zip(parts := _parts(prompt), candidates(parts), strict=True):
            close = ", ".join(f"{likeness.global_id} ({likeness.similarity:.2f})" for likeness in likenesses)
            similar.append(f"{json.dumps(sentence, ensure_ascii=False)}: {close}")
    question = _question(
        prompt,
        "\n".join(members) or said["nobody"],
        "\n".join(similar) or said["no_candidates"],
        previous["text"] if previous else None,
    )
    messages.append(HumanMessage(question))
    return messages


def _parts(prompt: str) -> list[str]:
    """Return the phrases of a prompt for which candidates are looked up: its noun phrases as the analyst sees them."""
    from memreel.agent.mentions import mentions

    told = (mention for mention in mentions(prompt) if mention.role in ("character", "object") and not mention.weak)
    return [", ".join([called, *m.attrs])[:200] for m in told if (called := m.name or m.surface)][:8]


def _question(prompt: str, cast: str, candidates: str, previous: str | None) -> str:
    said = texts()
    slots = {
        "cast": cast[-LONGEST_PROMPT:],
        "candidates": candidates,
        "previous": (previous or said["no_previous"])[:LONGEST_PROMPT],
        "prompt": prompt[:LONGEST_PROMPT].replace("</prompt>", ""),
    }
    return filled(said["reading"], slots)


def usable(reply: AIMessage, bank: BankState) -> tuple[str, list[ParsedEntity]]:
    """Return the place and the entities of a reply.

    Raises:
        _Unusable: it is no such JSON, or breaks a rule; the message names every fault.
    """
    try:
        answer = Answer.model_validate(json_of(reply))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
        raise _Unusable("; ".join(wrong)) from None
    except ValueError as error:
        raise _Unusable(str(error)) from None
    if faults := list(_faults(answer, bank)):
        raise _Unusable("; ".join(faults))
    read: list[ParsedEntity] = [
        {
            "entity": entity.entity.strip(),
            "kind": entity.kind,
            "attrs": list(dict.fromkeys(attr.strip() for attr in entity.attrs if attr.strip())),
            "same_as": entity.global_id,
            "new": entity.global_id is None,
            "presence": entity.presence,
        }
        for entity in answer.entities
    ]
    return (answer.place or "").strip(), read


def _faults(answer: Answer, bank: BankState) -> list[str]:
    faults: list[str] = []
    if len(answer.entities) > MOST_ENTITIES:
        faults.append(f"{len(answer.entities)} entities; give the {MOST_ENTITIES} that matter most")
    if len(answer.place or "") > LONGEST_PLACE:
        faults.append(f"place is longer than {LONGEST_PLACE} characters")
    taken: set[int] = set()
    for number, entity in enumerate(answer.entities[: MOST_ENTITIES + 1]):
        place = f"entities[{number}]"
        if not entity.entity.strip():
            faults.append(f"{place}: entity is empty")
        if len(entity.entity) > LONGEST_ENTITY:
            faults.append(f"{place}: entity is longer than {LONGEST_ENTITY} characters")
        if len(entity.attrs) > MOST_ATTRIBUTES or any(len(attr) > LONGEST_ATTRIBUTE for attr in entity.attrs):
            faults.append(f"{place}: at most {MOST_ATTRIBUTES} attrs of {LONGEST_ATTRIBUTE} characters")
        wanted = entity.global_id
        if wanted is None:
            continue
        member = bank["cast"].get(str(wanted))
        if member is None:
            faults.append(f"{place}: there is no cast member {wanted}; use null for somebody new")
        elif member["kind"] != entity.kind:
            faults.append(f"{place}: cast member {wanted} is of kind {member['kind']}")
        if wanted in taken:
            faults.append(f"{place}: cast number {wanted} is given twice")
        taken.add(wanted)
    return faults


def _tool() -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": texts()["tool_description"],
            "parameters": Answer.model_json_schema(),
        },
    }
