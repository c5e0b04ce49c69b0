"""The examples do what they say, as a reader would run them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Text, call, serve

from memreel.configs.schema import RunConfig
from memreel.output.run_folder import RunFolder

ROOT = Path(__file__).parents[2]

Settings = Callable[..., RunConfig]


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested() -> None:
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert names == {"iterate_chunks", "film_in_a_graph", "writer_agent"}


@pytest.mark.usefixtures("small_model")
def test_chunks_can_be_iterated_in_plain_python(settings: Settings, runs: Path, capsys: Any) -> None:
    brightness = example("iterate_chunks").main(str(runs), settings(chunks_per_prompt=3))
    assert len(brightness) == 9
    assert len(set(brightness)) > 1
    assert "chunk  0: brightness" in capsys.readouterr().out
    assert RunFolder(runs / "video").finished()


@pytest.mark.usefixtures("small_model")
def test_memreel_is_a_node_of_a_larger_graph_and_its_chunks_stream_through(settings: Settings, runs: Path) -> None:
    caption, chunks = example("film_in_a_graph").main(str(runs), settings(chunks_per_prompt=2))
    assert chunks == list(range(6))
    assert caption == f"3 scenes about Mia: {runs / 'video' / 'video.mp4'}"


@pytest.mark.usefixtures("small_model")
def test_a_writer_agent_makes_a_film_by_calling_memreels_tools(
    settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    scenes = ["Mia, a woman with red hair, finds an umbrella.", "A dog sleeps.", "Mia gives the umbrella back."]
    made = [call("generate_chunk", prompt=scene, chunks=2) for scene in scenes]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    with serve(*made, call("finish_video"), Text("The film is done.")) as server:
        writer = example("writer_agent")
        monkeypatch.setenv("MEMREEL_LLM_BASE_URL", server.base_url)
        monkeypatch.setenv("MEMREEL_LLM_MODEL", "writer-1")
        monkeypatch.setattr("memreel.agent.reading.chat_model", lambda _: None)  # the analyst reads, the writer writes
        assert writer.main(str(runs), settings()) == "The film is done."
    told = [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "tool"]
    assert [len(json.loads(text)["chunks"]) for text in told[:3]] == [2, 2, 2]
    assert json.loads(told[2])["entities"][0]["global_id"] == 1
    assert RunFolder(runs / "video").finished()
    assert "→ finish_video()" in capsys.readouterr().out
