"""A question to a chat model whose answer must have a form: a tool call, checked, sent back if it will not do.

Servers without tools are asked for JSON in the text. Time is bounded by `memreel.agent.llm.Chat`. What is asked and
what an answer means, is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import yaml
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import BaseModel, ValidationError

from memreel.agent.llm import NO_SUCH_REQUEST, Chat, Unavailable
from memreel.agent.reading import ChatCall
from memreel.agent.replies import json_of, said_in

PROMPTS = Path(__file__).parent / "prompts.yaml"
CORRECTIONS = 2
"""How often an unusable answer is sent back, at most."""

Form = TypeVar("Form", bound=BaseModel)
Result = TypeVar("Result")


class NoAnswer(Exception):
    """The model gave no answer that can be used; the message is fit for the record."""


def ask_for(
    chat: Chat,
    messages: Sequence[BaseMessage],
    form: type[Form],
    tool: str,
    usable: Callable[[Form], Result],
    notes: list[str],
) -> Result:
    """Ask until an answer can be used.

    Args:
        chat: who is asked.
        messages: the conversation.
        form: what the answer must look like.
        tool: the name under which the form is offered.
        usable: makes the result of an answer; a `ValueError` says why it will not do.
        notes: takes what a record should keep.

    Raises:
        NoAnswer: no answer in time, or none that can be used.
    """
    calls: list[ChatCall] = []
    deadline = chat.deadline()
    schema = {
        "type": "function",
        "function": {"name": tool, "description": form.__doc__, "parameters": form.model_json_schema()},
    }
    plain = False
    try:
        for attempt in range(CORRECTIONS + 1):
            if not plain:
                try:
                    reply = chat.ask(messages, calls, tools=[schema], choice=tool, deadline=deadline)
                except Unavailable as error:
                    if error.status not in NO_SUCH_REQUEST:
                        raise
                    plain = True
            if plain:
                wish = texts()["director_plain"].replace("{schema}", json.dumps(form.model_json_schema()))
                reply = chat.ask([*messages, HumanMessage(wish)], calls, deadline=deadline)
            try:
                return usable(form.model_validate(json_of(reply)))
            except ValueError as error:  # pydantic's own is one
                wrong = _faults(error)
                if attempt == CORRECTIONS:
                    raise NoAnswer(f"no usable answer ({wrong})") from None
                notes.append(f"{chat.name}: answer {attempt + 1} sent back ({wrong})")
                said = AIMessage(said_in(reply) or "(nothing)")
                messages = [*messages, said, HumanMessage(texts()["director_correction"].replace("{errors}", wrong))]
    except Unavailable as error:
        raise NoAnswer(str(error)) from None
    raise AssertionError("unreachable")


@lru_cache(maxsize=1)
def texts() -> dict[str, str]:
    """Return everything that is said to chat and vision models about films."""
    said: dict[str, str] = yaml.safe_load(PROMPTS.read_text("utf-8"))
    return said


def _faults(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        told = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)[:5]]
        return "; ".join(told)[:1000]
    return " ".join(str(error).split())[:1000]
