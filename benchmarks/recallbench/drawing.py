"""Draws RecallBench's recall against the prompts of absence as SVG, without a plot library: a panel a strategy.

In a panel the full line is memory frames alone and the dashed one with enrichment, bars are 95 % intervals, and
`identity` alone stands behind every other as a grey line. Knows the account only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from memreel.benchmarks.recallbench.account import TITLES
from memreel.benchmarks.recallbench.contrasts import BASES

ALONE, ENRICHED, BEHIND = "#4477aa", "#ee6677", "#bbbbbb"
"""Paul Tol's bright scheme, told apart by colour-blind readers."""
ACROSS = 4
"""Panels in a row."""
WIDE, HIGH = 190, 130
"""Size of a panel's field, in pixels."""
LEFT, TOP, RIGHT, BOTTOM = 36, 44, 12, 30
"""Room around a field; its title is above it."""
HEAD, FOOT = 40, 26
TITLE = 30
"""Letters of a title line."""


def drawing(result: Mapping[str, Any]) -> str:
    """Return the drawing of an account."""
    main = result["main"]
    rows: Mapping[str, Mapping[str, Any]] = {n: r for n, r in result["strategies"].items() if r["by_gap"]}
    gaps = sorted({int(gap) for row in rows.values() for gap in row["by_gap"]})
    kinds = list(dict.fromkeys(name.removesuffix("+enrich") for name in rows))
    columns = min(ACROSS, max(2, len(kinds)))
    width = columns * (LEFT + WIDE + RIGHT)
    height = HEAD + -(-len(kinds) // columns) * (TOP + HIGH + BOTTOM) + FOOT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" role="img" aria-label="Recall against prompts of absence">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_legend(rows, TITLES[main]),
    ]
    for number, kind in enumerate(kinds):
        x = number % columns * (LEFT + WIDE + RIGHT) + LEFT
        y = HEAD + number // columns * (TOP + HIGH + BOTTOM) + TOP
        behind = rows.get(BASES[0]) if kind != BASES[0] else None
        out.append(f'<g transform="translate({x} {y})">')
        out += _panel(kind, rows.get(kind), rows.get(f"{kind}+enrich"), behind, gaps, main)
        out.append("</g>")
    out.append(
        f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">prompts of absence; right: all gaps together'
        "</text>"
    )
    return "\n".join([*out, "</svg>"]) + "\n"


def _legend(rows: Mapping[str, Any], title: str) -> list[str]:
    out = [f'<text x="{LEFT}" y="16" font-size="13">{title}: share of returns</text>']
    entries = [
        (ALONE, "memory frames alone", "", any(not name.endswith("+enrich") for name in rows)),
        (ENRICHED, "with enrichment", ' stroke-dasharray="5 3"', any(name.endswith("+enrich") for name in rows)),
        (BEHIND, f"{BASES[0]}, to compare with", "", BASES[0] in rows and len(rows) > 1),
    ]
    x = LEFT
    for colour, text, dash, there in entries:
        if there:
            out.append(f'<path d="M{x} 32 h24" stroke="{colour}" stroke-width="2"{dash}/>')
            out.append(f'<text x="{x + 30}" y="36">{text}</text>')
            x += 54 + 6 * len(text)
    return out


def _panel(
    kind: str,
    alone: Mapping[str, Any] | None,
    enriched: Mapping[str, Any] | None,
    behind: Mapping[str, Any] | None,
    gaps: Sequence[int],
    main: str,
) -> list[str]:
    """Return one strategy's panel, its field's corner at 0, 0."""
    out = []
    lines = _folded(kind)
    for number, line in enumerate(lines):
        above = 8 + 13 * (len(lines) - 1 - number)
        out.append(f'<text x="0" y="{-above}" font-size="12" font-weight="bold">{escape(line)}</text>')
    for tenth in (0, 5, 10):
        y = _y(tenth / 10)
        out.append(f'<path d="M0 {y} h{WIDE}" stroke="#ddd"/>')
        out.append(f'<text x="-6" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    for i, gap in enumerate(gaps):
        out.append(f'<text x="{_x(i, gaps)}" y="{HIGH + 16}" text-anchor="middle">{gap}</text>')
    if behind is not None:
        path = " L".join(f"{_x(i, gaps):.1f} {_y(value['mean']):.1f}" for i, value in _points(behind, gaps))
        out.append(f'<path d="M{path}" fill="none" stroke="{BEHIND}" stroke-width="4"/>')
    ends = []
    for row, colour, dash, shift in ((alone, ALONE, "", -3), (enriched, ENRICHED, ' stroke-dasharray="5 3"', 3)):
        if row is None:
            continue
        points = [(_x(i, gaps) + shift, value) for i, value in _points(row, gaps)]
        path = " ".join(f"{x:.1f},{_y(value['mean']):.1f}" for x, value in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for x, value in points:
            low, high = _y(value["low"]), _y(value["high"])
            out.append(f'<path d="M{x:.1f} {low:.1f} V{high:.1f}" stroke="{colour}"/>')
            out.append(f'<circle cx="{x:.1f}" cy="{_y(value["mean"]):.1f}" r="3" fill="{colour}"/>')
        ends.append([_y(row[main]["mean"]), row[main]["mean"], colour])
    style = 'text-anchor="end" font-weight="bold"'
    for y, mean, colour in _apart(ends):
        out.append(f'<text x="{WIDE}" y="{y + 4:.1f}" {style} fill="{colour}">{mean:.2f}</text>')
    return out


def _folded(name: str) -> list[str]:
    """Return a name in lines that fit above a panel, broken at its marks."""
    lines = [""]
    for part in name.replace("@", " @").split(" "):
        if lines[-1] and len(lines[-1]) + len(part) > TITLE:
            lines.append("")
        lines[-1] += part
    return lines


def _apart(ends: list[list[Any]]) -> list[list[Any]]:
    """Move two numbers apart that would be written over each other."""
    if len(ends) == 2 and abs(ends[0][0] - ends[1][0]) < 13:
        middle = min(max((ends[0][0] + ends[1][0]) / 2, 6.5), HIGH - 6.5)
        order = sorted(ends, key=lambda end: end[0])
        order[0][0], order[1][0] = middle - 6.5, middle + 6.5
    return ends


def _points(row: Mapping[str, Any], gaps: Sequence[int]) -> list[tuple[int, Mapping[str, float]]]:
    return [(gaps.index(int(gap)), value) for gap, value in row["by_gap"].items()]


def _x(place: int, gaps: Sequence[int]) -> float:
    return (WIDE - 34) * (place + 0.5) / len(gaps)


def _y(value: float) -> float:
    return HIGH * (1 - value)
