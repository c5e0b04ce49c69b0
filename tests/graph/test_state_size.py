"""A checkpoint stays small: 84 chunks of twelve prompts with a cast of six, read and looked at by a chat model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Text, Tool, call, entities, serve

from memreel.configs.schema import RunConfig
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.output.run_folder import RunFolder

CAST = {
    "Mia": ["young woman", "red hair", "blue sweater", "green hat"],
    "Tom": ["tall man", "black hair", "white shirt"],
    "Ava": ["girl", "blond curls", "yellow raincoat"],
    "dog": ["small", "brown"],
    "notebook": ["red", "leather cover"],
    "umbrella": ["yellow"],
}
MOST = 20_000
"""Bytes."""


def prompts() -> list[str]:
    names = list(CAST)
    return [
        f"{', '.join(names[k % 6] for k in range(n, n + 3))} wait in the library while rain falls outside, number {n}."
        for n in range(12)
    ]


def answer(asked: dict[str, Any]) -> Any:
    """Read as a model does, sending a broken answer first now and then; look as one that sees."""
    question = asked["messages"][-1]["content"]
    if isinstance(question, list):
        return call("report_looks", visible=True, attrs=["red hair", "blue sweater", "green hat"], score=0.8)
    if "<prompt>" not in question:  # sent back
        question = next(str(m["content"]) for m in reversed(asked["messages"]) if "<prompt>" in str(m["content"]))
    elif "number 5." in question:
        return Text("I would rather not.")
    prompt = question.split("<prompt>\n")[1]
    cast = question.split("Cast so far:\n")[1].split("\n\n")[0].splitlines()
    known = [line.split()[2].strip(",") for line in cast if line[0].isdigit()]
    return Tool(
        entities(
            *(
                {
                    "entity": name,
                    "kind": "object" if name in ("notebook", "umbrella") else "character",
                    "attrs": [] if name in known else CAST[name],
                    "global_id": known.index(name) + 1 if name in known else None,
                    "presence": "enters",
                }
                for name in CAST
                if name in prompt.split(" wait")[0]
            )
        )
    )


def readings(runs: Path, number: int) -> list[dict[str, Any]]:
    events = RunFolder(runs / "film").read_events()
    return next(e["calls"] for e in events if e["type"] == "prompt" and e["prompt_id"] == number + 1)


@pytest.mark.usefixtures("small_model")
def test_no_checkpoint_of_eighty_chunks_is_larger_than_twenty_kilobytes(
    settings: Callable[..., RunConfig], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    with serve(answer) as server:
        agent = {"model": "judge-1", "base_url": server.base_url}
        verify = {"attributes": True, "model": "eyes-1", "weight": 0.3}
        saver = InMemorySaver()
        graph = build_graph(settings(chunks_per_prompt=7, agent=agent, verify=verify), saver)
        thread: Any = {"configurable": {"thread_id": "t"}}
        given: Any = {"prompts": prompts(), "video_id": "film"}
        graph.invoke(given, thread, context=RunContext(out=str(runs)))
    history = list(graph.get_state_history(thread))
    last = history[0].values
    prompts_known = last["earlier"] + len(last["bank"]["prompts"])
    assert (last["index"], len(last["bank"]["cast"]), prompts_known) == (84, 6, 12)
    assert [e["outcome"] for e in readings(runs, 5)] == ["invalid", "ok"]
    assert all(check["done"] for check in last["checks"].values())
    assert max(len(saver.serde.dumps_typed(snapshot.values)[1]) for snapshot in history) <= MOST
