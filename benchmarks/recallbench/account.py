"""Writes RecallBench's account: in Markdown (targets, table, parts, rows against each other) and in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

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
    "reidentified": "re-identified",
    "chance": "by chance",
    "reidentified_things": "things re-identified",
    "likeness": "likeness",
    "found": "found",
    "subject_consistency": "subject consistency",
    "clip_score": "CLIPScore",
}
"""Columns of the table by figure."""
READ_COLUMNS = ("recall", "first_mention", "wrong_person", "covered", "matched")
CROP_COLUMNS = ("reidentified", "chance", "likeness", "found", "covered", "matched")
"""What the terminal's table shows where looks are read, and where there are crops alone."""
INTERVALS = ("recall", "reidentified")
TITLES = {"recall": "All attributes right", "reidentified": "Re-identified by crops"}
"""Headings by the main figure."""
DEFINITIONS = """\
`recall`: a person comes back, named only, unseen in the first chunk and in the last two; hair, top and hat are all \
right. In brackets: 95 % bootstrap interval over scripts."""
CROPPED = """\
By crops ({detector}, features by {encoder}): `re-identified`: the crops of a person who comes back are more like its \
own at its first mention than like any other cast member's there (rank 1 of person re-identification, Gray et al. \
2007; the gallery here is the cast, likeness is the mean over all pairs of crops); `by chance`: one by the size of the \
gallery. `likeness`: that mean cosine (DINO-I or CLIP-I of Ruiz et al. 2023, by the encoder; there of whole pictures \
against photographs). `found`: located by the detector. `subject consistency`: mean cosine of a picture with the \
prompt's first and with the one before (VBench, Huang et al. 2024; there with DINO ViT-B/16 and every picture, here \
with this encoder and a picture a chunk, fitted into a square). `CLIPScore`: 2.5 times the cosine of picture and \
prompt (Hessel et al. 2021; a prompt is cut where the encoder's context ends)."""


def markdown(result: Mapping[str, Any]) -> str:
    """Return the whole account as Markdown."""
    rows: Mapping[str, Mapping[str, Any]] = result["strategies"]
    title, s = TITLES[result["main"]], result["settings"]
    there = [name for name in COLUMNS if any(name in row for row in rows.values())]
    shown = sorted(there, key=lambda name: name != result["main"])  # the main figure first
    lines = [
        "# RecallBench",
        "",
        _caption(result),
        "",
        *_targets(result["targets"]),
        "| strategy | " + " | ".join(COLUMNS[name] for name in shown) + " |",
        "|---|" + "---:|" * len(shown),
        *(f"| {name} | " + " | ".join(cell(row, column) for column in shown) + " |" for name, row in rows.items()),
        "",
        f"## {title}, by prompts of absence",
        "",
        *_parts(rows, "by_gap", "gap "),
        "",
        f"## {title}, by archetype",
        "",
        *_parts(rows, "by_archetype", ""),
        "",
        *_contrasts(result["contrasts"]),
        *_readers(rows),
        *_accuracy("The judge", result.get("reader")),
        *_accuracy("Crops", result.get("crops")),
        *([DEFINITIONS, ""] if result["main"] == "recall" else []),
        *([] if s["crops"] is None else [CROPPED.format(detector=s["crops"][0], encoder=s["crops"][1])]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _accuracy(who: str, told: Mapping[str, Any] | None) -> list[str]:
    if not told:
        return []
    shares = ", ".join(f"{name} {value['mean']:.3f}" for name, value in told.items())
    return [f"{who} on painted truth, expected places off by 8 pixels: {shares}.", ""]


def _caption(result: Mapping[str, Any]) -> str:
    s = result["settings"]
    unseen = {"nothing": "no words", "both": "names and colour words"}.get(s["held_out"], s["held_out"])
    words = f"{unseen} unseen in training"
    made, planned = result["takes"]["made"], result["takes"]["planned"]
    part = "" if made == planned else f" ({made} of {planned} takes are made; only whole scripts count)"
    return (
        f"Model {s['model']} ({s['weights']}), {result['scripts']} scripts of 6 prompts{part}, {s['chunks']} chunks a "
        f"prompt, seed {s['seed']}, prompts read by {s['reader']}, {words}."
    )


def told(target: Mapping[str, Any]) -> str:
    """Return a target as one line: whether it is reached, what it is, what was measured."""
    return f"{'reached' if target['reached'] else 'missed'}: {target['target']}: {_measured(target)}"


def _measured(target: Mapping[str, Any]) -> str:
    return f"{_ratio(target['measured'], 3)}, needed {target['needed']:.2f}"


def _targets(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    if not targets:
        return []
    lines = ["| target for `identity` | needed | measured | |", "|---|---:|---:|---|"]
    for one in targets:
        mark = "reached" if one["reached"] else "**missed**"
        lines.append(f"| {one['target']} | {one['needed']:.2f} | {_ratio(one['measured'], 3)} | {mark} |")
    return ["## Targets", "", *lines, "", "## All figures", ""]


def _contrasts(contrasts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for base, others in contrasts.items():
        lines += [
            f"## `{base}` against the others",
            "",
            "| against | more by | times as much |",
            "|---|---:|---:|",
        ]
        lines += [f"| {name} | {_interval(c['difference'])} | {_ratio(c['ratio'])} |" for name, c in others.items()]
        lines.append("")
    if lines:
        lines += ["Scripts are drawn for both rows at once; an interval without 0 (or 1) is a difference.", ""]
    return lines


def _ratio(value: Mapping[str, float | None], digits: int = 2) -> str:
    """Return a figure that may lack bounds: of a ratio to nothing, or of a bound itself."""
    mean, low, high = ("∞" if value[name] is None else f"{value[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return mean if value["low"] is None else f"{mean} [{low}, {high}]"


def cell(row: Mapping[str, Any], column: str) -> str:
    """Return a figure of a row as text, the main one with its interval; nothing if the row lacks it."""
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


def show(result: Mapping[str, Any], out: Path, console: Console) -> None:
    """Print the account in short, and where the whole lies."""
    from rich.table import Table

    shown = [READ_COLUMNS, CROP_COLUMNS][result["main"] == "reidentified"]
    table = Table("strategy", *(figure.replace("_", " ") for figure in shown))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for name, row in result["strategies"].items():
        table.add_row(name, *(cell(row, figure).replace("*", "") for figure in shown))
    console.print(table)
    for target in result["targets"]:
        console.print(told(target), highlight=False)
    console.print(f"{result['scripts']} scripts, {result['takes']['made']} of {result['takes']['planned']} takes")
    console.print(f"{out / 'recall.md'}\n{out / 'recall.svg'}\n{out / 'recall.json'}", highlight=False)
