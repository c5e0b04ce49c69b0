"""The chat reader: a chat model reads and matches a prompt in one structured call.

It speaks to any OpenAI-compatible server through `ChatOpenAI`. The reply may be a tool call or JSON in the text; it
is checked against the cast, and what cannot be used goes back with the errors, twice at most. Timeouts, dropped
connections, 429 and 5xx are tried again with backoff. When that does not help, the analyst reads the prompt, and
`read_by` and `notes` say so: a chat server can cost bounded time, never the run. The key comes from
``OPENAI_API_KEY`` and goes nowhere but into the request; notes carry kinds of errors and statuses, never a server's
words.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypedDict

import openai
import yaml
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr, ValidationError

from memreel.agent.analyst import Analyst
from memreel.agent.reading import (
    LONGEST_ATTRIBUTE,
    LONGEST_ENTITY,
    MOST_ATTRIBUTES,
    MOST_ENTITIES,
    Candidates,
    ParsedEntity,
)
from memreel.errors import UserError
from memreel.memory.records import BankState, Entity, phrase

PROMPTS = Path(__file__).parent / "prompts.yaml"
TOOL = "report_entities"
CORRECTIONS = 2
"""How often an unusable answer is sent back, at most."""
PATIENCE = 2.0
"""All attempts for one prompt together may take this many times the timeout of one."""
FIRST_PAUSE_S = 0.5
LONGEST_PROMPT = 8000
"""Characters of a prompt, of the previous prompt and of the cast that a request carries, each."""
RETRIABLE = (openai.APITimeoutError, openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)

Asking = Literal["tool", "plain"]


class ReadEntity(BaseModel):
    """One character or object of the prompt."""

    entity: str = Field(description="Name, or noun without article and adjectives.")
    kind: Literal["character", "object"]
    attrs: list[str] = Field(default_factory=list, description="Visual attributes as short noun phrases.")
    global_id: int | None = Field(None, description="Number of the cast member it is; null if it is new.")


class Reading(BaseModel):
    """The characters and objects of the prompt."""

    entities: list[ReadEntity]


class ChatCall(TypedDict):
    """One request: how long it took, what it cost, how it ended ("ok", "invalid", or a kind of error)."""

    model: str
    seconds: float
    input_tokens: int
    output_tokens: int
    outcome: str


class _Unusable(Exception):
    """An answer that cannot be used; the message tells the model why."""


class _Unavailable(Exception):
    """The server gave no answer in time; the message is fit for the record."""


class ChatReader:
    """Reads prompts with a chat model; the analyst stands in where it fails."""

    def __init__(self, model: str, base_url: str | None, timeout_s: float, retries: int) -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            UserError: there is neither a key in the environment nor the address of a server.
        """
        key = os.environ.get("OPENAI_API_KEY")
        if not key and not base_url:
            raise UserError(
                f"chat model '{model}' needs OPENAI_API_KEY in the environment, or the address of a server "
                "(agent.base_url or MEMREEL_LLM_BASE_URL); without agent.model the built-in analyst reads the prompts"
            )
        self.name = self.read_by = model
        self.notes: list[str] = []
        self.calls: list[ChatCall] = []
        """The requests of the last `parse`."""
        self._timeout_s, self._retries = timeout_s, retries
        self._chat = ChatOpenAI(
            model=model,
            base_url=base_url,
            api_key=SecretStr(key or "none"),
            max_retries=0,
            timeout=timeout_s,
        )
        self._analyst = Analyst()
        self._asking: Asking = "tool"
        self._down = False

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> list[ParsedEntity]:
        """Return the prompt's entities as the chat model reads them, or the analyst if it cannot."""
        self.notes, self.calls, self.read_by = [], [], self.name
        try:
            entities = self._ask(prompt, bank, candidates)
            self._down = False
            return entities
        except _Unavailable as error:
            self._down = True
            self.notes.append(f"{self.name}: {error}; the analyst read this prompt")
        except _Unusable as error:
            self.notes.append(f"{self.name}: no usable answer ({error}); the analyst read this prompt")
        self.read_by = self._analyst.name
        entities = self._analyst.parse(prompt, bank, candidates)
        self.notes.extend(self._analyst.notes)
        return entities

    def match(self, prompt: str, parsed: list[ParsedEntity], bank: BankState, candidates: Candidates) -> list[Entity]:
        """Give every parsed entity a global ID: the one it was read with, or the next free number."""
        return self._analyst.match(prompt, parsed, bank, candidates)

    # Asking.

    def _ask(self, prompt: str, bank: BankState, candidates: Candidates) -> list[ParsedEntity]:
        """Ask until an answer can be used, or raise."""
        messages = conversation(prompt, bank, candidates)
        deadline = time.monotonic() + PATIENCE * self._timeout_s
        for correction in range(CORRECTIONS + 1):
            reply = self._send(messages, deadline)
            try:
                entities = usable(reply, bank)
                self.calls[-1]["outcome"] = "ok"
                return entities
            except _Unusable as error:
                self.calls[-1]["outcome"] = "invalid"
                if correction == CORRECTIONS:
                    raise
                self.notes.append(f"{self.name}: answer {correction + 1} sent back ({error})")
                said = AIMessage(_text(reply) or json.dumps([call["args"] for call in reply.tool_calls]))
                messages = [*messages, said, HumanMessage(_texts()["correction"].replace("{errors}", str(error)))]
        raise AssertionError("unreachable")

    def _send(self, messages: Sequence[BaseMessage], deadline: float) -> AIMessage:
        """Send one request, again with backoff while it fails for a passing reason and time is left."""
        attempts = 1 if self._down else self._retries + 1  # a server that was down for the last prompt gets one chance
        reason = "out of time"
        attempt = 0
        while attempt < attempts and (left := deadline - time.monotonic()) > 0:
            attempt += 1
            try:
                return self._request(messages, min(self._timeout_s, left))
            except RETRIABLE as error:
                reason = _kind(error)
                pause = FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
                pause = max(pause, _retry_after(error))
                if attempt < attempts and time.monotonic() + pause < deadline:
                    time.sleep(pause)
                else:
                    break
            except openai.BadRequestError as error:
                if self._asking == "plain":
                    raise _Unavailable(_kind(error)) from None
                self._asking = "plain"  # a server without tools
                self.notes.append(f"{self.name}: no tool calls on this server; asked for JSON")
                attempt -= 1
            except (openai.OpenAIError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise _Unavailable(_kind(error)) from None
        raise _Unavailable(f"{reason} after {attempt} {'attempt' if attempt == 1 else 'attempts'}")

    def _request(self, messages: Sequence[BaseMessage], timeout_s: float) -> AIMessage:
        begun = time.monotonic()
        call: ChatCall = {
            "model": self.name,
            "seconds": 0.0,
            "input_tokens": 0,
            "output_tokens": 0,
            "outcome": "failed",
        }
        self.calls.append(call)
        try:
            if self._asking == "tool":
                reply = self._chat.bind_tools([_tool()], tool_choice=TOOL).invoke(list(messages), timeout=timeout_s)
            else:
                plain = [*messages[:1], HumanMessage(_texts()["plain_format"]), *messages[1:]]
                reply = self._chat.invoke(plain, timeout=timeout_s)
        except Exception as error:
            call["outcome"] = _kind(error)
            raise
        finally:
            call["seconds"] = round(time.monotonic() - begun, 3)
        if not isinstance(reply, AIMessage):
            raise TypeError("not a chat reply")
        if reply.usage_metadata:
            call["input_tokens"] = reply.usage_metadata["input_tokens"]
            call["output_tokens"] = reply.usage_metadata["output_tokens"]
        return reply


def conversation(prompt: str, bank: BankState, candidates: Candidates) -> list[BaseMessage]:
    """Return the messages that ask for a prompt's entities: rules, examples, cast, candidates, prompt."""
    texts = _texts()
    messages: list[BaseMessage] = [SystemMessage(texts["system"])]
    for example in texts["examples"]:
        cast = "\n".join(example["cast"]) or texts["nobody"]
        messages.append(HumanMessage(_question(example["prompt"], cast, texts["no_candidates"], example["previous"])))
        messages.append(AIMessage(json.dumps({"entities": example["entities"]})))
    members = [f"{key} {member['kind']} {phrase(member)}" for key, member in bank["cast"].items()]
    previous = bank["prompts"].get(str(max(map(int, bank["prompts"]), default=0)))
    similar = []
    if members:
        for sentence, likenesses in zip(parts := _parts(prompt), candidates(parts), strict=True):
            close = ", ".join(f"{likeness.global_id} ({likeness.similarity:.2f})" for likeness in likenesses)
            similar.append(f"{json.dumps(sentence, ensure_ascii=False)}: {close}")
    question = _question(
        prompt,
        "\n".join(members) or texts["nobody"],
        "\n".join(similar) or texts["no_candidates"],
        previous["text"] if previous else None,
    )
    messages.append(HumanMessage(question))
    return messages


def _parts(prompt: str) -> list[str]:
    """Return the phrases of a prompt for which candidates are looked up: its noun phrases as the analyst sees them."""
    from memreel.agent.discourse import read

    return [", ".join([r.entity, *r.attrs])[:200] for r in read(prompt).referents if not r.weak][:8]


def _question(prompt: str, cast: str, candidates: str, previous: str | None) -> str:
    texts = _texts()
    filled = {
        "{cast}": cast[-LONGEST_PROMPT:],
        "{candidates}": candidates,
        "{previous}": (previous or texts["no_previous"])[:LONGEST_PROMPT],
        "{prompt}": prompt[:LONGEST_PROMPT].replace("</prompt>", ""),
    }
    question: str = texts["reading"]
    head, _, tail = question.partition("{prompt}")
    for slot, text in filled.items():
        if slot != "{prompt}":
            head = head.replace(slot, text, 1)
    return head + filled["{prompt}"] + tail


def usable(reply: AIMessage, bank: BankState) -> list[ParsedEntity]:
    """Return the entities of a reply.

    Raises:
        _Unusable: it is no such JSON, or breaks a rule; the message names every fault.
    """
    arguments: Any = reply.tool_calls[0]["args"] if reply.tool_calls else _json_in(_text(reply))
    try:
        reading = Reading.model_validate(arguments)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
        raise _Unusable("; ".join(faults)) from None
    faults = list(_faults(reading, bank))
    if faults:
        raise _Unusable("; ".join(faults))
    return [
        {
            "entity": entity.entity.strip(),
            "kind": entity.kind,
            "attrs": list(dict.fromkeys(attr.strip() for attr in entity.attrs if attr.strip())),
            "same_as": entity.global_id,
            "new": entity.global_id is None,
        }
        for entity in reading.entities
    ]


def _faults(reading: Reading, bank: BankState) -> list[str]:
    faults: list[str] = []
    if len(reading.entities) > MOST_ENTITIES:
        faults.append(f"{len(reading.entities)} entities; give the {MOST_ENTITIES} that matter most")
    taken: set[int] = set()
    for number, entity in enumerate(reading.entities[: MOST_ENTITIES + 1]):
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


def _json_in(text: str) -> Any:
    """Return the JSON object in a text, fenced or not."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise _Unusable("no JSON object in the answer")
    try:
        return json.loads(text[start : end + 1])
    except ValueError as error:
        raise _Unusable(f"not valid JSON: {error}") from None


def _text(reply: AIMessage) -> str:
    return reply.content if isinstance(reply.content, str) else str(reply.text)


def _kind(error: Exception) -> str:
    """Name an error for the record without a word of the server's, which might repeat a key."""
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}"
    return "no connection" if isinstance(error, openai.APIConnectionError) else type(error).__name__


def _retry_after(error: Exception) -> float:
    """Return the pause in seconds that a server asks for, or 0."""
    if not isinstance(error, openai.APIStatusError):
        return 0.0
    try:
        return max(0.0, float(error.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _tool() -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": _texts()["tool_description"],
            "parameters": Reading.model_json_schema(),
        },
    }


@lru_cache(maxsize=1)
def _texts() -> Mapping[str, Any]:
    texts: Mapping[str, Any] = yaml.safe_load(PROMPTS.read_text("utf-8"))
    return texts
