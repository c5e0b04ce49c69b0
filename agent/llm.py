"""A chat model behind one verb: `ask`, in bounded time, with every request on record.

An OpenAI-compatible server is spoken to through `ChatOpenAI`; ``provider:model`` names another provider, whose package
must be installed (LangChain's ``init_chat_model`` finds it). Timeouts, dropped connections, 429 and 5xx are tried again
with backoff until the deadline; everything else is final. Keys come from the environment, where the provider's client
looks for them, and go nowhere but into the request: errors are named by kind and status, never in a server's words,
which might repeat a key. What is asked, and what an answer means, is not known here.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx
import openai
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from memreel.agent.reading import ChatCall
from memreel.configs.schema import AgentConfig
from memreel.errors import UserError

PATIENCE = 2.0
"""All attempts for one question together may take this many times the timeout of one."""
FIRST_PAUSE_S = 0.5
PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are worth another attempt."""
NO_SUCH_REQUEST = frozenset({400, 404, 405, 422, 501})
"""Statuses of a server that does not take a kind of request: one without tools, say."""


class Unavailable(Exception):
    """No answer, or none in time; the message is fit for the record."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """Say why; ``status`` is the HTTP status, if there was one."""
        super().__init__(reason)
        self.status = status


class Meter(Protocol):
    """Counts requests, and may refuse one."""

    @property
    def most_written(self) -> int | None:
        """Tokens that an answer may have; ``None``: as many as the model likes."""

    def begin(self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> float:
        """Reserve what a request may cost, and return that.

        Raises:
            Unavailable: it may not be sent.
        """

    def end(self, reserved: float, call: ChatCall) -> None:
        """Take what the request took."""


class Chat:
    """A configured chat model. Its methods may be called by several threads."""

    def __init__(self, model: str, config: AgentConfig) -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            UserError: there is neither a key in the environment nor the address of a server, or the provider's package
                is not installed.
        """
        self.name = model
        self.meter: Meter | None = None
        """Asked before every request, told after it."""
        self._timeout_s, self._retries = config.timeout_s, config.retries
        self._model = _client(model, config.base_url or os.environ.get("MEMREEL_LLM_BASE_URL"), config.timeout_s)
        self._down = False

    def deadline(self) -> float:
        """Return the moment (`time.monotonic`) until which a question asked now may be worked on."""
        return time.monotonic() + PATIENCE * self._timeout_s

    def ask(
        self,
        messages: Sequence[BaseMessage],
        calls: list[ChatCall],
        *,
        tools: Sequence[BaseTool | Mapping[str, Any]] = (),
        choice: str | None = None,
        deadline: float | None = None,
    ) -> AIMessage:
        """Send one request, again with backoff while it fails for a passing reason and time is left.

        Args:
            messages: the conversation.
            calls: takes a record of every request made.
            tools: what the model may call.
            choice: the tool that it must call.
            deadline: see `deadline`; that of a question asked now if not given.

        Raises:
            Unavailable: it gave no answer in time, or refused.
        """
        deadline = self.deadline() if deadline is None else deadline
        attempts = 1 if self._down else self._retries + 1  # one that was down the last time gets one chance
        reason, status, attempt = "out of time", None, 0
        while attempt < attempts and (left := deadline - time.monotonic()) > 0:
            attempt += 1
            try:
                reply = self._request(messages, calls, tools, choice, min(self._timeout_s, left))
                self._down = False
                return reply
            except Unavailable:  # the meter's no
                raise
            except Exception as error:
                reason, status = kind_of(error), status_of(error)
                if not _passes(error):
                    raise Unavailable(reason, status) from None
                pause = max(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2), _retry_after(error))
                if attempt == attempts or time.monotonic() + pause >= deadline:
                    break
                time.sleep(pause)
        self._down = True
        raise Unavailable(f"{reason} after {attempt} {'attempt' if attempt == 1 else 'attempts'}", status)

    def _request(
        self,
        messages: Sequence[BaseMessage],
        calls: list[ChatCall],
        tools: Sequence[BaseTool | Mapping[str, Any]],
        choice: str | None,
        timeout_s: float,
    ) -> AIMessage:
        schemas = [_schema(tool) for tool in tools]
        meter = self.meter
        reserved = meter.begin(messages, schemas) if meter else 0.0
        begun = time.monotonic()
        call: ChatCall = {
            "model": self.name,
            "seconds": 0.0,
            "input_tokens": 0,
            "output_tokens": 0,
            "outcome": "failed",
        }
        calls.append(call)
        try:
            limit: dict[str, Any] = {"timeout": timeout_s} if isinstance(self._model, ChatOpenAI) else {}
            if limit and meter and meter.most_written:
                limit["max_tokens"] = meter.most_written
            if schemas:
                asked = self._model.bind_tools(schemas, tool_choice=choice)
                reply = asked.invoke(list(messages), **limit)
            else:
                reply = self._model.invoke(list(messages), **limit)
        except Exception as error:
            call["outcome"] = kind_of(error)
            raise
        else:
            if not isinstance(reply, AIMessage):
                raise TypeError("not a chat reply")
            if reply.usage_metadata:
                call["input_tokens"] = reply.usage_metadata["input_tokens"]
                call["output_tokens"] = reply.usage_metadata["output_tokens"]
            call["outcome"] = "ok"
            return reply
        finally:
            call["seconds"] = round(time.monotonic() - begun, 3)
            if meter:
                meter.end(reserved, call)


def text_of(reply: AIMessage) -> str:
    """Return the text of a reply."""
    return reply.content if isinstance(reply.content, str) else str(reply.text)


def json_in(text: str) -> Any:
    """Return the JSON object in a text, fenced or not.

    Raises:
        ValueError: there is none; the message says what is wrong with it.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ValueError("no JSON object in the answer")
    try:
        return json.loads(text[start : end + 1])
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None


def kind_of(error: Exception) -> str:
    """Name an error for the record, without a word of the server's."""
    if isinstance(error, openai.APITimeoutError | httpx.TimeoutException | TimeoutError):
        return "timeout"
    if (status := status_of(error)) is not None:
        return f"HTTP {status}"
    return "no connection" if _is_connection(error) else type(error).__name__


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that a provider's error carries, or ``None``."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_connection(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, httpx.TransportError | ConnectionError) or "APIConnectionError" in names


def _passes(error: Exception) -> bool:
    """Tell whether an error may be gone at the next attempt."""
    status = status_of(error)
    if status is not None:
        return status in PASSING or status >= 500
    return kind_of(error) == "timeout" or _is_connection(error)


def _retry_after(error: Exception) -> float:
    """Return the pause in seconds that a server asks for, or 0."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _schema(tool: BaseTool | Mapping[str, Any]) -> Any:
    return tool if isinstance(tool, BaseTool) else dict(tool)


def _client(model: str, base_url: str | None, timeout_s: float) -> BaseChatModel:
    provider, colon, name = model.partition(":")
    if colon and provider.isidentifier() and provider != "openai" and base_url is None:
        return _other(provider, name, timeout_s)
    key = os.environ.get("OPENAI_API_KEY")
    if not key and not base_url:
        raise UserError(
            f"chat model '{model}' needs OPENAI_API_KEY in the environment, or the address of a server "
            "(agent.base_url or MEMREEL_LLM_BASE_URL); without agent.model the built-in analyst reads the prompts"
        )
    return ChatOpenAI(
        model=name if colon and provider == "openai" else model,
        base_url=base_url,
        api_key=SecretStr(key or "none"),
        max_retries=0,
        timeout=timeout_s,
        stream_usage=True,
    )


def _other(provider: str, name: str, timeout_s: float) -> BaseChatModel:
    """Return another provider's client, as LangChain makes it; attempts are counted here, not there."""
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise UserError(
            f"agent.model '{provider}:{name}': pip install 'memreel[providers]' langchain-{provider}"
        ) from None
    try:
        client: BaseChatModel = init_chat_model(name, model_provider=provider, max_retries=0, timeout=timeout_s)
    except ImportError:
        raise UserError(f"agent.model '{provider}:{name}': pip install langchain-{provider}") from None
    except Exception as error:  # a missing key, an unknown provider: the provider's own words, before any request
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"agent.model '{provider}:{name}' cannot be used: {first[:200]}") from None
    return client
