"""memory_bank.json: the bank as a file that outsiders read, and back again without loss.

`to_json` and `from_json` are each other's inverse. The file's shape is stated once, in `MemoryBankFile`; on the way in
it is checked, references included, so that a damaged or hand-edited file is refused with the place named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from memreel.errors import StoreError
from memreel.memory.records import BankState, Kind, Presence, Pronoun


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class InstanceInFile(_Part):
    """An appearance of a cast member in a prompt."""

    prompt_id: int
    entity: str
    attrs: list[str]


class CastMemberInFile(_Part):
    """A cast member, under its global ID."""

    name: str
    kind: Kind
    all_entities: list[str]
    all_attrs: list[str]
    instances: list[InstanceInFile]


class FrameInFile(_Part):
    """A memory frame, under its id; ``index`` is its chunk's number over the video."""

    frame_path: str
    prompt_id: int
    chunk_id: int
    frame: int
    index: int
    associated_entities: list[int]
    score: float
    entity_scores: dict[str, float]


class EntityInFile(_Part):
    """An entity as a prompt worded it; "present" where ``presence`` is left out, no pronoun where ``pronoun`` is."""

    entity: str
    kind: Kind
    attrs: list[str]
    global_id: int
    presence: Presence = "present"
    pronoun: Pronoun | None = None


class PromptInFile(_Part):
    """A prompt, under its number: its text, its entities and the memory it ended with."""

    text: str
    entities: list[EntityInFile]
    memory: list[str]


class MemoryBankFile(_Part):
    """The whole of memory_bank.json."""

    global_registry: dict[str, CastMemberInFile]
    frame_archive: dict[str, FrameInFile]
    frame_active_memory: list[str]
    prompts: dict[str, PromptInFile]


def to_json(bank: BankState) -> dict[str, Any]:
    """Return the bank in the shape of memory_bank.json."""
    return {
        "global_registry": {
            key: {field: value for field, value in member.items() if field != "global_id"}
            for key, member in bank["cast"].items()
        },
        "frame_archive": {
            key: {field: value for field, value in frame.items() if field != "frame_id"}
            for key, frame in bank["frames"].items()
        },
        "frame_active_memory": list(bank["memory"]),
        "prompts": {key: dict(record) for key, record in bank["prompts"].items()},
    }


def from_json(value: object) -> BankState:
    """Return the bank that `to_json` wrote.

    Raises:
        StoreError: a field is missing, unknown or of the wrong type, or refers to something that is not there.
    """
    try:
        file = MemoryBankFile.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StoreError(f"memory bank: {place}: {first['msg']}") from error
    _check_references(file)
    content = file.model_dump(exclude_unset=True)
    bank = {
        "cast": {key: {"global_id": int(key), **member} for key, member in content["global_registry"].items()},
        "frames": {key: {"frame_id": key, **frame} for key, frame in content["frame_archive"].items()},
        "prompts": content["prompts"],
        "memory": content["frame_active_memory"],
    }
    return cast(BankState, bank)


def save(bank: BankState, path: Path) -> None:
    """Write memory_bank.json, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(to_json(bank), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot write the memory bank ({error})") from error


def load(path: Path) -> BankState:
    """Read a memory_bank.json.

    Raises:
        StoreError: the file is missing, not JSON or not a memory bank; the message names file and place.
    """
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot read the memory bank ({error})") from error
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error


def _check_references(file: MemoryBankFile) -> None:
    """Refuse IDs and frame ids that lead nowhere."""
    for first, keys in ((1, file.global_registry), (0, file.prompts)):  # prompt 0: what was given before the first
        for key in keys:
            if not key.isdecimal() or int(key) < first:
                raise StoreError(f"memory bank: '{key}' should be a number from {first}")
    listed = [("frame_active_memory", file.frame_active_memory)]
    listed += [(f"prompts.{key}.memory", record.memory) for key, record in file.prompts.items()]
    for place, names in listed:
        for name in names:
            if name not in file.frame_archive:
                raise StoreError(f"memory bank: {place}: no frame '{name}' in frame_archive")
    for name, frame in file.frame_archive.items():
        if str(frame.prompt_id) not in file.prompts:
            raise StoreError(f"memory bank: frame_archive.{name}: no prompt {frame.prompt_id}")
        for global_id in frame.associated_entities:
            if str(global_id) not in file.global_registry or str(global_id) not in frame.entity_scores:
                raise StoreError(f"memory bank: frame_archive.{name}: entity {global_id} is not registered and scored")
    for key, record in file.prompts.items():
        for entity in record.entities:
            if str(entity.global_id) not in file.global_registry:
                raise StoreError(f"memory bank: prompts.{key}: no entity {entity.global_id} in global_registry")
