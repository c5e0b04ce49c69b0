"""A chat model behind one verb: `ask`, in bounded time, with every request on record.

An OpenAI-compatible server is spoken to through `ChatOpenAI`; ``provider:model`` names another provider, whose package
must be installed (LangChain's ``init_chat_model`` finds it). Timeouts, dropped connections, 429 and 5xx are tried again
with backoff until the deadline; everything else is final. The time of a request counts as a whole, so a server that
sends its answer drop by drop is given up like one that hangs. Keys come from the environment, where the provider's
client looks for them, and go nowhere but into the request: errors are named by kind and status, never in a server's
words, which might repeat a key. What is asked, and what an answer means, is not known here.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from memreel.agent.reading import ChatCall
from memreel.agent.replies import StreamedArguments
from memreel.agent.waiting import pause, result_of
from memreel.configs.schema import AgentConfig, address_fault
from memreel.errors import UserError

PATIENCE = 2.0
"""All attempts for one question together may take this many times the timeout of one."""
FIRST_PAUSE_S = 0.5
MOST_GIVEN_UP = 4
"""Requests that were given up and still hang, at most; beyond it a server is not asked."""
PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are worth another attempt."""
NO_SUCH_REQUEST = frozenset({400, 404, 405, 422, 501})
"""Statuses of a server that does not take a kind of request: one without tools, say."""
NO_CONNECTION = "no connection"
MEANINGS = {
    401: "the key is refused",
    402: "no credit is left",
    403: "the key may not use this model",
    404: "no such model, or no chat completions at this address",
    429: "too many requests, or no quota is left",
}
"""What a status most often comes of."""


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
            UserError: there is neither a key in the environment nor the address of a server, the address is no such
                thing or carries a secret, or the provider's package is not installed.
        """
        self.name = model
        self.meter: Meter | None = None
        """Asked before every request, told after it."""
        self._timeout_s, self._retries = config.timeout_s, config.retries
        self._model = _client(model, _address(config), config.timeout_s)
        self._down = False
        self._given_up: list[threading.Thread] = []

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
        if sum(thread.is_alive() for thread in self._given_up) >= MOST_GIVEN_UP:
            raise Unavailable(f"{MOST_GIVEN_UP} earlier requests still hang")
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
                status = status_of(error)
                reason = kind_of(error) + (f", {MEANINGS[status]}," if status in MEANINGS else "")
                if not _passes(error):
                    raise Unavailable(reason.rstrip(","), status) from None
                before_next = max(FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2), _retry_after(error))
                if attempt == attempts or time.monotonic() + before_next >= deadline:
                    break
                pause(before_next)
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
            streamed = StreamedArguments()
            model = self._model.model_copy(update={"callbacks": [streamed]})
            asked = model.bind_tools(schemas, tool_choice=choice) if schemas else model
            reply = self._within(timeout_s, lambda: asked.invoke(list(messages), **limit))
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
            return streamed.as_said(reply)
        finally:
            call["seconds"] = round(time.monotonic() - begun, 3)
            if meter:
                meter.end(reserved, call)

    def _within(self, seconds: float, work: Callable[[], AIMessage]) -> AIMessage:
        """Do ``work`` in a thread that is given up after so many seconds: clients bound pauses, not the whole.

        Raises:
            TimeoutError: it took longer.
        """
        answer: Future[AIMessage] = Future()
        context = copy_context()

        def run() -> None:
            try:
                answer.set_result(context.run(work))
            except BaseException as error:  # whoever waits for the answer meets it
                answer.set_exception(error)

        thread = threading.Thread(target=run, name="chat", daemon=True)
        thread.start()
        try:
            return result_of(answer, seconds)
        except TimeoutError:
            self._given_up = [*(old for old in self._given_up if old.is_alive()), thread]
            raise


def kind_of(error: Exception) -> str:
    """Name an error for the record, without a word of the server's."""
    names = {kind.__name__ for kind in type(error).__mro__}  # each provider's client has kinds of its own
    if isinstance(error, TimeoutError) or names & {"APITimeoutError", "TimeoutException"}:
        return "timeout"
    if (status := status_of(error)) is not None:
        return f"HTTP {status}"
    if isinstance(error, ConnectionError) or names & {"APIConnectionError", "TransportError"}:
        return NO_CONNECTION
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError):  # a client that made nothing of it
        return "no chat completion in the answer"
    return type(error).__name__


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that a provider's error carries, or ``None``."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _passes(error: Exception) -> bool:
    """Tell whether an error may be gone at the next attempt."""
    status = status_of(error)
    if status is not None:
        return status in PASSING or status >= 500
    return kind_of(error) in ("timeout", NO_CONNECTION)


def _retry_after(error: Exception) -> float:
    """Return the pause in seconds that a server asks for, or 0."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _schema(tool: BaseTool | Mapping[str, Any]) -> Any:
    return tool if isinstance(tool, BaseTool) else dict(tool)


def _address(config: AgentConfig) -> str | None:
    """Return the address of the server, if one is named."""
    address = config.base_url or os.environ.get("MEMREEL_LLM_BASE_URL") or None
    if address and (fault := address_fault(address)):
        raise UserError(f"MEMREEL_LLM_BASE_URL {fault}")
    return address


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
