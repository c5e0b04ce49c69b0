"""Writes RecallBench's account: a Markdown table and a drawing of recall against gap (SVG, without a plot library)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "recall": "recall",
    "recall_hair": "hair",
    "recall_top": "top",
    "recall_hat": "hat",
    "recall_alone": "alone",
    "recall_beside": "beside others",
    "recall_things": "things, animals",
    "first_mention": "first mention",
    "wrong_person": "wrong person",
    "duplicates": "twice",
    "swaps": "swapped",
    "persistence": "persistence",
    "smoothness": "smoothness",
    "flicker": "flicker",
    "matched": "IDs right",
    "covered": "covered",
    "follows_lent": "follows the lent",
}
"""Columns of the table by figure."""
INTERVALS = ("recall",)
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#222222", "#999999")
"""Paul Tol's bright scheme, told apart by colour-blind readers."""
LEFT, TOP, WIDE, HIGH, LEGEND = 56, 24, 420, 260, 200


def markdown(result: Mapping[str, Any]) -> str:
    """Return the whole account as Markdown."""
    rows: Mapping[str, Mapping[str, Any]] = result["strategies"]
    shown = [name for name in COLUMNS if any(name in row for row in rows.values())]
    lines = [
        "# RecallBench",
        "",
        _caption(result),
        "",
        "| strategy | " + " | ".join(COLUMNS[name] for name in shown) + " |",
        "|---|" + "---:|" * len(shown),
        *(f"| {name} | " + " | ".join(_cell(row, column) for column in shown) + " |" for name, row in rows.items()),
        "",
        "## All attributes right, by prompts of absence",
        "",
        *_parts(rows, "by_gap", "gap "),
        "",
        "## All attributes right, by archetype",
        "",
        *_parts(rows, "by_archetype", ""),
        "",
        *_readers(rows),
        "The reader on painted truth, expected places off by 8 pixels: "
        + ", ".join(f"{name} {value['mean']:.3f}" for name, value in result["reader"].items())
        + ".",
        "",
        "`recall`: a person comes back, named only, unseen in the first chunk and in the last two; hair, top and hat "
        "are all right. In brackets: 95 % bootstrap interval over scripts.",
    ]
    return "\n".join(lines) + "\n"


def _caption(result: Mapping[str, Any]) -> str:
    s = result["settings"]
    unseen = {"nothing": "no words", "both": "names and colour words"}.get(s["held_out"], s["held_out"])
    words = f"{unseen} unseen in training"
    return (
        f"Model {s['model']}, {result['scripts']} scripts of 6 prompts, {s['chunks']} chunks a prompt, "
        f"seed {s['seed']}, prompts read by {s['reader']}, {words}."
    )


def _cell(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        return ""
    value = row[column]
    digits = 4 if column == "flicker" else 2
    text = f"{value['mean']:.{digits}f}"
    return f"**{text}** [{value['low']:.2f}, {value['high']:.2f}]" if column in INTERVALS else text


def _parts(rows: Mapping[str, Mapping[str, Any]], part: str, prefix: str) -> list[str]:
    keys = list(dict.fromkeys(key for row in rows.values() for key in row[part]))
    lines = ["| strategy | " + " | ".join(prefix + key for key in keys) + " |", "|---|" + "---:|" * len(keys)]
    for name, row in rows.items():
        cells = [_interval(row[part][key]) if key in row[part] else "" for key in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _readers(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return who read the prompts, if a chat model was asked anywhere."""
    if not any(row["read"]["requests"] for row in rows.values()):
        return []
    lines = ["| strategy | prompts read by | requests | tokens | seconds a request |", "|---|---|---:|---:|---:|"]
    for name, row in rows.items():
        read = row["read"]
        by = ", ".join(f"{reader} {prompts}" for reader, prompts in read["by"].items())
        each = f"{read['seconds'] / read['requests']:.2f}" if read["requests"] else ""
        lines.append(f"| {name} | {by} | {read['requests']} | {read['tokens']} | {each} |")
    return ["## Who read the prompts", "", *lines, ""]


def _interval(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def drawing(result: Mapping[str, Any]) -> str:
    """Return recall against gap as SVG: a line a strategy, dashed with enrichment, bars for the intervals."""
    rows: Mapping[str, Mapping[str, Any]] = {n: r for n, r in result["strategies"].items() if r["by_gap"]}
    gaps = sorted({int(gap) for row in rows.values() for gap in row["by_gap"]})
    width, height = LEFT + WIDE + LEGEND, TOP + HIGH + 48
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Recall against prompts of absence">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        out.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + WIDE}" y2="{y}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    for i, gap in enumerate(gaps):
        out.append(f'<text x="{_x(i, gaps)}" y="{TOP + HIGH + 18}" text-anchor="middle">{gap}</text>')
    out.append(f'<text x="{LEFT + WIDE / 2}" y="{TOP + HIGH + 38}" text-anchor="middle">prompts of absence</text>')
    out.append(f'<text x="{LEFT}" y="{TOP - 8}">share of returns with all attributes right</text>')
    kinds = list(dict.fromkeys(name.removesuffix("+enrich") for name in rows))
    for number, (name, row) in enumerate(rows.items()):
        kind = kinds.index(name.removesuffix("+enrich"))
        colour = COLOURS[kind % len(COLOURS)]
        dash = ' stroke-dasharray="5 3"' if name.endswith("+enrich") else ""
        shift = (number - (len(rows) - 1) / 2) * 3
        points = [(_x(gaps.index(int(gap)), gaps) + shift, value) for gap, value in row["by_gap"].items()]
        path = " ".join(f"{x:.1f},{_y(value['mean']):.1f}" for x, value in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for x, value in points:
            low, high = _y(value["low"]), _y(value["high"])
            out.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
            out.append(f'<circle cx="{x:.1f}" cy="{_y(value["mean"]):.1f}" r="3" fill="{colour}"/>')
        y = TOP + 8 + number * 16
        out.append(
            f'<line x1="{LEFT + WIDE + 16}" y1="{y}" x2="{LEFT + WIDE + 44}" y2="{y}" stroke="{colour}" '
            f'stroke-width="2"{dash}/><text x="{LEFT + WIDE + 50}" y="{y + 4}">{name}</text>'
        )
    return "\n".join([*out, "</svg>"]) + "\n"


def _x(place: int, gaps: list[int]) -> float:
    return LEFT + WIDE * (place + 0.5) / len(gaps)


def _y(value: float) -> float:
    return TOP + HIGH * (1 - value)
