"""The log of latents: one safetensors file a finished chunk, under ``stream/latents`` in the run folder.

A file is written under a temporary name and renamed, so it is whole or absent. Its metadata says what the chunk was
made under (prompt, text, memory frames), so the files alone tell what a stream was given, chunk by chunk. Latents are
``[frames, channels, height, width]``, in the model's own precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from memreel.errors import StoreError
from memreel.model.protocol import Chunk
from memreel.output.run_folder import RunFolder, write_whole


def latents_path(folder: RunFolder, index: int) -> Path:
    """Return where the latents of chunk ``index`` of the video lie."""
    return folder.stream / "latents" / f"{index:06d}.safetensors"


def write_latents(folder: RunFolder, chunk: Chunk, made_under: Mapping[str, Any]) -> None:
    """Write a chunk's latents, with ``made_under`` (JSON values) beside them.

    Raises:
        StoreError: the file cannot be written.
    """
    path = latents_path(folder, chunk.index)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    latents = chunk.latents.detach().to("cpu").contiguous()
    write_whole(path, save({"latents": latents}, metadata={"made_under": json.dumps(dict(made_under))}))


def read_latents(folder: RunFolder, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return a chunk's latents, bit for bit, and what it was made under.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    path = latents_path(folder, index)
    try:
        data = path.read_bytes()
        latents = load(data)["latents"]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        made_under: dict[str, Any] = json.loads(header["__metadata__"]["made_under"])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    return latents, made_under
