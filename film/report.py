"""The report of a film: one page with the film, its cast, every scene's takes side by side, scores and money.

Made from what lies in the film's folder: plan, run.json, event log, bank, clips. All text is escaped by the template
engine; pictures are embedded, small.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2

from memreel.film.plan import Plan, Scene, read_plan
from memreel.output.durable import write_whole
from memreel.output.pictures import frame_source, thumbnail, video_facts, video_source
from memreel.output.run_folder import RunFolder
from memreel.output.video import read_pictures

PARTS = ("spatial", "temporal", "character")
SHOWN = 6
"""Pictures of a take, at most."""


def write_film_report(folder: RunFolder) -> None:
    """Write ``report.html`` into a film's folder, replacing an earlier one.

    Raises:
        StoreError: the folder's files are damaged, or the page cannot be written.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8"))
    write_whole(folder.report, template.render(page(folder)).encode())


def page(folder: RunFolder) -> dict[str, Any]:
    """Return everything the template shows."""
    plan, run, bank = read_plan(folder.plan), folder.read_json(folder.run), folder.read_json(folder.memory_bank)
    events = list(folder.read_events())
    chosen = set(run["shots"])
    sent = [(take["key"], take["sent_bytes"]) for take in run["takes"] if take["key"] in chosen]
    most = max([size for _, size in sent] + [1])
    return {
        "title": plan.title,
        "facts": _facts(plan, run),
        "video": video_source(folder.video) if folder.video.is_file() else None,
        "cast": _cast(folder, bank),
        "scenes": [
            {
                "number": number,
                "text": scene.text,
                "facts": _scene_facts(scene),
                "takes": [
                    _take(folder, scene, take, take["key"] in chosen, run["config"]["film"]["threshold"])
                    for take in run["takes"]
                    if take["scene"] == number
                ],
            }
            for number, scene in enumerate(plan.scenes, start=1)
        ],
        "spent": [{"name": name, **row} for name, row in run["spent"]["providers"].items()],
        "tokens": [_tokens(row) for row in run["spent"]["chat"]],
        "whole": _whole(run),
        "sent": [{"key": key, "label": f"{size / 1000:.1f} kB", "share": 100 * size / most} for key, size in sent],
        "notes": [note for event in events if event.get("type") in ("plan", "notes") for note in event["notes"]]
        + [_resources(event) for event in events if event.get("type") == "resources"],
    }


def _facts(plan: Plan, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Plays", f"{run['video_seconds']:g} s"),
        ("Scenes", str(len(run["shots"]))),
        ("Takes", str(len(run["takes"]))),
        ("Consistency", f"{run['consistency']:.2f}"),
        ("Clips by", run["model"]),
        ("Planned by", run["planned_by"]),
        ("Looked at by", run["eye"]),
        ("Seed", str(run["seed"])),
        ("Spent", f"{run['spent']['usd']:.2f} USD"),
        ("Style", plan.style),
    ]
    return [(label, value) for label, value in rows if value]


def _scene_facts(scene: Scene) -> str:
    told = [
        f"{scene.seconds:g} s",
        scene.transition,
        scene.environment,
        f"{scene.camera.angle}, {scene.camera.movement}",
        scene.lighting,
        ", ".join(scene.characters),
    ]
    return " · ".join(part for part in told if part)


def _cast(folder: RunFolder, bank: Mapping[str, Any]) -> list[dict[str, Any]]:
    members = []
    for key, member in bank["global_registry"].items():
        frames = [
            (frame["entity_scores"].get(key, frame["score"]), name)
            for name, frame in bank["frame_archive"].items()
            if int(key) in frame["associated_entities"] and (folder.frames / f"{name}.png").is_file()
        ]
        members.append(
            {
                "id": key,
                "name": member["name"],
                "looks": ", ".join(member["all_attrs"]),
                "frames": [
                    {"id": name, "score": score, "uri": frame_source(folder.frames / f"{name}.png")}
                    for score, name in sorted(frames, reverse=True)
                ],
            }
        )
    return members


def _take(folder: RunFolder, scene: Scene, take: Mapping[str, Any], chosen: bool, threshold: float) -> dict[str, Any]:
    path, score = folder.path / take["path"], take["score"]
    pictures: list[dict[str, str]] = []
    if path.is_file():
        fps = video_facts(path).fps
        moments = [frame.at for frame in scene.key_frames][:SHOWN] or [0.0]
        found = read_pictures(path, {round(at * fps) for at in moments})
        pictures = [{"label": f"{number / fps:g} s", "uri": thumbnail(found[number])} for number in sorted(found)]
    wrong = [f"{look}: not as it should be" for looks in score["wrong"].values() for look in looks]
    return {
        "key": take["key"],
        "chosen": chosen,
        "low": score["total"] < threshold,
        "total": f"{score['total']:.2f}",
        "parts": ", ".join(f"{name} {score[name]:.2f}" for name in PARTS if score[name] is not None),
        "prompt": take["prompt"],
        "references": [
            {"label": name, "uri": frame_source(folder.frames / f"{name}.png")}
            for name in take["references"]
            if (folder.frames / f"{name}.png").is_file()
        ],
        "pictures": pictures,
        "notes": [*take["notes"], *wrong],
    }


def _tokens(row: Mapping[str, Any]) -> str:
    price = "no price known" if row["usd"] is None else f"{row['usd']:.4f} USD"
    return f"{row['model']}: {row['calls']} requests, {row['read']} tokens read, {row['written']} written, {price}"


def _whole(run: Mapping[str, Any]) -> str:
    """Say what the film cost with everything that failed, and under which budget."""
    budget = run["ledger"]["budget_usd"]
    told = f"{run['spent']['usd']:.2f} USD in all, failed tasks and chat models included"
    if run["spent"]["before_usd"]:
        told += f"; {run['spent']['before_usd']:.2f} USD more for what was started over"
    return told + (f"; the budget was {budget:.2f} USD" if budget is not None else "")


def _resources(event: Mapping[str, Any]) -> str:
    return f"memory {event['did']}: {event['before']:.0%} of {event['memory_mb']} MB before, {event['after']:.0%} after"
