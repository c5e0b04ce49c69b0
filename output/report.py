"""``report.html``: one page that shows a run to a stranger, offline and alone.

Everything is inside the file: style, script, pictures, and the video if it is small; a content-security policy forbids
requests. The page is rebuilt from the run folder at any time, also for a run that has not ended. All text that users
or models wrote is escaped by the template engine; nothing is built from strings of HTML here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from memreel.output.checksums import list_checksums
from memreel.output.durable import write_whole
from memreel.output.pictures import RunPictures, collect
from memreel.output.record import ChunkRecord, Mention, PromptPart, RunRecord, read_record
from memreel.output.run_folder import RunFolder

STAGES = ("denoise", "clean", "bank", "decode", "encode")
"""The stages of a chunk in the order they are stacked; others that the log has follow."""
HUES = (255, 25, 150, 310, 75, 195, 350, 115, 280, 50, 225, 170)
"""Cast colours by global ID (OKLCH hue angles), neighbours far apart; after the last they repeat."""
MOVES = {"enters": "enters", "leaves": "leaves", "mentioned": "only mentioned"}
CHUNK_PICTURES, FPS = 12, 16
"""The stream's unit of generation, used where there is no video yet to measure."""


def write_report(folder: RunFolder) -> Path:
    """Write ``report.html`` into a run folder, replacing an earlier one.

    Returns:
        The page's path.

    Raises:
        StoreError: the folder's files are damaged, or the page cannot be written.
    """
    record = read_record(folder)
    pictures = collect(folder, record)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8"))
    write_whole(folder.report, template.render(page(record, pictures)).encode())
    if folder.checksums.is_file():  # the page is built again
        list_checksums(folder.checksums, [folder.report])
    return folder.report


def page(record: RunRecord, pictures: RunPictures) -> dict[str, Any]:
    """Return everything the template shows, laid out but not worded."""
    video = pictures.video
    count = max(1, len(record.chunks))
    chunk_seconds = (
        video.seconds / count
        if video and record.chunks
        else (record.fact("chunk_pictures") or CHUNK_PICTURES) / (record.fact("fps") or FPS)
    )
    width, height = (video.width, video.height) if video else (16, 9)
    frame_class = {name: f"f{number}" for number, name in enumerate(pictures.frames)}
    classes = {f"t{index}": uri for index, uri in pictures.chunks.items()}
    classes |= {frame_class[name]: uri for name, uri in pictures.frames.items()}
    return {
        "title": record.video_id,
        "finished": record.finished,
        "facts": facts(record, pictures, chunk_seconds),
        "pictures": classes,
        "aspect": f"{width} / {height}",
        "video": pictures.source,
        "prompts": [prompt_view(part, record, frame_class) for part in record.prompts],
        "lanes": [lane(global_id, record, count) for global_id in record.cast],
        "columns": columns(record, count),
        "cast": [card(global_id, record, frame_class) for global_id in record.cast],
        "direction": direction(record),
        "timing": timing(record.chunks, chunk_seconds),
        "data": {
            "seconds": chunk_seconds,
            "chunks": [chunk_data(chunk, record, pictures) for chunk in record.chunks],
            "frames": {
                name: {
                    "cls": frame_class.get(name, ""),
                    "stored": frame.stored,
                    "scores": [[i, s] for i, s in sorted(frame.scores.items(), key=lambda item: -item[1])],
                }
                for name, frame in record.frames.items()
            },
            "cast": {str(i): {"name": member.name, "hue": hue(i)} for i, member in record.cast.items()},
        },
    }


def hue(global_id: int) -> int:
    """Return a cast member's colour, the same wherever it is shown."""
    return HUES[(global_id - 1) % len(HUES)]


def facts(record: RunRecord, pictures: RunPictures, chunk_seconds: float) -> list[tuple[str, str]]:
    """Return the header's label/value pairs; what is not known is left out."""
    video = pictures.video
    plays = len(record.chunks) * chunk_seconds
    made = record.fact("seconds", "total") or sum(sum(chunk.seconds.values()) for chunk in record.chunks)
    model, seed = record.fact("model"), record.fact("seed")
    readers = list(dict.fromkeys(part.reader for part in record.prompts if part.reader))
    outcomes = [outcome for part in record.prompts for outcome in part.outcomes]
    failed = sum(outcome != "ok" for outcome in outcomes)
    tokens = sum(part.tokens for part in record.prompts)
    requests = f"{len(outcomes)}, {failed} of no use, {tokens:,} tokens" if outcomes else ""
    rows = [
        ("Plays", f"{plays:.1f} s"),
        ("Made in", f"{made:.1f} s" if made else None),
        ("Speed", f"{plays / made:.2f}× real time" if made else None),
        ("Model", str(model) if model else None),
        ("Seed", str(seed) if seed is not None else None),
        ("Pictures", f"{video.width} × {video.height}, {video.fps:g}/s" if video else None),
        ("Cast", str(len(record.cast))),
        ("Memory frames", str(sum(frame.stored for frame in record.frames.values()))),
        ("Prompts read by", ", ".join(readers) or None),
        ("Waited for readings", f"{sum(part.waited for part in record.prompts):.1f} s" if readers else None),
        ("Chat requests", requests or None),
    ]
    return [(label, value) for label, value in rows if value is not None]


def prompt_view(part: PromptPart, record: RunRecord, frame_class: dict[str, str]) -> dict[str, Any]:
    """Return one group of the film strip: the prompt in coloured pieces, what enrichment added, its chunks."""
    added = part.text.removeprefix(part.prompt).strip() if part.text.startswith(part.prompt) else ""
    return {
        "id": part.prompt_id,
        "pieces": coloured(part.prompt, part.mentions),
        "added": coloured(added, [Mention(record.cast[m.global_id].name, "", [], m.global_id) for m in part.mentions]),
        "rewritten": "" if part.text.startswith(part.prompt) else part.text,
        "mentions": [
            {
                "id": mention.global_id,
                "name": record.cast[mention.global_id].name,
                "hue": hue(mention.global_id),
                "new": record.cast[mention.global_id].prompt_ids[:1] == [part.prompt_id],
                "moves": MOVES.get(part.moves.get(mention.global_id, ""), ""),
            }
            for mention in part.mentions
        ],
        "place": part.place,
        "notes": part.notes,
        "recalled": [{"id": name, "cls": frame_class.get(name, "")} for name in part.memory],
        "chunks": [
            {
                "index": chunk.index,
                "chunk_id": chunk.chunk_id,
                "kept": any(frame.stored and frame.index == chunk.index for frame in record.frames.values()),
            }
            for chunk in part.chunks
        ],
    }


def direction(record: RunRecord) -> list[dict[str, Any]]:
    """Return the director's steps: the tools it called and what they refused, remarks, and what was spent by then."""
    return [
        {
            "prompt": step.prompt_id,
            "tools": [{"name": tool.get("name", ""), "error": tool.get("error", "")} for tool in step.tools],
            "notes": step.notes,
            "spent": ", ".join(f"{value:g} {key}" for key, value in step.spent.items()),
        }
        for step in record.steps
    ]


def coloured(text: str, mentions: Sequence[Mention]) -> list[tuple[str, int | None]]:
    """Cut ``text`` into pieces, each with the hue of the entity it names or ``None``; the longest wordings win."""
    spans: list[tuple[int, int, int]] = []
    for mention in sorted(mentions, key=lambda m: -len(m.entity)):
        if not mention.entity.strip():
            continue
        for match in re.finditer(rf"(?<!\w){re.escape(mention.entity)}(?!\w)", text, re.IGNORECASE):
            if all(match.end() <= start or end <= match.start() for start, end, _ in spans):
                spans.append((match.start(), match.end(), hue(mention.global_id)))
    pieces: list[tuple[str, int | None]] = []
    at = 0
    for start, end, colour in sorted(spans):
        pieces += [(text[at:start], None), (text[start:end], colour)]
        at = end
    return [piece for piece in [*pieces, (text[at:], None)] if piece[0]]


def columns(record: RunRecord, count: int) -> list[dict[str, Any]]:
    """Return each prompt's share of the timeline, in per cent."""
    return [
        {
            "id": part.prompt_id,
            "left": 100 * part.chunks[0].index / count,
            "width": 100 * len(part.chunks) / count,
        }
        for part in record.prompts
        if part.chunks
    ]


def lane(global_id: int, record: RunRecord, count: int) -> dict[str, Any]:
    """Return one cast member's line of the timeline: present, remembered from, attended to; in per cent."""
    present = [
        (part.chunks[0].index, part.chunks[-1].index + 1)
        for part in record.prompts
        if part.chunks and any(mention.global_id == global_id for mention in part.mentions)
    ]
    showing = {name for name, frame in record.frames.items() if global_id in frame.shows}
    attended = runs(chunk.index for chunk in record.chunks if showing.intersection(chunk.memory))
    taken = [frame for name, frame in record.frames.items() if name in showing and frame.index is not None]
    return {
        "id": global_id,
        "name": record.cast[global_id].name,
        "hue": hue(global_id),
        "present": [_span(start, end, count) for start, end in present],
        "attended": [_span(start, end, count) for start, end in attended],
        "taken": [
            {
                "left": 100 * ((frame.index or 0) + (frame.frame + 0.5) / 3) / count,
                "chunk": frame.index,
                "id": frame.frame_id,
                "stored": frame.stored,
                "score": frame.scores.get(global_id),
            }
            for frame in taken
        ],
        "label": _lane_label(present, attended, taken_count=len(taken)),
    }


def _span(start: int, end: int, count: int) -> dict[str, float]:
    return {"left": 100 * start / count, "width": 100 * (end - start) / count}


def _lane_label(present: Sequence[Any], attended: Sequence[tuple[int, int]], taken_count: int) -> str:
    chunks = sum(end - start for start, end in attended)
    return f"in {len(present)} prompts; {taken_count} memory frames taken; attended to in {chunks} chunks"


def runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Join consecutive numbers into half-open spans: 3, 4, 5, 9 → (3, 6), (9, 10)."""
    spans: list[tuple[int, int]] = []
    for index in sorted(indices):
        if spans and spans[-1][1] == index:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return spans


def card(global_id: int, record: RunRecord, frame_class: dict[str, str]) -> dict[str, Any]:
    """Return one entity's card: who, what it looks like, where it was, how it is remembered."""
    member = record.cast[global_id]
    frames = [frame for frame in record.frames.values() if frame.stored and global_id in frame.shows]
    frames.sort(key=lambda frame: -frame.scores.get(global_id, 0.0))
    worded = {
        int(instance["prompt_id"]): {"entity": instance["entity"], "attrs": instance["attrs"]}
        for instance in member.instances
    }
    return {
        "id": global_id,
        "name": member.name,
        "kind": member.kind,
        "hue": hue(global_id),
        "attrs": member.attrs,
        "also": [name for name in member.entities if name.casefold() != member.name.casefold()],
        "looks": [look for look in record.looks if look.global_id == global_id],
        "appearances": [{"id": part.prompt_id, "worded": worded.get(part.prompt_id)} for part in record.prompts],
        "frames": [
            {
                "id": frame.frame_id,
                "cls": frame_class.get(frame.frame_id, ""),
                "chunk": frame.index,
                "active": frame.frame_id in record.memory,
                "scores": [
                    {"name": record.cast[i].name, "hue": hue(i), "score": score, "own": i == global_id}
                    for i, score in sorted(frame.scores.items(), key=lambda item: (item[0] != global_id, -item[1]))
                    if i in record.cast
                ],
            }
            for frame in frames
        ],
    }


def timing(chunks: Sequence[ChunkRecord], chunk_seconds: float) -> dict[str, Any]:
    """Return the stacked bars: each stage's height in seconds from the base, and the scale that holds them all."""
    logged = dict.fromkeys(stage for chunk in chunks for stage in chunk.seconds)
    stages = [stage for stage in STAGES if stage in logged] + [stage for stage in logged if stage not in STAGES]
    totals = [sum(chunk.seconds.values()) for chunk in chunks]
    bars = []
    for chunk in chunks:
        at, parts = 0.0, []
        for number, stage in enumerate(stages):
            height = chunk.seconds.get(stage, 0.0)
            parts.append({"stage": number, "at": at, "height": height})
            at += height
        bars.append({"index": chunk.index, "parts": parts, "total": at})
    # One slow chunk (a first one that warms up) must not flatten the others: the scale holds 98 % of them.
    usual = sorted(totals)[int(0.98 * (len(totals) - 1))] if totals else 0.0
    top = 1.15 * max(usual, chunk_seconds)
    return {
        "stages": [
            {"name": stage, "mean": sum(chunk.seconds.get(stage, 0.0) for chunk in chunks) / max(1, len(chunks))}
            for stage in stages
        ],
        "bars": bars,
        "cut": [bar for bar, total in zip(bars, totals, strict=True) if total > top],
        "top": top,
        "real_time": chunk_seconds,
        "mean": sum(totals) / max(1, len(totals)),
    }


def chunk_data(chunk: ChunkRecord, record: RunRecord, pictures: RunPictures) -> dict[str, Any]:
    """Return what the page's script shows of a chunk when it is chosen."""
    return {
        "index": chunk.index,
        "prompt": chunk.prompt_id,
        "chunk": chunk.chunk_id,
        "cls": f"t{chunk.index}" if chunk.index in pictures.chunks else "",
        "sink": 0 if chunk.index else None,
        "local": record.local(chunk),
        "memory": chunk.memory,
        "next": chunk.memory_next,
        "evicted": chunk.evicted,
        "kept": chunk.kept_frame,
        "seconds": chunk.seconds,
    }
