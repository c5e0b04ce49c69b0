"""What a run leaves: files that match their schemas, a playable video, the latents; a failed one no half file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import jsonschema
import pytest
import torch
from langgraph.checkpoint.memory import InMemorySaver

from memreel.configs.schema import RunConfig
from memreel.errors import ModelError, StoreError, UserError
from memreel.graph.assembly import build_graph
from memreel.graph.context import RunContext
from memreel.graph.latents import latents_path, read_latents
from memreel.memory.archive import load
from memreel.output.run_folder import RunFolder

SCHEMAS = Path(__file__).parent / "schemas"
PROMPTS = [
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Tom, a man with black hair, waits in the park.",
    "Mia comes back into the library and picks up the notebook.",
]

Settings = Callable[..., RunConfig]


def make(runs: Path, config: RunConfig, video_id: str = "film", prompts: list[str] = PROMPTS) -> RunFolder:
    build_graph(config).invoke({"prompts": prompts, "video_id": video_id}, context=RunContext(out=str(runs)))
    return RunFolder(runs / video_id)


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text())


@pytest.mark.usefixtures("embedded_model")
def test_every_json_file_matches_its_schema(settings: Settings, runs: Path) -> None:
    folder = make(runs, settings(chunks_per_prompt=2))
    jsonschema.validate(folder.read_json(folder.memory_bank), schema("memory_bank"))
    jsonschema.validate(folder.read_json(folder.llm_agent), schema("llm_agent"))
    jsonschema.validate(folder.read_json(folder.run), schema("run"))
    for event in folder.read_events():
        jsonschema.validate(event, schema("event"))
    assert [entry["prompt"] for entry in folder.read_json(folder.llm_agent)] == PROMPTS
    assert load(folder.memory_bank)["prompts"].keys() == {"1", "2", "3"}
    assert "</html>" in folder.report.read_text()
    assert folder.finished()


@pytest.mark.usefixtures("small_model")
def test_the_video_has_every_picture_and_every_memory_frame_its_files(settings: Settings, runs: Path) -> None:
    folder = make(runs, settings())
    with av.open(str(folder.video)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 3 * 4 * 12
        assert float(video.streams.video[0].average_rate or 0) == 16
    archive = folder.read_json(folder.memory_bank)["frame_archive"]
    assert {path.name for path in folder.frames.iterdir()} == {f"{name}.png" for name in archive}
    assert not list(folder.path.rglob(".*.part"))


@pytest.mark.usefixtures("small_model")
def test_timings_add_up_and_say_how_fast_it_was(settings: Settings, runs: Path) -> None:
    folder = make(runs, settings())
    facts = folder.read_json(folder.run)
    stages = {name: value for name, value in facts["seconds"].items() if name != "total"}
    assert sum(stages.values()) == pytest.approx(facts["seconds"]["total"], abs=0.02)
    assert stages["denoise"] == pytest.approx(12 * 0.01, abs=0.002)
    assert facts["video_seconds"] == pytest.approx(9)
    assert facts["ratio"] == pytest.approx(9 / facts["seconds"]["total"], rel=0.01)


def test_the_log_of_latents_tells_what_each_chunk_was_made_under(
    small_model: Any, settings: Settings, runs: Path
) -> None:
    folder = make(runs, settings(chunks_per_prompt=2))
    chunks = [event for event in folder.read_events() if event["type"] == "chunk"]
    for index, event in enumerate(chunks):
        latents, made_under = read_latents(folder, index)
        spec = small_model.spec
        assert latents.shape == (3, spec.latent_channels, spec.latent_height, spec.latent_width)
        assert made_under["text"] == small_model.streams[0].texts[index // 2]
        assert (made_under["memory"], made_under["chunk_id"]) == (event["memory"], event["chunk_id"])
    assert not torch.equal(read_latents(folder, 0)[0], read_latents(folder, 1)[0])
    path = latents_path(folder, 1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"000001\.safetensors is damaged"):
        read_latents(folder, 1)
    with pytest.raises(StoreError, match=r"cannot read .*000009"):
        read_latents(folder, 9)


def test_a_run_whose_model_fails_leaves_its_log_and_no_video(small_model: Any, settings: Settings, runs: Path) -> None:
    small_model.fail_at = 5
    with pytest.raises(ModelError, match="chunk 5"):
        make(runs, settings())
    folder = RunFolder(runs / "film")
    assert not folder.video.exists()
    assert not list(folder.path.rglob("*.part"))
    *before, last = folder.read_events()
    assert (last["type"], last["status"]) == ("done", "failed")
    assert "chunk 5" in last["error"]
    assert [event["index"] for event in before if event["type"] == "chunk"] == [0, 1, 2, 3, 4]
    assert not folder.finished()


def test_a_failed_run_can_be_started_again_in_its_folder(small_model: Any, settings: Settings, runs: Path) -> None:
    small_model.fail_at = 3
    with pytest.raises(ModelError):
        make(runs, settings())
    small_model.fail_at = None
    folder = make(runs, settings())
    assert folder.finished()
    assert [event["type"] for event in folder.read_events()].count("run") == 1


@pytest.mark.usefixtures("small_model")
@pytest.mark.parametrize(
    ("given", "context", "says"),
    [
        ({"prompts": []}, {}, "input: no prompts"),
        ({"prompts": ["a", " "]}, {}, "input: prompt 2 is empty"),
        ({"prompts": "a"}, {}, "must be a list of strings"),
        ({"prompts": ["a"], "video_id": "../a"}, {}, "use 'a'"),
        ({"prompts": ["a"]}, {"overrides": ["memory.slotz=1"]}, "did you mean 'memory.slots'?"),
        ({"prompts": ["a"]}, {"overrides": ["memory.slots=4"]}, "memory.slots"),
        ({"prompts": ["a"]}, {"preset": "skech"}, "did you mean 'sketch'?"),
        ({"prompts": ["a"]}, {"preset": "sketch", "config": {}}, "not both"),
        ({"prompts": ["a"]}, {"sed": 1}, "did you mean 'seed'?"),
        ({"prompts": ["a"]}, {"chunks_per_prompt": 0}, "chunks_per_prompt"),
    ],
)
def test_bad_input_writes_nothing(given: Any, context: dict[str, Any], says: str, runs: Path) -> None:
    given_context: Any = {"out": str(runs), **context}
    with pytest.raises(UserError) as caught:
        build_graph().invoke(given, context=given_context)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not runs.exists()


@pytest.mark.usefixtures("small_model")
def test_a_place_that_cannot_be_written_is_the_users_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        build_graph().invoke({"prompts": ["a"]}, context=RunContext(out=str(tmp_path / "file" / "runs")))


@pytest.mark.usefixtures("small_model")
def test_strict_checkpoints_bring_a_state_back_unchanged(settings: Settings, runs: Path) -> None:
    saver = InMemorySaver()
    graph = build_graph(settings(chunks_per_prompt=6), saver)
    thread: Any = {"configurable": {"thread_id": "t"}}
    final = graph.invoke({"prompts": PROMPTS[:2], "video_id": "film"}, thread, context=RunContext(out=str(runs)))
    assert graph.get_state(thread).values == final
    assert json.loads(json.dumps(final)) == final


@pytest.mark.usefixtures("small_model")
def test_a_thread_given_prompts_again_starts_a_new_video(settings: Settings, runs: Path) -> None:
    graph = build_graph(settings(chunks_per_prompt=1), InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    context = RunContext(out=str(runs))
    graph.invoke({"prompts": PROMPTS}, thread, context=context)
    again = graph.invoke({"prompts": [PROMPTS[1]]}, thread, context=context)
    assert Path(again["video"]).parent.name == "video-t"
    assert (again["index"], list(again["bank"]["prompts"])) == (1, ["1"])
    assert sum(1 for event in RunFolder(runs / "video-t").read_events() if event["type"] == "chunk") == 1
