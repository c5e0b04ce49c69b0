"""A real HTTP server on localhost that speaks the chat-completions protocol, with a script of replies.

Each entry of the script is one request's fate: a reply (tool call or text), a status, a hang or a dropped connection.
What was asked is kept in `requests`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Tool:
    arguments: str


@dataclass
class Text:
    content: str


@dataclass
class Status:
    code: int
    body: str = '{"error": {"message": "no"}}'
    headers: dict[str, str] = field(default_factory=dict)


class Hang:
    pass


class Drop:
    pass


def entities(*items: dict[str, Any]) -> str:
    return json.dumps({"entities": list(items)})


@dataclass
class ChatServer:
    base_url: str
    script: list[Any]
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(*script: Any) -> Iterator[ChatServer]:
    """Serve the replies of a script in order; the last one repeats."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(asked)
            server.keys.append(self.headers.get("authorization", ""))
            fate = server.script[min(len(server.requests), len(server.script)) - 1]
            if isinstance(fate, Drop):
                self.connection.close()
                return
            if isinstance(fate, Hang):
                server.released.wait(30)
                self.connection.close()
                return
            if isinstance(fate, Status):
                self._send(fate.code, fate.body, fate.headers)
                return
            message: dict[str, Any] = {"role": "assistant", "content": None}
            if isinstance(fate, Tool):
                call = {"name": "report_entities", "arguments": fate.arguments}
                message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
            else:
                message["content"] = fate.content
            usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            }
            self._send(200, json.dumps(body), {})

        def _send(self, status: int, body: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body.encode())))
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body.encode())

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
