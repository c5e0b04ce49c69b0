"""The graph over a video: what is evicted, remembered and attended to, chunk by chunk, and who is recalled."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from memreel.configs.schema import RunConfig
from memreel.graph.assembly import Graph, build_graph
from memreel.graph.context import RunContext

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair and a white shirt, waits in the park."
MIA_AGAIN = "Mia walks back into the library."

Settings = Callable[..., RunConfig]


def events(graph: Graph, runs: Path, *prompts: str, **context: Any) -> list[dict[str, Any]]:
    given: Any = {"prompts": list(prompts), "video_id": "film"}
    return list(graph.stream(given, context=RunContext(out=str(runs), **context), stream_mode="custom"))


def chunks(seen: list[dict[str, Any]], prompt_id: int | None = None) -> list[dict[str, Any]]:
    return [e for e in seen if e["type"] == "chunk" and prompt_id in {None, e["prompt_id"]}]


@pytest.mark.usefixtures("embedded_model")
def test_memory_fills_as_the_window_overflows_in_the_first_prompt(settings: Settings, runs: Path) -> None:
    seen = chunks(events(build_graph(settings(chunks_per_prompt=7)), runs, MIA))
    assert [chunk["index"] for chunk in seen] == [0, 1, 2, 3, 4, 5, 6]
    assert [chunk["chunk_id"] for chunk in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert [chunk["evicted"] for chunk in seen] == [None, None, 0, 1, 2, 3, 4]
    assert [len(chunk["memory_next"]) for chunk in seen] == [0, 0, 1, 2, 3, 3, 3]
    assert [len(chunk["memory"]) for chunk in seen] == [0, 0, 0, 1, 2, 3, 3]
    for before, after in itertools.pairwise(seen):
        assert after["memory"] == before["memory_next"]
    for chunk in seen:
        if chunk["kept_frame"] is not None:
            assert chunk["kept_frame"].startswith(f"p1_c{chunk['evicted'] + 1}_f")


@pytest.mark.usefixtures("small_model")
def test_the_last_chunks_of_a_prompt_are_archived_under_it_after_the_switch(settings: Settings, runs: Path) -> None:
    config = settings(chunks_per_prompt=3, memory={"frames_per_entity": 12})
    seen = chunks(events(build_graph(config), runs, MIA, TOM), prompt_id=2)
    assert [chunk["evicted"] for chunk in seen] == [1, 2, 3]
    assert [str(chunk["kept_frame"])[:6] for chunk in seen] == ["p1_c2_", "p1_c3_", "p2_c1_"]
    archive = json.loads((runs / "film" / "memory_bank.json").read_text())["frame_archive"]
    for chunk in seen:
        own = {str(i) for i in archive[chunk["kept_frame"]]["associated_entities"]}
        assert own == ({"1"} if chunk["kept_frame"].startswith("p1") else {"2"})
        assert chunk["kept_scores"] == archive[chunk["kept_frame"]]["entity_scores"]


@pytest.mark.usefixtures("small_model")
def test_one_who_returns_by_name_has_the_same_id_her_own_frames_and_her_description_back(
    settings: Settings, runs: Path
) -> None:
    seen = events(build_graph(settings(chunks_per_prompt=5)), runs, MIA, TOM, MIA_AGAIN)
    first, second, third = (event for event in seen if event["type"] == "prompt")
    assert [entity["global_id"] for entity in first["entities"] if entity["entity"] == "Mia"] == [1]
    assert [entity["global_id"] for entity in third["entities"] if entity["entity"] == "Mia"] == [1]
    assert 1 not in [entity["global_id"] for entity in second["entities"]]
    assert first["memory"] == []
    assert len(third["memory"]) == 3
    assert all(frame.startswith("p1_") for frame in third["memory"])
    assert third["prompt"] == MIA_AGAIN
    assert third["text"].startswith(MIA_AGAIN)
    assert "red hair" in third["text"]
    assert chunks(seen, 3)[0]["memory"] == third["memory"]


def test_without_enrichment_the_model_gets_the_users_words(small_model: Any, settings: Settings, runs: Path) -> None:
    events(build_graph(settings(chunks_per_prompt=1, prompt={"enrich": False})), runs, MIA, TOM, MIA_AGAIN)
    assert small_model.streams[0].texts == [MIA, TOM, MIA_AGAIN]


def test_a_prompt_is_set_once_even_when_it_repeats(small_model: Any, settings: Settings, runs: Path) -> None:
    events(build_graph(settings(chunks_per_prompt=2, prompt={"enrich": False})), runs, MIA, MIA)
    assert small_model.streams[0].texts == [MIA, MIA]


@pytest.mark.usefixtures("small_model")
def test_the_custom_stream_is_the_event_log(settings: Settings, runs: Path) -> None:
    seen = events(build_graph(settings(chunks_per_prompt=3)), runs, MIA, TOM)
    log = [json.loads(line) for line in (runs / "film" / "events.jsonl").read_text().splitlines()]
    assert log == seen
    kinds = [event["type"] for event in seen]
    assert kinds == ["run", "prompt", *["chunk"] * 3, "prompt", *["chunk"] * 3, "done"]


@pytest.mark.usefixtures("small_model")
def test_without_retrieval_the_memory_stays_empty(settings: Settings, runs: Path) -> None:
    seen = chunks(events(build_graph(settings(memory={"retrieval": "none"})), runs, MIA, MIA_AGAIN))
    assert all(chunk["memory"] == chunk["memory_next"] == [] for chunk in seen)


@pytest.mark.usefixtures("small_model")
def test_it_can_be_stepped_node_by_node(settings: Settings, runs: Path) -> None:
    graph = build_graph(settings(chunks_per_prompt=2), InMemorySaver(), interrupt_before="*")
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    given: Any = {"prompts": [MIA, TOM], "video_id": "film"}
    order: list[str] = []
    while True:
        graph.invoke(given, thread, context=context)
        given = None
        following = graph.get_state(thread).next
        if not following:
            break
        order += following
    prompt = ["parse_prompt", "match_entities", "retrieve_memory", *["generate_chunk", "update_memory"] * 2]
    assert order == ["open_video", *prompt, *prompt, "merge_video"]
    assert Path(graph.get_state(thread).values["video"]) == runs / "film" / "video.mp4"


@pytest.mark.usefixtures("small_model")
def test_the_graph_draws_every_edge_that_it_takes() -> None:
    drawn = {(edge.source, edge.target) for edge in build_graph().get_graph().edges}
    assert drawn >= {
        ("__start__", "open_video"),
        ("open_video", "parse_prompt"),
        ("parse_prompt", "match_entities"),
        ("match_entities", "retrieve_memory"),
        ("retrieve_memory", "generate_chunk"),
        ("generate_chunk", "update_memory"),
        ("update_memory", "generate_chunk"),
        ("update_memory", "parse_prompt"),
        ("update_memory", "merge_video"),
        ("merge_video", "__end__"),
    }


@pytest.mark.usefixtures("small_model")
def test_the_context_may_be_absent_a_dict_or_partial(
    settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = build_graph(settings(chunks_per_prompt=2))
    monkeypatch.chdir(tmp_path)
    assert Path(graph.invoke({"prompts": [MIA]})["video"]) == tmp_path / "runs" / "video" / "video.mp4"
    context: Any = {"out": str(runs), "chunks_per_prompt": 1, "overrides": ["memory.slots=1"], "seed": 5}
    graph.invoke({"prompts": [MIA], "video_id": "film"}, context=context)
    facts = json.loads((runs / "film" / "run.json").read_text())
    assert (facts["chunks"], facts["seed"], facts["config"]["memory"]["slots"]) == (1, 5, 1)
