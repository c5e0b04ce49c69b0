"""Whether a run folder was made by the script, the seed and the configuration that it is to be continued with.

A run writes down in its log's first event what it is made by; here that is compared, field by field, so that a refusal
names what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch

from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.model.protocol import VideoModel
from memreel.model.worker import compute_threads
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder

FREE = ("agent.base_url", "agent.timeout_s", "agent.retries", "video.hls", "model.wan.snapshot_every")
"""Settings that decide nothing about the video; the same chat model may be served at another address."""


def made_by(folder: RunFolder) -> Event | None:
    """Return the event with which the run in ``folder`` began, or ``None`` if none was logged."""
    first = next(folder.read_events(), None) if folder.exists() else None
    return first if first is not None and first.get("type") == "run" and "session_id" in first else None


def made_with(model: VideoModel) -> dict[str, Any]:
    """Return what a video's bits depend on besides its configuration: weights, device, and on a CPU the threads."""
    kind = torch.device(model.device).type
    threads = compute_threads() if kind == "cpu" else None
    return {"weights": model.fingerprint(), "device": kind, "threads": threads}


def require_same(
    folder: RunFolder,
    config: RunConfig,
    *,
    prompts: Sequence[str] | None = None,
    reader: str | None = None,
    model: VideoModel | None = None,
) -> None:
    """Check that the run in ``folder``, if any, was made under ``config``, from these prompts, by this reader, model.

    Raises:
        UserError: it was not; the message names the first field that differs.
    """
    made = made_by(folder)
    if made is None:
        return
    differs = next(differences(made, config, prompts, reader), None)
    if differs is None and model is not None:
        differs = next(_other_makings(made["made_with"], made_with(model)), None)
    if differs is not None:
        raise UserError(
            f"{folder.path} holds a run {differs}: continue it with what it was made by, "
            "choose another --out, or --force to start over"
        )


def differences(
    made: Event, config: RunConfig, prompts: Sequence[str] | None = None, reader: str | None = None
) -> Iterator[str]:
    """Yield in words what differs between what a run was made by and what it is to be gone on with."""
    if prompts is not None:
        if len(prompts) != len(made["prompts"]):
            yield f"of another script, with {_count(made['prompts'])} instead of {_count(prompts)}"
        for number, (old, new) in enumerate(zip_longest(made["prompts"], prompts), start=1):
            if old != new:
                yield f"of another script: its prompt {number} is {old!r}"
    before, now = dict(_flat(made["config"])), dict(_flat(config.model_dump(mode="json")))
    for key in sorted({*before, *now} - set(FREE), key=lambda key: (key != "seed", key)):
        if before.get(key) != now.get(key):
            yield f"with {key}={_shown(before.get(key))} instead of {_shown(now.get(key))}"
    if reader is not None and made["reader"] != reader:
        yield f"whose prompts were read by {made['reader']} instead of {reader}"


def _other_makings(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before["weights"] != now["weights"]:
        yield "of other weights, exchanged since"
    if before["device"] != now["device"]:
        yield f"made on {before['device']}, not {now['device']} (set model.device)"
    elif before["threads"] != now["threads"]:
        yield f"made with {before['threads']} threads, not {now['threads']} (set OMP_NUM_THREADS={before['threads']})"


def _flat(config: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{key}.")
        else:
            yield within + key, value


def _count(prompts: Sequence[str]) -> str:
    return f"{len(prompts)} prompt{'s' if len(prompts) != 1 else ''}"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
