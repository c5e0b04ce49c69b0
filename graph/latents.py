"""The log of latents: one safetensors file a finished chunk, under ``stream/latents`` in the run folder.

A file is whole and on the disk, or absent, and carries a checksum. It also says what the chunk was made under (prompt,
text, memory frames), so the files alone tell what a stream was given, chunk by chunk, and a stream can be restored from
them. Latents are ``[frames, channels, height, width]``, in the model's own precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from memreel.errors import StoreError
from memreel.model.protocol import Chunk, Log, LoggedChunk, Place
from memreel.output.durable import read_tensors, write_tensors
from memreel.output.run_folder import RunFolder


def latents_path(folder: RunFolder, index: int) -> Path:
    """Return where the latents of chunk ``index`` of the video lie."""
    return folder.stream / "latents" / f"{index:06d}.safetensors"


def write_latents(folder: RunFolder, chunk: Chunk, made_under: Mapping[str, Any]) -> None:
    """Write a chunk's latents, with ``made_under`` (JSON values) beside them.

    Raises:
        StoreError: the file cannot be written.
    """
    write_tensors(latents_path(folder, chunk.index), {"latents": chunk.latents}, made_under)


def read_latents(folder: RunFolder, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return a chunk's latents, bit for bit, and what it was made under.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    path = latents_path(folder, index)
    tensors, made_under = read_tensors(path)
    if made_under.get("index") != index or "latents" not in tensors:
        raise StoreError(f"{path} is damaged: it holds chunk {made_under.get('index')}, not {index}")
    return tensors["latents"], made_under


def log_of(folder: RunFolder) -> Log:
    """Return the log that a stream is restored from.

    Calling it raises `StoreError` for a file that is missing or damaged.
    """

    def logged(index: int) -> LoggedChunk:
        latents, made_under = read_latents(folder, index)
        places = [Place(*place) for place in made_under.get("places", ())]
        return LoggedChunk(made_under["text"], latents, made_under["memory"], places)

    return logged
