"""What a run says of itself: its first event, ``run.json``, ``llm_agent.json`` and the video's chapters.

Pure functions of records and of measured seconds; they neither read nor write files.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from memreel.agent.reading import PromptReader, Scene, scene
from memreel.agent.texts import texts
from memreel.configs.schema import RunConfig
from memreel.graph.same import made_with
from memreel.graph.state import MemreelState, PushRecord, prompt_at
from memreel.memory.records import BankState
from memreel.model.protocol import VideoModel
from memreel.output.events import Event
from memreel.output.video import Chapter

PACKAGES = ("memreel", "torch", "langgraph", "transformers", "numpy", "av")
"""Packages whose versions decide what a run gives."""


def run_event(
    video_id: str,
    prompts: Sequence[str],
    config: RunConfig,
    *,
    model: VideoModel,
    reader: PromptReader,
    session_id: str,
    live: bool,
) -> Event:
    """Return a run's first event, without its timings: what is to be made, by what, under which configuration."""
    spec = model.spec
    return {
        "type": "run",
        "video_id": video_id,
        "prompts": list(prompts),
        "live": live,
        "chunks_per_prompt": config.chunks_per_prompt,
        "chunk_pictures": spec.chunk_pictures,
        "width": spec.width,
        "height": spec.height,
        "fps": spec.fps,
        "model": model.name,
        "reader": reader.name,
        "chat_texts": texts()["version"] if reader.chat else None,
        "seed": config.seed,
        "memory_slots": config.memory.slots,
        "config": config.model_dump(mode="json"),
        "made_with": made_with(model),
        "session_id": session_id,
    }


def scene_of(state: MemreelState) -> Scene:
    """Return where the current prompt plays and who enters, leaves or is only mentioned."""
    return scene(state["reading"].get("place", ""), state["entities"])


def prompt_event(state: MemreelState) -> Event:
    """Return the event, without its timings, of a prompt that has been read and been given its memory."""
    reading = state["reading"]
    event: Event = {
        "type": "prompt",
        "prompt_id": state["prompt_id"],
        "prompt": prompt_at(state, state["prompt_id"]),
        "text": state["text"],
        "entities": state["entities"],
        "memory": state["bank"]["memory"],
        "scene": scene_of(state),
        "reader": reading["by"],
        "read_in": reading["seconds"],
        "waited": reading["waited"],
    }
    return event | {key: reading[key] for key in ("notes", "calls") if reading[key]}


def chunk_event(state: MemreelState, kept: str | None, push: PushRecord | None, now: float) -> Event:
    """Return the event, without its timings, of the newest chunk, once the bank has looked at the one that left.

    Args:
        state: with the bank as it is by then.
        kept: the memory frame that the bank took from the chunk that left.
        push: when and where the current prompt was pushed, if this is its first chunk.
        now: the time, in seconds, as of ``push``.
    """
    index, evicted, bank = state["index"] - 1, state["evicted"], state["bank"]
    event: Event = {
        "type": "chunk",
        "index": index,
        "prompt_id": state["prompt_id"],
        "chunk_id": state["chunk_id"],
        "evicted": None if evicted is None else evicted["index"],
        "kept_frame": kept,
        "memory": state["attended"],
        "memory_next": bank["memory"],
    }
    if kept is not None and kept in bank["frames"]:
        event["kept_scores"] = bank["frames"][kept]["entity_scores"]
    if push is not None:
        event["pushed"] = {"chunks": index - push["index"], "seconds": round(now - push["at"], 3)}
    return event


def chapters(events: Iterable[Event], starts: Sequence[int]) -> list[Chapter]:
    """Return a video's chapters, one a prompt, from its log; ``starts`` has each chunk's first picture, and the end."""
    titles: dict[int, str] = {}
    found: dict[int, Chapter] = {}
    for event in events:
        if event["type"] == "prompt":
            titles[event["prompt_id"]] = event["prompt"]
        elif event["type"] == "chunk":
            number, index = event["prompt_id"], event["index"]
            start = found[number].start if number in found else starts[index]
            found[number] = Chapter(titles[number], start, starts[index + 1])
    return list(found.values())


def agent_json(bank: BankState) -> list[dict[str, Any]]:
    """Return the agent's reading of every prompt, in order."""
    return [
        {
            "prompt_id": int(prompt_id),
            "prompt": record["text"],
            "entities": [
                {"entity": entity["entity"], "attrs": entity["attrs"], "global_id": entity["global_id"]}
                for entity in record["entities"]
            ],
        }
        for prompt_id, record in sorted(bank["prompts"].items(), key=lambda item: int(item[0]))
    ]


def run_json(
    video_id: str,
    config: RunConfig,
    *,
    model: VideoModel,
    reader: str,
    chunks: int,
    pictures: int,
    seconds: Mapping[str, float],
    elapsed: float,
) -> dict[str, Any]:
    """Return a run's facts: configuration, versions, seed and timings.

    ``seconds`` is by stage and counts work only; the result adds ``total`` to it. ``elapsed`` is by the clock, waiting
    included. ``ratio`` is playing time over ``total``, so 1 and above is as fast as the video plays.
    """
    total = sum(seconds.values())
    video_seconds = pictures / model.spec.fps
    return {
        "video_id": video_id,
        "model": model.name,
        "reader": reader,
        "seed": config.seed,
        "width": model.spec.width,
        "height": model.spec.height,
        "fps": model.spec.fps,
        "chunks": chunks,
        "pictures": pictures,
        "video_seconds": round(video_seconds, 3),
        "seconds": {stage: round(value, 3) for stage, value in [*seconds.items(), ("total", total)]},
        "elapsed_seconds": round(elapsed, 3),
        "pictures_per_second": round(pictures / total, 3) if total else None,
        "ratio": round(video_seconds / total, 3) if total else None,
        "config": config.model_dump(mode="json"),
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide what a run gives."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
