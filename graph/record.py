"""``run.json`` and ``llm_agent.json``: what a finished run says of itself, as plain JSON.

Pure functions of the bank's records and of measured seconds; they neither read nor write files.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from memreel.configs.schema import RunConfig
from memreel.memory.records import BankState
from memreel.model.protocol import VideoModel

PACKAGES = ("memreel", "torch", "langgraph", "transformers", "numpy", "av")
"""Packages whose versions decide what a run gives."""


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
