"""Files that are whole, lasting and checked: what a video that outlives its process is made of.

A file is written under a temporary name, forced to the disk and renamed, so that after a kill or a power cut it is the
old one or the new one. Tensors carry a checksum over every bit of what is read back. This module knows neither run
folders nor what the tensors are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from memreel.errors import StoreError

PART = ".part"
"""What temporary names end with; they begin with a dot."""


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name beside ``path``, force it to the disk and rename it.

    Raises:
        StoreError: it could not be written; ``path`` is as it was.
    """
    part = part_of(path)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def part_of(path: Path) -> Path:
    """Return the temporary name under which ``path`` is written."""
    return path.with_name(f".{path.name}{PART}")


def put_in_place(part: Path, path: Path) -> None:
    """Rename a complete file to ``path``, and see to it that a power cut does not take that back."""
    part.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def share(old: Path, new: Path) -> None:
    """Give a finished file a second name; where the file system has no hard links, copy it."""
    try:
        new.hardlink_to(old)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(old, new)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and ``facts`` (JSON values) as one safetensors file with a checksum over both.

    Raises:
        StoreError: it could not be written; ``path`` is as it was.
    """
    whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(facts))
    seal = json.dumps({"facts": text, "sha256": _checksum(whole, text)})  # one entry: safetensors does not order them
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    write_whole(path, save(whole, metadata={"seal": seal}))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file, bit for bit, and the facts beside them.

    Raises:
        StoreError: the file is missing, cut short, or not bit for bit what was written; the message names it.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        seal = json.loads(header["__metadata__"]["seal"])
        if _checksum(tensors, seal["facts"]) != seal["sha256"]:
            raise ValueError("its checksum does not match")
        facts: dict[str, Any] = json.loads(seal["facts"])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    return tensors, facts


def _checksum(tensors: Mapping[str, torch.Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
