"""Turns reports of streams, one JSON object a line, into the markdown table of docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memreel.errors import UserError

BEGIN, END = "<!-- figures: python -m memreel.benchmarks.stream --table … -->", "<!-- end of figures -->"
COLUMNS = (
    "precision", "speed", "codec", "frames", "attention", "denoise", "clean", "transformer", "pictures/s", "limit",
    "share", "decode", "bank", "loop", "pictures/s", "of transformer", "device GB", "first chunk s", "steady after s",
)  # fmt: skip


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the reports in a file of JSON lines.

    Raises:
        UserError: it cannot be read, or a line is no report.
    """
    try:
        found = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"--table: {path}: {error}") from error
    for number, report in enumerate(found, 1):
        if not isinstance(report, dict) or not ({"milliseconds", "error"} & report.keys()):
            raise UserError(f"--table: {path}: line {number} is no report of this benchmark")
    return found


def table(reports: Sequence[dict[str, Any]]) -> str:
    """Return reports as a markdown table, a row each, with the machines that they are from; milliseconds a chunk."""
    machines = dict.fromkeys(_machine(report) for report in reports if "error" not in report)
    lines = [*machines, "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_row(report)) + " |" for report in reports]
    return "\n".join(lines) + "\n"


def _machine(report: dict[str, Any]) -> str:
    width, height = report["size"]
    weights = "random weights" if report["random_weights"] else "trained weights"
    eight = report["settings"]["precision"] == "fp8"
    speed = report["limit"]["linear_product_tflops" if eight else "product_tflops"]
    return (
        f"{report['device']}, torch {report['torch']}, {width}x{height}, {weights}, medians of {report['chunks']} "
        f"chunks; a large matrix product in {report['settings']['precision']} runs at {speed} TFLOP/s.  "
    )


def _row(report: dict[str, Any]) -> list[str]:
    settings = report["settings"]
    frames = settings["sink"] + settings["memory"] + settings["local"] + 3
    first = [settings["precision"], settings["speed"], settings["codec"], str(frames)]
    if "error" in report:
        return [*first, report["error"].replace("|", "/")[:80], *[""] * (len(COLUMNS) - len(first) - 1)]
    took, rate, limit = report["milliseconds"], report["pictures_per_second"], report["limit"]
    spread = took["transformer"]
    return [
        *first,
        report["attention"]["kernel"],
        f"{took['denoise']['median']:.1f}",
        f"{took['clean']['median']:.1f}",
        f"**{spread['median']:.1f}** ({spread['p10']:.1f}-{spread['p90']:.1f})",
        f"{rate['transformer']:.1f}",
        f"{limit['milliseconds']:.0f}",
        f"{limit['share']:.0%}",
        f"{took['decode']['median']:.1f}",
        f"{took['bank']['median']:.1f}",
        f"{took['end_to_end']['median']:.1f}",
        f"**{rate['end_to_end']:.1f}**",
        f"{rate['end_to_end'] / rate['transformer']:.0%}",
        "" if report["peak_device_gb"] is None else f"{report['peak_device_gb']:.1f}",
        f"{report['first_chunk_seconds']:.0f}",
        f"{report['steady_after_seconds']:.0f}",
    ]


def put_into(page: Path, text: str) -> None:
    """Replace what stands between a page's marks by ``text``.

    Raises:
        UserError: the page cannot be read, or lacks the marks.
    """
    try:
        before, mark, rest = page.read_text("utf-8").partition(BEGIN)
    except OSError as error:
        raise UserError(f"--into: {page}: {error}") from error
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise UserError(f"--into: {page} has no place for the table: a line '{BEGIN}' and after it one '{END}'")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")
