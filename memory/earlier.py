"""Earlier prompts: what of a bank need not stand in the state, taken out of it and put back without loss.

A prompt leaves the bank with its record and with the cast's appearances in it; everything else of a bank is bounded by
who is in the video, not by how long it is. Prompts leave in order, oldest first, so one number says which are gone.
Where what has left is kept is not known here.
"""

from __future__ import annotations

from typing import Any

from memreel.memory.records import BankState, CastMember, Instance, PromptRecord

Left = dict[str, Any]
"""A prompt that left, as JSON: ``prompt_id``, ``record``, and ``instances``, its appearances by global ID."""


def leaving(bank: BankState, prompt_id: int, text: str) -> Left:
    """Return what of ``bank`` leaves with a prompt; its ``text`` alone if an edit has taken its record out."""
    nothing: PromptRecord = {"text": text, "entities": [], "memory": []}
    appearances = {
        key: [instance for instance in member["instances"] if instance["prompt_id"] == prompt_id]
        for key, member in bank["cast"].items()
    }
    instances = {key: found for key, found in appearances.items() if found}
    return {"prompt_id": prompt_id, "record": bank["prompts"].get(str(prompt_id), nothing), "instances": instances}


def without_earlier(bank: BankState, count: int) -> BankState:
    """Return ``bank`` without its prompts 1 to ``count``."""
    if not count:
        return bank
    gone = range(1, count + 1)
    cast: dict[str, CastMember] = {
        key: {**member, "instances": [one for one in member["instances"] if one["prompt_id"] not in gone]}
        for key, member in bank["cast"].items()
    }
    prompts = {key: record for key, record in bank["prompts"].items() if int(key) not in gone}
    return {**bank, "cast": cast, "prompts": prompts}


class Earlier:
    """The prompts that have left a bank, in the order in which they left."""

    def __init__(self) -> None:
        """Begin with none."""
        self._prompts: dict[str, PromptRecord] = {}
        self._instances: dict[str, list[Instance]] = {}

    def take(self, left: Left) -> None:
        """Take in what `leaving` returned."""
        self._prompts[str(left["prompt_id"])] = left["record"]
        for key, instances in left["instances"].items():
            self._instances.setdefault(key, []).extend(instances)

    def with_earlier(self, bank: BankState) -> BankState:
        """Return ``bank`` as it would be had no prompt left it.

        Memory frames that the bank has dropped since go from the records, as they do from those that are in the state.
        """
        if not self._prompts:
            return bank
        kept = bank["frames"]
        earlier: dict[str, PromptRecord] = {
            key: {**record, "memory": [name for name in record["memory"] if name in kept]}
            for key, record in self._prompts.items()
        }
        cast: dict[str, CastMember] = {
            key: {**member, "instances": [*self._instances.get(key, ()), *member["instances"]]}
            for key, member in bank["cast"].items()
        }
        return {**bank, "cast": cast, "prompts": {**earlier, **bank["prompts"]}}
