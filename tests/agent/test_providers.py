"""Chat models of other providers than OpenAI's kind: found by LangChain, spoken to in their own protocol."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from memreel.agent.reading import prompt_reader
from memreel.benchmarks.cast import candidates_of
from memreel.configs.schema import AgentConfig
from memreel.errors import UserError
from memreel.memory.records import empty_bank

PROMPT = "Mia, a young woman with red hair, walks in."
MIA = {"entity": "Mia", "kind": "character", "attrs": ["red hair"], "global_id": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a server of the Messages protocol is asked; it fails once and answers then."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            call = {"type": "tool_use", "id": "t1", "name": "report_entities", "input": {"entities": [MIA]}}
            answer = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [call]}
            answer |= {"stop_reason": "tool_use", "usage": {"input_tokens": 70, "output_tokens": 20}}
            body = json.dumps(answer if len(requests) > 1 else {"type": "error"}).encode()
            self.send_response(200 if len(requests) > 1 else 529)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-not-a-real-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("ANTHROPIC_API_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("MEMREEL_LLM_BASE_URL", raising=False)
    monkeypatch.setattr("memreel.agent.llm.FIRST_PAUSE_S", 0.01)
    yield requests
    server.shutdown()
    server.server_close()


def test_another_providers_model_reads_prompts(asked: list[dict[str, Any]]) -> None:
    reader = prompt_reader(AgentConfig(model="anthropic:model-1", retries=1))
    reading = reader.parse(PROMPT, empty_bank(), candidates_of(empty_bank()))
    assert (reading.read_by, [entity["entity"] for entity in reading.entities]) == ("anthropic:model-1", ["Mia"])
    assert [(call["outcome"], call["input_tokens"]) for call in reading.calls] == [("HTTP 529", 0), ("ok", 70)]
    assert asked[1]["model"] == "model-1"
    assert asked[1]["tool_choice"]["name"] == "report_entities"


@pytest.mark.parametrize(
    ("model", "says"),
    [("cohere:command", "pip install langchain-cohere"), ("nosuch:model", "cannot be used: ")],
)
def test_a_provider_that_is_not_installed_or_unknown_is_the_users_error(
    model: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMREEL_LLM_BASE_URL", raising=False)
    with pytest.raises(UserError, match=says):
        prompt_reader(AgentConfig(model=model))


def test_without_langchain_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMREEL_LLM_BASE_URL", raising=False)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(UserError, match="langchain-anthropic"):
        prompt_reader(AgentConfig(model="anthropic:model-1"))
