"""The stream benchmark on small random weights: every figure is there, and adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memreel.benchmarks.stream import main
from memreel.benchmarks.streambench import matrix
from memreel.benchmarks.streambench.limit import work
from memreel.benchmarks.streambench.measure import PARTS
from memreel.benchmarks.streambench.table import BEGIN, END
from memreel.benchmarks.streambench.weights import REAL

SMALL = ["--random-weights", "--small", "--chunks", "3", "--codec", "tiny", "--json"]
SIZE = ["--set", "model.wan.width=64", "--set", "model.wan.height=32", "--set", "model.device=cpu"]


@pytest.mark.parametrize("more", [["--precision", "fp32"], ["--precision", "fp8", "--set", "memory.store=kv"]])
def test_every_part_of_a_chunk_is_timed_and_the_last_line_is_json(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *SIZE, *more]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    took = {name: row["median"] for name, row in report["milliseconds"].items()}
    assert took.keys() == {*PARTS, "pictures", "beside", "transformer", "end_to_end"}
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


def test_a_profile_says_where_the_time_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "kernels.md"
    assert main([*SMALL, *SIZE, "--precision", "fp32", "--profile", str(page)]) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "| ms a chunk | share | calls | kernel |"
    assert any("scaled_dot_product" in line or "mm" in line for line in lines[2:])
    shares = [float(line.split("|")[2].strip(" %")) for line in lines[2:]]
    assert shares == sorted(shares, reverse=True)
    assert capsys.readouterr().out


def test_a_matrix_goes_past_what_fails_and_stops_with_its_budget(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells = [{"precision": "fp32", "speed": "eager", "codec": "tiny", "local": 3}]
    cells += [{**cells[0], "precision": "int4"}, {**cells[0], "codec": "wan"}]
    monkeypatch.setattr(matrix, "CELLS", cells)
    monkeypatch.setattr(matrix, "ENOUGH", 0.0)
    asked = ["--random-weights", "--small", "--chunks", "2", *SIZE, "--matrix"]
    assert main([*asked, "--budget", "100"]) == 1
    printed = capsys.readouterr().out
    measured, failed, other = (json.loads(line) for line in printed.splitlines())
    assert measured["limit"]["frames_attended"] == other["limit"]["frames_attended"] == 12
    assert failed["error"].startswith("status 2: stream: ")
    assert main([*asked, "--budget", "0.05"]) == 1
    assert "took longer than 0 s" in capsys.readouterr().out
    lines, page = tmp_path / "lines.jsonl", tmp_path / "page.md"
    lines.write_text(printed)
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["--table", str(lines), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({row.count("|") for row in rows}) == 1
    assert f"**{measured['milliseconds']['transformer']['median']:.1f}**" in rows[1]
    assert "status 2" in rows[2]


def test_a_table_needs_reports_and_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"other": 1}\n')
    assert main(["--table", str(lines)]) == 2
    assert "line 1 is no report of this benchmark" in capsys.readouterr().err
    lines.write_text("")
    assert main(["--table", str(lines), "--into", str(lines)]) == 2
    assert "has no place for the table" in capsys.readouterr().err
