"""What the dev server's MCP endpoint answers: JSON that another agent can use, and errors that say what is wrong.

LangGraph's server gives a tool's result as the ``repr`` of the graph's whole output, and of an error its class alone.
This middleware, mounted by ``http.app`` in `langgraph.json`, rewrites just those answers: of a video what a caller
needs (path, length, cast, who is in each prompt), of everything else the same as JSON, of an error its message. The
endpoint runs a tool by a request of its own to the server, with the headers that it was asked with; a mark among them
tells that request from others. All other routes pass untouched.
"""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memreel.graph.record import agent_json

PATH = "/mcp"
MARK = (b"x-memreel-asked-by", b"mcp")
"""The header of requests that the endpoint makes."""


class ReadableAnswers:
    """Rewrites the results of MCP tool calls."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the server's application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its answer too, unless it is a tool's result."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif scope["path"].rstrip("/") == PATH:
            marked = {**scope, "headers": [*scope["headers"], MARK]}
            await self.app(marked, receive, _rewriting(send, readable))
        elif MARK in scope["headers"]:
            await self.app(scope, receive, _rewriting(send, telling))
        else:
            await self.app(scope, receive, send)


def _rewriting(send: Send, rewritten: Callable[[bytes], bytes]) -> Send:
    """Return a ``send`` that collects an answer and sends it on rewritten."""
    start: Message = {}
    body = b""

    async def collect(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            text = await asyncio.to_thread(rewritten, body)
            kept = [(key, value) for key, value in start["headers"] if key.lower() != b"content-length"]
            await send({**start, "headers": [*kept, (b"content-length", str(len(text)).encode())]})
            await send({"type": "http.response.body", "body": text})

    return collect


def telling(body: bytes) -> bytes:
    """Return the body of a run that failed, its message where the endpoint takes its text from; others as they are."""
    try:
        answer = json.loads(body)
        error = answer["__error__"]
        error["error"] = f"Error: {error['message']}"
    except (ValueError, TypeError, LookupError):
        return body
    return json.dumps(answer, ensure_ascii=False).encode()


def readable(body: bytes) -> bytes:
    """Return the body of an answer with a tool's printed Python value as JSON; any other body as it is."""
    try:
        answer = json.loads(body)
        part = answer["result"]["content"][0]
        value = ast.literal_eval(part["text"])
    except (ValueError, SyntaxError, TypeError, LookupError):
        return body
    part["text"] = json.dumps(summary(value) if isinstance(value, Mapping) else value, ensure_ascii=False)
    return json.dumps(answer, ensure_ascii=False).encode()


def summary(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a caller needs of a graph's output: of a video's state a summary, of any other output all of it.

    A state has the newest prompts alone; a finished video's folder tells all of them.
    """
    if not {"bank", "video", "video_id"} <= value.keys():
        return dict(value)
    cast = value["bank"]["cast"]
    read = Path(value["video"]).with_name("llm_agent.json") if value["video"] else None
    prompts = json.loads(read.read_bytes()) if read and read.is_file() else agent_json(value["bank"])
    return {
        "video": value["video"],
        "video_id": value["video_id"],
        "chunks": value["index"],
        "cast": [{key: member[key] for key in ("global_id", "name", "kind", "all_attrs")} for member in cast.values()],
        "prompts": [
            {
                "prompt_id": prompt["prompt_id"],
                "prompt": prompt["prompt"],
                "global_ids": [entity["global_id"] for entity in prompt["entities"]],
            }
            for prompt in prompts
        ],
    }


app = Starlette(middleware=[Middleware(ReadableAnswers)])
"""What ``langgraph dev`` serves around its own routes."""
