"""What a chat model's reply says: its words, its tool calls, the JSON object that was asked for.

An answer that was cut off, or whose arguments are no JSON, is never taken for a whole one. Who was asked, and what the
object should contain, is not known here.
"""

from __future__ import annotations

import json
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolCallChunk
from langchain_core.messages.tool import invalid_tool_call


class StreamedArguments(BaseCallbackHandler):
    """The arguments of tool calls as they were streamed: LangChain closes by guess what does not end well."""

    def __init__(self) -> None:
        self._parts: dict[Any, list[ToolCallChunk]] = {}

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep a piece of an answer."""
        for part in getattr(getattr(chunk, "message", None), "tool_call_chunks", ()):
            self._parts.setdefault(part["index"], []).append(part)

    def as_said(self, reply: AIMessage) -> AIMessage:
        """Return ``reply`` with those of its calls marked as invalid whose arguments are no JSON."""
        broken: dict[str | None, str] = {}
        for parts in self._parts.values():
            text = "".join(part["args"] or "" for part in parts)
            try:
                json.loads(text or "{}")
            except ValueError:
                broken[parts[0]["id"]] = text
        wrong = [call for call in reply.tool_calls if call["id"] in broken]
        if not wrong:
            return reply
        invalid = [
            invalid_tool_call(name=call["name"], args=broken[call["id"]], id=call["id"], error=None) for call in wrong
        ]
        good = [call for call in reply.tool_calls if call["id"] not in broken]
        return reply.model_copy(
            update={"tool_calls": good, "invalid_tool_calls": [*reply.invalid_tool_calls, *invalid]}
        )


def text_of(reply: AIMessage) -> str:
    """Return the text of a reply: what it says, or in which words it refuses."""
    said = reply.content if isinstance(reply.content, str) else str(reply.text)
    return said or str(reply.additional_kwargs.get("refusal") or "")


def json_of(reply: AIMessage) -> Any:
    """Return the JSON object of a reply: the arguments of its tool call, or what stands in its text.

    What a model thinks aloud first (up to ``</think>``), fences and words around the object make no difference.

    Raises:
        ValueError: there is none; the message says what is wrong with it.
    """
    if was_cut(reply):
        raise ValueError("the answer was cut off at its greatest length; give a shorter one")
    if reply.tool_calls:
        return reply.tool_calls[0]["args"]
    if reply.additional_kwargs.get("refusal"):
        raise ValueError("it refused to answer")
    text = said_in(reply).rpartition("</think>")[2]
    if (start := text.find("{")) < 0:
        raise ValueError("no JSON object in the answer")
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None


def was_cut(reply: AIMessage) -> bool:
    """Tell whether a reply ends where its greatest length is reached: what is missing may have been closed by guess."""
    return reply.response_metadata.get("finish_reason") == "length"


def said_in(reply: AIMessage) -> str:
    """Return what a reply says in words or, where it says nothing, what it calls tools with."""
    called = [json.dumps(call["args"]) for call in reply.tool_calls]
    called += [call["args"] or "" for call in reply.invalid_tool_calls]
    return text_of(reply) or "\n".join(called)
