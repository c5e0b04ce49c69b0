"""``langgraph dev`` serves the graph: offline, without a key; driven through langgraph-sdk as Studio drives it."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from memreel.graph.context import RunContext
from memreel.graph.latents import read_latents
from memreel.output.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncLangGraphClient]:
    """A client of a running dev server."""
    folder, port = tmp_path_factory.mktemp("studio"), free_port()
    spec = json.loads((ROOT / "langgraph.json").read_text())
    (folder / "langgraph.json").write_text(json.dumps(spec))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LANGCHAIN", "LANGSMITH"))}
    environment |= {"LANGSMITH_TRACING": "false", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                assert server.poll() is None, (folder / "log").read_text()
                try:
                    httpx.get(f"{address}/ok").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield get_sync_client(url=address, timeout=120)
        finally:
            server.terminate()
            server.wait(20)


def context(runs: Path) -> Any:
    return {"out": str(runs), "chunks_per_prompt": 3}


def test_langgraph_json_names_graphs_without_a_checkpointer() -> None:
    spec = json.loads((ROOT / "langgraph.json").read_text())
    for described in spec["graphs"].values():
        module, _, name = described["path"].partition(":")
        graph = getattr(importlib.import_module(module), name)
        assert isinstance(graph, CompiledStateGraph)
        assert graph.checkpointer is None
    assert (ROOT / spec["dependencies"][0] / "pyproject.toml").is_file()


def test_the_settings_an_assistant_shows_are_described(client: SyncLangGraphClient) -> None:
    [assistant] = client.assistants.search(graph_id="memreel")
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    fields = (schemas.get("context_schema") or {})["properties"]
    assert fields.keys() == RunContext.model_fields.keys()
    assert all(field["description"] for field in fields.values())
    assert (schemas.get("input_schema") or {})["properties"].keys() == {"prompts", "video_id", "live"}
    assert "bank" in (schemas.get("state_schema") or {})["properties"]


def test_a_thread_streams_one_event_for_each_chunk(client: SyncLangGraphClient, runs: Path) -> None:
    thread = client.threads.create()["thread_id"]
    seen: dict[str, list[Any]] = {"custom": [], "updates": [], "metadata": []}
    given: Any = {"prompts": [MIA, TOM]}
    modes: Any = ["custom", "updates"]
    for part in client.runs.stream(thread, "memreel", input=given, context=context(runs), stream_mode=modes):
        seen[part.event].append(part.data)
    assert [event["index"] for event in seen["custom"] if event["type"] == "chunk"] == list(range(6))
    assert [name for update in seen["updates"] for name in update].count("generate_chunk") == 6
    values: Any = client.threads.get_state(thread)["values"]
    assert values["video_id"] == f"video-{thread}"
    assert RunFolder(runs / values["video_id"]).finished()


def test_a_run_stops_before_a_chunk_is_edited_and_goes_on(client: SyncLangGraphClient, runs: Path) -> None:
    thread = client.threads.create()["thread_id"]
    before: Any = {"interrupt_before": ["generate_chunk"], "context": context(runs)}
    given: Any = {"prompts": [MIA]}
    client.runs.wait(thread, "memreel", input=given, **before)
    for _ in range(2):
        client.runs.wait(thread, "memreel", **before)
    client.threads.update_state(thread, {"text": "Rain."})
    state = client.threads.get_state(thread)
    assert state["next"] == ["generate_chunk"]
    final: Any = client.runs.wait(thread, "memreel", context=context(runs))
    folder = RunFolder(Path(final["video"]).parent)
    assert folder.finished()
    assert (final["index"], final["text"]) == (3, "Rain.")


def test_cast_and_memory_frames_are_edited_node_by_node_and_the_video_follows(
    client: SyncLangGraphClient, runs: Path
) -> None:
    assistant = client.assistants.create("memreel", context=context(runs), name="three chunks a prompt")
    settings, thread = assistant["assistant_id"], client.threads.create()["thread_id"]

    def values() -> Any:
        return client.threads.get_state(thread)["values"]

    given: Any = {"prompts": [MIA, TOM, "Mia waits in the park."]}
    client.runs.wait(thread, settings, input=given, interrupt_before=["retrieve_memory"])
    while values()["prompt_id"] < 3:
        client.runs.wait(thread, settings, interrupt_before=["retrieve_memory"])
    bank = values()["bank"]
    mia = {**bank["cast"]["1"], "all_attrs": ["green hair", "white coat"]}
    client.threads.update_state(thread, {"bank": {**bank, "cast": {**bank["cast"], "1": mia}}})
    client.runs.wait(thread, settings, interrupt_before=["generate_chunk"])
    stopped = values()
    assert stopped["text"] == "Mia waits in the park. Mia: green hair, white coat."
    [other] = [name for name in stopped["bank"]["frames"] if name not in stopped["bank"]["memory"]][:1]
    client.threads.update_state(thread, {"bank": {**stopped["bank"], "memory": [other]}})
    client.runs.wait(thread, settings, interrupt_before=["generate_chunk"])
    assert values()["attended"] == [other]
    final: Any = client.runs.wait(thread, settings)
    chunks = [e for e in RunFolder(Path(final["video"]).parent).read_events() if e["type"] == "chunk"]
    assert (len(chunks), chunks[6]["memory"]) == (9, [other])
    client.assistants.delete(settings)  # or it would be one of the MCP endpoint's tools


def test_a_fork_from_an_earlier_checkpoint_becomes_another_video(client: SyncLangGraphClient, runs: Path) -> None:
    short = {**context(runs), "chunks_per_prompt": 2}
    thread = client.threads.create()["thread_id"]
    given: Any = {"prompts": [MIA]}
    first: Any = client.runs.wait(thread, "memreel", input=given, context=short)
    made = [latents(first["video"], index) for index in range(2)]
    history: Any = client.threads.get_history(thread, limit=100)
    then = next(s for s in history if s["values"].get("index") == 1 and s["next"] == ["generate_chunk"])
    forked: Any = client.threads.update_state(
        thread, {"text": "Rain."}, checkpoint_id=then["checkpoint"]["checkpoint_id"]
    )
    second: Any = client.runs.wait(
        thread, "memreel", checkpoint_id=forked["checkpoint"]["checkpoint_id"], context=short
    )
    assert (second["index"], second["text"]) == (2, "Rain.")
    assert RunFolder(Path(second["video"]).parent).finished()
    again = [latents(second["video"], index) for index in range(2)]
    assert again[0] == made[0]
    assert again[1] != made[1]


def latents(video: str, index: int) -> list[float]:
    tensors, _ = read_latents(RunFolder(Path(video).parent), index)
    values: list[float] = tensors.flatten().tolist()
    return values


def mcp(client: SyncLangGraphClient, method: str, **params: Any) -> Any:
    """Ask the server's MCP endpoint as an MCP client does."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{str(client.http.client.base_url).rstrip('/')}/mcp", json=asked, headers=headers, timeout=120)
    answer.raise_for_status()
    return answer.json()["result"]


def test_the_mcp_endpoint_lists_tools_that_say_what_they_do(client: SyncLangGraphClient) -> None:
    tools = {tool["name"]: tool for tool in mcp(client, "tools/list")["tools"]}
    assert tools.keys() == {"memreel", "read_script", "film"}
    for name, tool in tools.items():
        assert len(tool["description"]) > 100
        given = tool["inputSchema"]["properties"]["idea" if name == "film" else "prompts"]
        assert given["description"].startswith("What the film shows" if name == "film" else "The script")


def test_a_script_is_read_over_mcp_without_rendering(client: SyncLangGraphClient) -> None:
    prompts = [MIA, TOM, "Mia waves."]
    told = mcp(client, "tools/call", name="read_script", arguments={"prompts": prompts})
    assert not told.get("isError")
    read = json.loads(told["content"][0]["text"])
    assert [[e["global_id"] for e in one["entities"] if e["kind"] == "character"] for one in read["reading"]] == [
        [1],
        [2],
        [1],
    ]
    assert "red hair" in read["reading"][2]["text"]
    assert [member["name"] for member in read["cast"]] == ["Mia", "Tom"]


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "says"),
    [
        ("read_script", {"prompts": []}, {}, "Error: input: no prompts"),
        ("memreel", {"prompts": [MIA, " "]}, {}, "Error: input: prompt 2 is empty"),
        ("memreel", {"prompts": [MIA]}, {"preset": "sketsh"}, "did you mean 'sketch'?"),
        ("film", {"idea": ""}, {}, "Error: the idea is empty"),
    ],
)
def test_an_mcp_client_is_told_what_is_wrong(
    client: SyncLangGraphClient, runs: Path, name: str, arguments: Any, settings: Any, says: str
) -> None:
    told = mcp(client, "tools/call", name=name, arguments=arguments, context={"out": str(runs), **settings})
    assert told["isError"]
    assert says in told["content"][0]["text"]


def test_a_video_is_made_over_mcp_and_told_of_in_a_few_lines_of_json(client: SyncLangGraphClient, runs: Path) -> None:
    headers = {"accept": "application/json, text/event-stream"}
    call = {"name": "memreel", "arguments": {"prompts": [MIA]}, "context": context(runs)}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    address = f"{str(client.http.client.base_url).rstrip('/')}/mcp"
    [content] = httpx.post(address, json=asked, headers=headers, timeout=300).json()["result"]["content"]
    told = json.loads(content["text"])
    assert told.keys() == {"video", "video_id", "chunks", "cast", "prompts"}
    assert Path(told["video"]).is_file()
    assert told["cast"][0]["name"] == "Mia"
    assert told["prompts"] == [{"prompt_id": 1, "prompt": MIA, "global_ids": [m["global_id"] for m in told["cast"]]}]
    assert len(content["text"]) < 2000


def test_bad_input_is_an_error_in_memreels_words(client: SyncLangGraphClient, runs: Path) -> None:
    thread = client.threads.create()["thread_id"]
    given: Any = {"prompts": [" "]}
    parts = list(client.runs.stream(thread, "memreel", input=given, context=context(runs)))
    assert parts[-1].event == "error"
    assert "input: prompt 1 is empty" in str(parts[-1].data)
