"""memory_bank.json: the shape that outsiders rely on, and a round trip without loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from memreel.errors import StoreError
from memreel.memory.archive import from_json, load, save, to_json
from memreel.memory.records import BankState, empty_bank

NAMES = {"type": "array", "items": {"type": "string"}}
FRAME_ID = r"^p[1-9]\d*_c[1-9]\d*_f\d+$"
NUMBER = r"^[1-9]\d*$"


def record(required: dict[str, Any], further: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(further or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def mapping(key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {key: value}, "additionalProperties": False}


INSTANCE = record({"prompt_id": {"type": "integer", "minimum": 1}, "entity": {"type": "string"}, "attrs": NAMES})
ENTITY = record(
    {"entity": {"type": "string"}, "attrs": NAMES, "global_id": {"type": "integer", "minimum": 1}},
    {
        "kind": {"enum": ["character", "object"]},
        "presence": {"enum": ["present", "enters", "leaves", "mentioned"]},
    },
)
SCHEMA = record(
    {
        "global_registry": mapping(
            NUMBER,
            record(
                {
                    "name": {"type": "string", "minLength": 1},
                    "all_entities": NAMES,
                    "all_attrs": NAMES,
                    "instances": {"type": "array", "items": INSTANCE},
                },
                {"kind": {"enum": ["character", "object"]}},
            ),
        ),
        "frame_archive": mapping(
            FRAME_ID,
            record(
                {
                    "frame_path": {"type": "string", "pattern": r"^frames/p\d+_c\d+_f\d+\.png$"},
                    "prompt_id": {"type": "integer", "minimum": 1},
                    "associated_entities": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
                    "score": {"type": "number"},
                    "entity_scores": mapping(NUMBER, {"type": "number"}),
                },
                {"chunk_id": {"type": "integer"}, "frame": {"type": "integer"}, "index": {"type": "integer"}},
            ),
        ),
        "frame_active_memory": {"type": "array", "items": {"type": "string", "pattern": FRAME_ID}},
        "prompts": mapping(
            NUMBER,
            record({"entities": {"type": "array", "items": ENTITY}, "memory": NAMES}, {"text": {"type": "string"}}),
        ),
    }
)
"""The contract; the second argument of `record` holds what the file states beyond it."""


def away(entity: Any) -> Any:
    return {**entity, "presence": "mentioned"}


@pytest.fixture
def bank(film: Callable[..., Any]) -> BankState:
    shoot = film()
    shoot.begin("Mia, red hair, and Tom.", shoot.MIA, shoot.TOM)
    for chunk_id in range(1, 6):
        shoot.evict(10 + chunk_id, chunk_id, Mia=0.3 + chunk_id / 10, Tom=0.25)
    shoot.begin("An empty street.")
    shoot.evict(20, 1, scenery=0.5)
    shoot.begin("Mia returns and thinks of Tom.", {**shoot.MIA, "attrs": ["green hat"]}, away(shoot.TOM))
    state: BankState = shoot.state
    return state


def test_the_file_has_the_promised_shape(bank: BankState) -> None:
    jsonschema.validate(to_json(bank), SCHEMA)
    jsonschema.validate(to_json(empty_bank()), SCHEMA)


def test_the_file_refers_to_pictures_that_exist(bank: BankState, tmp_path: Path) -> None:
    paths = [frame["frame_path"] for frame in to_json(bank)["frame_archive"].values()]
    assert len(paths) > 3
    assert all((tmp_path / path).is_file() for path in paths)


def test_a_saved_bank_is_loaded_without_loss(bank: BankState, tmp_path: Path) -> None:
    save(bank, tmp_path / "memory_bank.json")
    assert load(tmp_path / "memory_bank.json") == bank
    assert from_json(json.loads(json.dumps(to_json(bank)))) == bank
    assert not list(tmp_path.glob(".*part"))


def test_the_loaded_bank_remembers(bank: BankState, film: Callable[..., Any]) -> None:
    shoot = film()
    again = from_json(to_json(bank))
    mia = {"entity": "Mia", "kind": "character", "attrs": [], "global_id": 1}
    again = shoot.bank.retrieve(shoot.bank.register(again, 4, "Mia.", [mia]), 4)
    assert again["memory"]
    assert len(shoot.bank.frames(again)) == len(again["memory"])


def break_it(value: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    broken = copy.deepcopy(value)
    place = broken
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return broken


@pytest.mark.parametrize(
    ("path", "to", "named"),
    [
        (("frame_archive", "p1_c5_f0", "score"), "high", r"frame_archive\.p1_c5_f0\.score"),
        (("global_registry", "1", "name"), None, r"global_registry\.1\.name"),
        (("colour",), "red", "colour"),
        (("frame_active_memory",), ["p7_c7_f7"], r"frame_active_memory: no frame 'p7_c7_f7'"),
        (("prompts", "1", "memory"), ["p7_c7_f7"], r"prompts\.1\.memory: no frame"),
        (("global_registry", "2"), None, r"entity 2 is not registered"),
        (("prompts", "1"), None, r"no prompt 1"),
        (("prompts", "first"), {"text": "", "entities": [], "memory": []}, "'first' should be a number"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_place(
    bank: BankState, tmp_path: Path, path: tuple[str, ...], to: Any, named: str
) -> None:
    file = tmp_path / "memory_bank.json"
    file.write_text(json.dumps(break_it(to_json(bank), *path, to=to)))
    with pytest.raises(StoreError, match=named) as raised:
        load(file)
    assert str(file) in str(raised.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "memory_bank.json"
    with pytest.raises(StoreError, match=r"memory_bank.json: cannot read"):
        load(file)
    file.write_text("{")
    with pytest.raises(StoreError, match=r"memory_bank.json: cannot read"):
        load(file)
    with pytest.raises(StoreError, match=r"cannot write"):
        save(empty_bank(), tmp_path / "nowhere" / "memory_bank.json")
