"""A real HTTP server on localhost that speaks the chat-completions protocol, with a script of replies.

Each entry of the script is one request's fate: a reply (tool calls or text), a status, a hang, a dropped connection, or
a function that gives one of these for what was asked. A request that asks for a stream gets one, piece by piece. What
was asked is kept in `requests`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Tool:
    arguments: str
    name: str = "report_entities"


@dataclass
class Tools:
    calls: list[Tool]
    content: str | None = None


@dataclass
class Text:
    content: str


@dataclass
class Status:
    code: int
    body: str = '{"error": {"message": "no"}}'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Refusal:
    """A message without content that refuses in a field of its own."""

    words: str = "I cannot help with that."


@dataclass
class Cut:
    """A reply that was cut off at the greatest length of answers."""

    reply: Any


class Hang:
    pass


class Trickle:
    """Send a beginning at once, then a blank from time to time, for ever."""


class Drop:
    pass


@dataclass
class DropMidway:
    """Break off in the middle of this reply."""

    reply: Any


def entities(*items: dict[str, Any]) -> str:
    return json.dumps({"entities": list(items)})


def call(name: str, **arguments: Any) -> Tool:
    return Tool(json.dumps(arguments), name)


@dataclass
class ChatServer:
    base_url: str
    script: list[Any]
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    answered: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def wait(self, answered: int, seconds: float = 20.0) -> None:
        """Wait until so many requests were answered."""
        deadline = time.monotonic() + seconds
        while self.answered < answered:
            assert time.monotonic() < deadline, f"{self.answered} answers, not {answered}"
            time.sleep(0.005)


Reply = Tool | Tools | Text | Refusal | Cut
Fate = Reply | Status | Hang | Trickle | Drop | DropMidway | Callable[[dict[str, Any]], Any]


@contextmanager
def serve(*script: Any) -> Iterator[ChatServer]:
    """Serve the replies of a script in order; the last one repeats."""
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with counting:
                server.requests.append(asked)
                server.keys.append(self.headers.get("authorization", ""))
                fate = server.script[min(len(server.requests), len(server.script)) - 1]
            while callable(fate):
                fate = fate(asked)
            self._meet(fate, asked)
            with counting:
                server.answered += 1

        def _meet(self, fate: Any, asked: dict[str, Any]) -> None:
            if isinstance(fate, Drop):
                self.connection.close()
            elif isinstance(fate, Hang):
                server.released.wait(30)
                self.connection.close()
            elif isinstance(fate, Trickle):
                self._send(200, "", {"content-length": "100000"})
                while not server.released.wait(0.05):
                    try:
                        self.wfile.write(b" ")
                    except OSError:
                        return
            elif isinstance(fate, Status):
                self._send(fate.code, fate.body, fate.headers)
            else:
                midway = isinstance(fate, DropMidway)
                body = _stream(fate.reply if midway else fate) if asked.get("stream") else _whole(fate)
                if midway:
                    self._send(200, body, {"content-length": str(len(body))}, cut=len(body) // 2)
                    self.connection.close()
                elif asked.get("stream"):
                    self._send(200, body, {"content-type": "text/event-stream"})
                else:
                    self._send(200, body, {})

        def _send(self, status: int, body: str, headers: dict[str, str], cut: int | None = None) -> None:
            self.send_response(status)
            data = body.encode()
            for name, text in (
                {"content-type": "application/json", "content-length": str(len(data))} | headers
            ).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data[:cut])

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ChatServer(f"http://127.0.0.1:{http.server_address[1]}/v1", list(script))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


USAGE = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}


def _message(fate: Any) -> dict[str, Any]:
    if isinstance(fate, DropMidway | Cut):
        return _message(fate.reply)
    if isinstance(fate, Refusal):
        return {"role": "assistant", "content": None, "refusal": fate.words}
    if isinstance(fate, Text):
        return {"role": "assistant", "content": fate.content}
    calls = [fate] if isinstance(fate, Tool) else fate.calls
    return {
        "role": "assistant",
        "content": None if isinstance(fate, Tool) else fate.content,
        "tool_calls": [
            {"id": f"call_{i}", "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for i, c in enumerate(calls, start=1)
        ],
    }


def _whole(fate: Any) -> str:
    choice = {"index": 0, "message": _message(fate), "finish_reason": _end(fate)}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": USAGE}
    return json.dumps(body)


def _end(fate: Any) -> str:
    return "length" if isinstance(fate, Cut) else "stop"


def _stream(fate: Any) -> str:
    """Return a message as server-sent events: texts and arguments come a few characters at a time."""
    message = _message(fate)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    text = message["content"] or ""
    deltas += [{"content": text[i : i + 7]} for i in range(0, len(text), 7)]
    if refusal := message.get("refusal"):
        deltas += [{"refusal": refusal[i : i + 7]} for i in range(0, len(refusal), 7)]
    for number, made in enumerate(message.get("tool_calls", [])):
        head = {"index": number, "id": made["id"], "type": "function"}
        deltas.append({"tool_calls": [head | {"function": {"name": made["function"]["name"], "arguments": ""}}]})
        said = made["function"]["arguments"]
        deltas += [
            {"tool_calls": [{"index": number, "function": {"arguments": said[i : i + 7]}}]}
            for i in range(0, len(said), 7)
        ]
    base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    events = [base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": _end(fate)}]})
    events.append(base | {"choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
