"""``memreel bench recall``: what it writes and prints, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Status, Tool, entities, serve
from painted import PaintedModel, PaintedStream

from memreel.benchmarks.recall import main as recall
from memreel.benchmarks.recallbench.scripts import BenchScript, make_scripts
from memreel.benchmarks.recallbench.strategies import (
    CONTROLS,
    READERS,
    SCORERS,
    STRATEGIES,
    TABLE,
    controls,
    parse_variant,
    variants,
)
from memreel.cli import main
from memreel.configs import load_config
from memreel.configs.schema import MemoryConfig, ModelConfig
from memreel.errors import UserError
from memreel.model.sketch.model import SketchModel
from memreel.model.sketch.weights import load_scorer
from memreel.world.sentences import attributes, head

CROPS = ["--crops", "reader", "colours"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the benchmark run on the painted model; returns the seeds of the streams that were opened."""
    seeds: list[int] = []

    class Counted(PaintedModel):
        def open(self, seed: int) -> PaintedStream:
            seeds.append(seed)
            return super().open(seed)

    model = Counted(make_scripts(2))

    def load(config: ModelConfig) -> PaintedModel:
        assert config.name == "sketch"
        return model

    monkeypatch.setattr("memreel.model.load", load)
    monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
    return seeds


def command(out: Path, strategies: str = "none,identity,oracle", *more: str) -> list[str]:
    short = ["--scripts", "1", "--set", "chunks_per_prompt=7"]
    return ["bench", "recall", "--out", str(out), "--strategies", strategies, *short, *more]


def test_the_last_line_is_one_json_object_with_intervals_by_strategy(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none,identity,oracle", "--json")) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    rows = result["strategies"]
    assert list(rows) == ["none", "identity", "oracle"]
    assert rows["oracle"]["recall"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": rows["none"]["recall"]["n"]}
    assert rows["identity"]["recall"]["mean"] == rows["identity"]["matched"]["mean"] == 1.0
    assert rows["none"]["recall"]["mean"] == 0.0
    assert result["reader"]["all"]["mean"] >= 0.98
    assert "3/3 takes" in captured.err
    assert len(set(opened)) == 1, "strategies are compared under the same seed"
    assert json.loads((tmp_path / "recall.json").read_text()) == result


def test_a_table_and_a_drawing_are_written(opened: list[int], tmp_path: Path) -> None:
    assert main(command(tmp_path, "identity,identity+enrich")) == 0
    table = (tmp_path / "recall.md").read_text()
    assert "| identity | **1.00** [1.00, 1.00] |" in table
    assert "| identity+enrich | **1.00**" in table
    assert "| recall with enrichment | 0.85 | 1.000 [1.000, 1.000] | reached |" in table
    assert "| identity | 0.00 [0.00, 0.00] | 1.00 [1.00, 1.00] |" in table, "enrichment against none of it"
    drawing = ElementTree.fromstring((tmp_path / "recall.svg").read_text())
    lines = list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))
    assert [line.get("stroke-dasharray") for line in lines] == [None, "5 3"]
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"identity", "with enrichment", "1", "1.00"} <= set(texts)


def test_a_stopped_benchmark_goes_on_and_a_cut_line_is_made_again(opened: list[int], tmp_path: Path) -> None:
    assert main(command(tmp_path, "none,oracle")) == 0
    before = json.loads((tmp_path / "recall.json").read_text())["strategies"]["oracle"]
    log = tmp_path / "takes.jsonl"
    first, second = log.read_text().splitlines()
    log.write_text(first + "\n" + second[: len(second) // 2])
    assert main(command(tmp_path, "none,oracle")) == 0
    assert len(opened) == 3
    after = json.loads((tmp_path / "recall.json").read_text())["strategies"]["oracle"]
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    assert main(command(tmp_path, "none,oracle")) == 0
    assert len(opened) == 3


def test_only_scripts_that_every_strategy_has_taken_count_and_the_account_says_so(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none,oracle", "--scripts", "2")) == 0
    whole = json.loads((tmp_path / "recall.json").read_text())
    log = tmp_path / "takes.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[:-1]))
    assert main(command(tmp_path, "none,oracle", "--scripts", "2", "--seconds", "0", "--json")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(opened) == 4, "no time, no takes"
    assert (whole["scripts"], result["scripts"], result["takes"]) == (2, 1, {"made": 3, "planned": 4})
    assert {row["scripts"] for row in result["strategies"].values()} == {1}
    assert "3 of 4 takes are made" in (tmp_path / "recall.md").read_text()


def test_without_a_finished_script_there_is_no_account_but_takes_are_kept(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none,oracle", "--seconds", "0")) == 2
    assert "no script is finished under all 2 strategies yet (0 takes are kept)" in capsys.readouterr().err
    assert not opened
    assert main(command(tmp_path, "none,oracle", "--seconds", "-3")) == 2
    assert "--seconds -3" in capsys.readouterr().err


def test_takes_of_other_weights_or_of_another_form_are_not_mixed(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none")) == 0
    log = tmp_path / "takes.jsonl"
    log.write_text(log.read_text().replace('"weights": "painted"', '"weights": "trained"'))
    capsys.readouterr()
    assert main(command(tmp_path, "none,oracle")) == 2
    assert "other weights" in capsys.readouterr().err
    log.write_text('{"script": 0}\n')
    assert main(command(tmp_path, "none")) == 1
    assert "choose another --out" in capsys.readouterr().err


def test_takes_from_before_a_setting_was_there_are_gone_on_with(opened: list[int], tmp_path: Path) -> None:
    assert main(command(tmp_path, "none")) == 0
    claim = json.loads((tmp_path / "plan.json").read_text())
    del claim["config"]["memory"]["words"]
    (tmp_path / "plan.json").write_text(json.dumps(claim))
    assert main(command(tmp_path, "none")) == 0
    assert len(opened) == 1


def test_takes_of_other_settings_are_not_mixed(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none")) == 0
    capsys.readouterr()
    assert main(command(tmp_path, "none", "--seed", "3")) == 2
    assert "another --out" in capsys.readouterr().err
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategies", "identty"], "did you mean 'identity'"),
        (["--strategies", "identity+frames"], "only 'enrich'"),
        (["--strategies", "identity@silver"], "@silver"),
        (["--strategies", "none,identity@llm"], "set agent.model or MEMREEL_LLM_MODEL"),
        (["--strategies", ""], "at least one strategy"),
        (["--strategies", "none,identity@9"], "'identity@9': the video model 'sketch' attends to"),
        (["--scripts", "0"], "one script"),
        (["--set", "chunks_per_prompt=3"], "chunks_per_prompt=3"),
        (["--set", "memory.slot=3"], "memory.slot"),
    ],
)
def test_what_cannot_work_is_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (lambda: main(["bench", "recall", "--out", str(tmp_path / "out"), *arguments]),
                lambda: recall(["--out", str(tmp_path / "out"), *arguments])):  # fmt: skip
        assert run() == 2
        [line] = capsys.readouterr().err.splitlines()
        assert said in line
    assert not (tmp_path / "out").exists()


def test_crops_stand_beside_what_is_read_or_alone(
    opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "both", "none,oracle", *CROPS, "--scripts", "2", "--json")) == 0
    both = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (both["main"], both["crops"]["reidentified"]["mean"], both["reader"]["all"]["mean"]) == ("recall", 1.0, 1.0)
    assert {"recall", "reidentified", "likeness", "subject_consistency"} <= set(both["strategies"]["oracle"])
    more = ["--scripts", "2", "--judge", "nobody", "--json"]
    assert main(command(tmp_path / "crops", "identity,oracle", *CROPS, *more)) == 0
    alone = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (alone["main"], "reader" in alone, alone["targets"]) == ("reidentified", False, [])
    assert "recall" not in alone["strategies"]["oracle"]
    assert {gap["mean"] for gap in alone["strategies"]["oracle"]["by_gap"].values()} == {1.0}
    assert list(alone["contrasts"]["identity"]) == ["oracle"]
    written = (tmp_path / "crops" / "recall.md").read_text()
    assert "## Re-identified by crops, by prompts of absence" in written
    assert "Gray et al. 2007" in written
    assert "`recall`:" not in written
    assert "Re-identified by crops" in (tmp_path / "crops" / "recall.svg").read_text()
    assert main(command(tmp_path / "one", "oracle", *CROPS, "--judge", "nobody")) == 0, "nobody to be taken for"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "nobody"], "--crops"),
        (["--crops", "weights/owlv2", "colours"], "no folder weights/owlv2; hf download google/owlv2"),
        (["--config", "wan-1.3b", "--crops", "reader", "weights/dinov2"], "no folder weights/dinov2; hf download face"),
    ],
)
def test_crops_that_cannot_be_are_refused_before_anything_is_rendered(
    arguments: list[str], said: str, opened: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (main, lambda given: recall(given[2:])):
        assert run(command(tmp_path / "out", "none", *arguments)) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert said in line
    assert not opened


def reading_of(script: BenchScript) -> Callable[[dict[str, Any]], Tool]:
    """Answer requests as a model does that makes no mistake."""
    ids: dict[int, int] = {}

    def answer(asked: dict[str, Any]) -> Tool:
        prompt = asked["messages"][-1]["content"].split("<prompt>\n")[1].split("\n</prompt>")[0]
        number = script.prompts.index(prompt)
        if number == 0:
            ids.clear()
        told = []
        for key, described in script.story.scenes[number].mentions.items():
            being = script.story.beings[key]
            told.append(
                {
                    "entity": head(being) if being.name else head(being).lower(),
                    "kind": "object" if being.is_object else "character",
                    "attrs": attributes(being) if described else [],
                    "global_id": ids.get(key),
                }
            )
            ids.setdefault(key, len(ids) + 1)
        return Tool(entities(*told))

    return answer


def test_gold_ids_analyst_and_chat_model_stand_side_by_side(
    opened: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    with serve(reading_of(make_scripts(1)[0])) as server:
        llm = ["--set", "agent.model=judge-1", "--set", f"agent.base_url={server.base_url}"]
        assert main(command(tmp_path, "identity@gold,identity@analyst,identity@llm", *llm)) == 0
        assert len(server.requests) == 6
    rows = json.loads((tmp_path / "recall.json").read_text())["strategies"]
    assert {name: row["read"]["by"] for name, row in rows.items()} == {
        "identity@gold": {"gold": 6},
        "identity@analyst": {"analyst": 6},
        "identity@llm": {"judge-1": 6},
    }
    assert (rows["identity@llm"]["read"]["requests"], rows["identity@llm"]["read"]["tokens"]) == (6, 900)
    assert rows["identity@llm"]["matched"]["mean"] == rows["identity@llm"]["recall"]["mean"] == 1.0
    table = (tmp_path / "recall.md").read_text()
    assert "prompts read by judge-1" in table
    assert "| identity@llm | judge-1 6 | 6 | 900 |" in table


def test_prompts_that_the_analyst_read_instead_are_counted(
    opened: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    monkeypatch.setenv("MEMREEL_LLM_MODEL", "judge-1")
    with serve(Status(401)) as server:
        monkeypatch.setenv("MEMREEL_LLM_BASE_URL", server.base_url)
        assert main(command(tmp_path, "identity")) == 0
    result = json.loads((tmp_path / "recall.json").read_text())
    assert result["settings"]["reader"] == "judge-1"
    read = result["strategies"]["identity"]["read"]
    assert (read["by"], read["requests"], read["tokens"]) == ({"analyst": 6}, 6, 0)


def test_a_model_whose_pictures_the_reader_cannot_read_is_refused(
    small_model: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "none")) == 2
    assert "192 x 112" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        ("identiti", "did you mean 'identity'?"),
        ("identity@silver", "unknown mark '@silver'"),
        ("identity@stor=latent", "did you mean 'store'?"),
        ("identity@store=tape", "memory.store: input should be 'kv' or 'latent'"),
        ("identity@0+enriched", "only 'enrich' may stand"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_by_its_part(variant: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        parse_variant(variant)


def test_a_variant_sets_the_bank_as_it_is_spelt() -> None:
    config = parse_variant("first@2@store=latent@presence=0.25").memory(MemoryConfig())
    assert (config.slots, config.store, config.presence, config.retrieval) == (2, "latent", 0.25, "first")


def test_controls_are_those_that_the_video_model_can_do() -> None:
    sketch, wan = load_config("sketch"), load_config("wan-1.3b")
    more = load_config("wan-1.3b", ["model.wan.memory=6"])
    six = parse_variant("identity@6")
    assert set(SCORERS) <= set(controls(sketch))
    assert (six in controls(sketch)) == (SketchModel.memory_slots >= 6)
    assert set(controls(wan)) == set(CONTROLS) - {six}
    assert set(controls(more)) == set(CONTROLS)


def test_the_scorers_that_are_compared_come_with_the_weights() -> None:
    known = load_scorer().others
    assert {str(dict(variant.settings)["scorer"]) for variant in SCORERS} <= set(known)


def test_every_strategy_stands_in_the_table_without_and_with_enrichment() -> None:
    assert [v.name for v in TABLE] == [f"{name}{tail}" for name in STRATEGIES for tail in ("", "+enrich")]
    others = variants(["semantic@gold@2@wrong+enrich", "identity@llm"])
    for variant in (*TABLE, *CONTROLS, *SCORERS, *READERS, *others):
        assert parse_variant(variant.name) == variant
