"""Prompts that are long behind: they leave the state for the log, and nothing that is made of a run shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langgraph.checkpoint.memory import InMemorySaver

import memreel
from memreel.benchmarks.kills import differing
from memreel.cli import main
from memreel.configs.schema import RunConfig
from memreel.graph.answers import summary
from memreel.graph.assembly import build_graph
from memreel.graph.checkpoints import checkpoints
from memreel.graph.context import RunContext
from memreel.graph.history import fork_at
from memreel.graph.render import generate, render
from memreel.graph.stream import LiveStream
from memreel.output.run_folder import RunFolder
from memreel.script import Script

STORY = (
    "Rain falls on the empty street.",
    "Mia, a woman with red hair and a blue sweater, walks into the library.",
    "Tom, a man with black hair, waits in the park.",
    "Mia waves.",
    "Tom sits down.",
    "Mia and Tom dance on the beach.",
    "Tom runs.",
    "Mia reads a red book.",
    "Rain falls on the empty street again.",
)
CONFIG = RunConfig(chunks_per_prompt=4)


def film(runs: Path, name: str = "film", prompts: tuple[str, ...] = STORY) -> RunFolder:
    list(generate(Script(name, prompts), runs, CONFIG))
    return RunFolder(runs / name)


def events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in folder.read_events() if event["type"] == kind]


@pytest.fixture
def brief(small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep two prompts in the state instead of more than these stories have."""
    monkeypatch.setattr("memreel.graph.journal.KEPT", 2)


@pytest.fixture
def whole(small_model: Any, tmp_path: Path) -> RunFolder:
    """The story as it is made with every prompt in the state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memreel.graph.journal.KEPT", len(STORY))
        folder = film(tmp_path / "whole")
    assert events(folder, "earlier") == []
    return folder


def same(folder: RunFolder, whole: RunFolder) -> None:
    """Compare what two runs have made; their logs differ by when prompts left the state."""
    assert set(differing(folder, whole)) <= {"events.jsonl"}
    kinds = ("prompt", "chunk")
    timed = ("seconds", "read_in", "waited")
    one, other = (
        [{k: v for k, v in e.items() if k not in timed} for e in f.read_events() if e["type"] in kinds]
        for f in (folder, whole)
    )
    assert one == other


@pytest.mark.usefixtures("brief")
def test_the_files_are_those_of_a_run_that_kept_every_prompt_in_its_state(whole: RunFolder, runs: Path) -> None:
    folder = film(runs)
    same(folder, whole)
    assert len(folder.read_json(folder.memory_bank)["prompts"]) == len(folder.read_json(folder.llm_agent)) == 9
    assert [event["prompt_id"] for event in events(folder, "earlier")] == list(range(1, 8))
    schema = json.loads((Path(__file__).parent / "schemas" / "event.schema.json").read_text())
    for event in folder.read_events():
        jsonschema.validate(event, schema)
    assert main(["check", str(folder.path)]) == 0


@pytest.mark.usefixtures("brief")
def test_the_frames_of_a_like_prompt_long_behind_come_back(runs: Path) -> None:
    folder = film(runs)
    last = events(folder, "prompt")[-1]
    assert last["entities"] == []
    assert last["memory"]
    assert {name.split("_")[0] for name in last["memory"]} == {"p1"}


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("after", [19, 20, 21])
def test_a_stopped_run_goes_on_with_them(after: int, whole: RunFolder, runs: Path) -> None:
    script = Script("film", STORY)
    made = generate(script, runs, CONFIG)
    for chunk in made:
        if chunk.event["index"] + 1 == after:
            break
    made.close()  # type: ignore[attr-defined]
    assert [chunk.event["index"] for chunk in generate(script, runs, CONFIG, resume=True)] == list(range(after, 36))
    same(RunFolder(runs / "film"), whole)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("at", "chunk"), [(2, 3), (7, 2), (7, 4)])
def test_a_fork_has_those_that_were_behind_there(
    at: int, chunk: int, whole: RunFolder, runs: Path, tmp_path: Path
) -> None:
    folder = film(runs)
    branch = fork_at(folder, at, chunk, STORY[6:], tmp_path)
    assert main(["resume", str(branch.path)]) == 0
    told = [record["prompt"] for record in branch.read_json(branch.llm_agent)]
    assert told == [*STORY[:at], *STORY[6:]]
    assert events(branch, "run")[0]["prompts"] == told
    assert [event["prompt_id"] for event in events(branch, "earlier")] == list(range(1, len(told) - 1))
    if (at, chunk) == (2, 3):
        mia = branch.read_json(branch.memory_bank)["global_registry"]["1"]
        assert [one["prompt_id"] for one in mia["instances"]] == [2, 4]


@pytest.mark.usefixtures("brief")
def test_a_fork_of_langgraphs_at_a_chunk_long_past_goes_on(whole: RunFolder, runs: Path) -> None:
    graph = build_graph(CONFIG, InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": list(STORY), "video_id": "film"}, thread, context=context)
    same(RunFolder(runs / "film"), whole)
    for index in (30, 11):
        old = next(s for s in graph.get_state_history(thread) if s.values.get("index") == index and s.next)
        final = graph.invoke(None, old.config, context=context)
        branch = RunFolder(runs / final["video_id"])
        assert branch.path.name == f"film-at-{old.values['prompt_id']}.{old.values['chunk_id']}"
        assert branch.memory_bank.read_bytes() == whole.memory_bank.read_bytes()
        assert branch.llm_agent.read_bytes() == whole.llm_agent.read_bytes()
        assert branch.video.read_bytes() == whole.video.read_bytes()


@pytest.mark.usefixtures("brief")
def test_an_edited_cast_and_script_go_on_with_prompts_behind(runs: Path) -> None:
    graph = build_graph(CONFIG, InMemorySaver(), interrupt_before=["parse_prompt"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": list(STORY), "video_id": "film"}, thread, context=context)
    while (values := graph.get_state(thread).values)["prompt_id"] < 5:
        graph.invoke(None, thread, context=context)
    assert (values["earlier"], values["prompts"][0]) == (3, STORY[3])
    bank = values["bank"]
    mia = {**bank["cast"]["1"], "all_attrs": ["green hair"], "instances": bank["cast"]["1"]["instances"]}
    edit = {"bank": {**bank, "cast": {**bank["cast"], "1": mia}}, "prompts": [*values["prompts"][:2], "Mia sleeps."]}
    graph.update_state(thread, edit)
    while graph.get_state(thread).next:
        graph.invoke(None, thread, context=context)
    folder = RunFolder(runs / "film")
    assert "green hair" in events(folder, "prompt")[-1]["text"]
    assert [record["prompt"] for record in folder.read_json(folder.llm_agent)] == [*STORY[:5], "Mia sleeps."]
    registry = folder.read_json(folder.memory_bank)["global_registry"]
    assert [one["prompt_id"] for one in registry["1"]["instances"]] == [2, 4, 6]
    assert registry["1"]["all_attrs"] == ["green hair"]


@pytest.mark.usefixtures("brief")
def test_prompts_pushed_into_a_long_stream_take_their_places(runs: Path) -> None:
    stream = LiveStream(STORY[:6], runs, CONFIG)
    for chunk in stream:
        if chunk.event["index"] == 17:
            stream.push("It snows.")
            stream.push("A dog barks.", "now")
            stream.end()
    told = [record["prompt"] for record in stream.folder.read_json(stream.folder.llm_agent)]
    assert told == [*STORY[:5], "A dog barks.", STORY[5], "It snows."]
    assert [(e["prompt_id"], e["chunk_id"]) for e in events(stream.folder, "chunk") if "pushed" in e] == [
        (6, 1),
        (8, 1),
    ]


@pytest.mark.usefixtures("brief")
def test_tools_look_back_on_the_whole_story_and_rewind_into_it(runs: Path) -> None:
    tools = {tool.name: tool for tool in memreel.tools(CONFIG, out=runs)}
    for prompt in STORY[:7]:
        tools["generate_chunk"].invoke({"prompt": prompt, "chunks": 3})
    mia, tom = tools["describe_cast"].invoke({})
    assert (mia["prompts"], tom["prompts"]) == ([2, 4, 6], [3, 5, 6, 7])
    found = tools["search_memory"].invoke({"query": "rain in the street", "limit": 1})
    assert [prompt["prompt_id"] for prompt in found["prompts"]] == [1]
    tools["correct_identity"].invoke({"global_id": 2})
    assert tools["describe_cast"].invoke({})[1]["prompts"] == [3, 5, 6]
    tools["rewind"].invoke({"chunks": 5})
    assert tools["describe_cast"].invoke({})[0]["prompts"] == [2]
    for prompt in STORY[2:7]:
        tools["generate_chunk"].invoke({"prompt": prompt, "chunks": 3})
    tools["finish_video"].invoke({})
    folder = RunFolder(runs / "video")
    assert [record["prompt"] for record in folder.read_json(folder.llm_agent)] == list(STORY[:7])
    assert [event["prompt_id"] for event in events(folder, "earlier")] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("brief")
def test_an_answer_over_mcp_tells_every_prompt(runs: Path) -> None:
    state = build_graph(CONFIG).invoke({"prompts": list(STORY), "video_id": "film"}, context=RunContext(out=str(runs)))
    assert len(state["bank"]["prompts"]) == 2
    assert [prompt["prompt"] for prompt in summary(state)["prompts"]] == list(STORY)


def test_a_state_does_not_grow_with_the_video(small_model: Any, runs: Path) -> None:
    """Forty prompts, shown over and over: what the state weighs at the end is what it weighed at a third of them."""
    story = STORY[1:7]
    stream = LiveStream(story, runs, RunConfig(chunks_per_prompt=2))
    sizes: dict[int, int] = {}
    for chunk in stream:
        number = chunk.event["prompt_id"]
        if chunk.event["chunk_id"] == 2 and number <= 34:
            stream.push(story[(number - 1) % len(story)])
        if number == 40:
            stream.end()
    with checkpoints(stream.folder.checkpoints) as saver:
        for kept in saver.list(None):
            values = kept.checkpoint["channel_values"]
            if values.get("chunk_id") == 1:
                sizes[values["prompt_id"]] = len(json.dumps({k: values[k] for k in ("bank", "prompts", "pushed")}))
    middle, end = sorted(sizes[n] for n in range(13, 27)), sorted(sizes[n] for n in range(27, 41))
    assert end[len(end) // 2] <= 1.02 * middle[len(middle) // 2]
    assert len(stream.folder.read_json(stream.folder.memory_bank)["prompts"]) == 40


@pytest.mark.usefixtures("small_model")
def test_a_step_that_logged_several_lines_before_it_was_killed_is_done_again(runs: Path, tmp_path: Path) -> None:
    """The chunk that ends a prompt and the prompts that leave with it are one step; it is no reason to fork."""
    config = RunConfig(chunks_per_prompt=1)
    prompts = (*STORY, *STORY[1:3])
    script = Script("film", prompts)
    whole = RunFolder(tmp_path / "whole" / "film")
    list(generate(script, whole.path.parent, config))
    half = RunFolder(runs / "film")
    made = render(script, runs, config)
    for rendered in made:  # closed while the graph rests at the step's last line: no state knows of it
        if rendered.event["type"] == "earlier":
            break
    made.close()  # type: ignore[attr-defined]
    lines = [event["type"] for event in half.read_events()]
    assert lines[-3:] == ["chunk", "earlier", "done"]
    list(render(script, runs, config, resume=True))
    assert sorted(path.name for path in runs.iterdir()) == ["film"]
    assert differing(half, whole) == []
