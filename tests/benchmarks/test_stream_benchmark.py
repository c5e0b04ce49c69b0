"""The stream benchmark on small random weights: every figure is there, and adds up."""

from __future__ import annotations

import json

import pytest

from memreel.benchmarks.stream import REAL, main, work

SMALL = ["--random-weights", "--small", "--chunks", "3", "--codec", "tiny", "--json"]
SIZE = ["--set", "model.wan.width=64", "--set", "model.wan.height=32", "--set", "model.device=cpu"]


@pytest.mark.parametrize("more", [["--precision", "fp32"], ["--precision", "fp8", "--set", "memory.store=kv"]])
def test_every_part_of_a_chunk_is_timed_and_the_last_line_is_json(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *SIZE, *more]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    took = {name: row["median"] for name, row in report["milliseconds"].items()}
    assert took.keys() == {"context", "denoise", "clean", "decode", "bank", "transformer", "end_to_end"}
    assert all(0 < row["p10"] <= row["median"] <= row["p90"] for row in report["milliseconds"].values())
    assert took["end_to_end"] > took["transformer"]
    assert report["pictures_per_second"]["end_to_end"] == pytest.approx(12000 / took["end_to_end"], rel=0.02)
    assert (report["memory_frames"], report["limit"]["frames_attended"], report["limit"]["passes"]) == (3, 15, 5)
    assert report["attention"]["kernel"] in report["attention"]["milliseconds"]
    assert report["peak_host_gb"] > 0


def test_the_arithmetic_of_a_chunk_is_that_of_wan_1_3b() -> None:
    each = work(REAL, 4680, 12 * 1560)
    assert each.linear / 1e12 == pytest.approx(11.7, abs=0.05)
    assert 5 * (each.linear + each.attention) / 1e12 == pytest.approx(141.5, abs=1)


def test_another_model_or_a_wrong_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--preset", "sketch"]) == 2
    assert "this measures Wan presets" in capsys.readouterr().err
    assert main([*SMALL, *SIZE, "--precision", "int4"]) == 2
