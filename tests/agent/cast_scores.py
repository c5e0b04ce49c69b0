"""Scores of a reader on labelled scripts: who and what was found, and whether it kept its identity.

Entity F1 counts, prompt by prompt, entities found against entities labelled. Identity F1 is B³ over mentions,
strictly: a missed mention has recall 0, an entity that is no labelled one has precision 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from memreel.agent.reading import PromptReader
from memreel.memory.records import BankState, Entity, empty_bank, phrase
from memreel.model.minilm import sentence_encoder


@dataclass(frozen=True)
class Likeness:
    global_id: int
    similarity: float


def register(bank: BankState, prompt_id: int, text: str, entities: Sequence[Entity]) -> None:
    """Write a prompt and its entities into a bank's records, as the bank does."""
    for entity in entities:
        member = bank["cast"].setdefault(
            str(entity["global_id"]),
            {
                "global_id": entity["global_id"],
                "kind": entity["kind"],
                "name": entity["entity"],
                "all_entities": [],
                "all_attrs": [],
                "instances": [],
            },
        )
        if entity["entity"] not in member["all_entities"]:
            member["all_entities"].append(entity["entity"])
        member["all_attrs"] += [attr for attr in entity["attrs"] if attr not in member["all_attrs"]]
        member["instances"].append({"prompt_id": prompt_id, "entity": entity["entity"], "attrs": entity["attrs"]})
    bank["prompts"][str(prompt_id)] = {"text": text, "entities": list(entities), "memory": []}


def candidates_of(bank: BankState, k: int = 5) -> Any:
    """Return the similarity search over a bank's cast that readers are handed."""

    def search(phrases: Sequence[str]) -> list[list[Likeness]]:
        members = list(bank["cast"].values())
        if not members or not phrases:
            return [[] for _ in phrases]
        known = sentence_encoder().embed([phrase(member) for member in members])
        asked = sentence_encoder().embed(phrases)
        return [
            [Likeness(members[i]["global_id"], float(row[i])) for i in np.argsort(-row)[:k]] for row in asked @ known.T
        ]

    return search


def play(reader: PromptReader, prompts: Sequence[str]) -> tuple[BankState, list[list[Entity]]]:
    """Read the prompts of a script one after the other; return the bank and each prompt's entities."""
    bank, told = empty_bank(), []
    for number, text in enumerate(prompts, 1):
        search = candidates_of(bank)
        entities = reader.match(text, reader.parse(text, bank, search), bank, search)
        register(bank, number, text, entities)
        told.append(entities)
    return bank, told


def score(reader: PromptReader, path: Path, trace: bool = False) -> dict[str, dict[str, float]]:
    """Return entity and identity F1 over the scripts of a file, for named, unnamed and objects."""
    found: dict[str, list[tuple[Any, Any]]] = {"named": [], "unnamed": [], "objects": []}
    for number, script in enumerate(yaml.safe_load(path.read_text("utf-8"))):
        cast = script["cast"]
        _, told = play(reader, [text for text, _ in script["told"]])
        for (text, labels), entities in zip(script["told"], told, strict=True):
            free = list(entities)
            pairs = []
            for label in labels:
                hit = next((e for e in free if _is_called(e, cast[label])), None)
                if hit is not None:
                    free.remove(hit)
                pairs.append((label, hit["global_id"] if hit else None))
                found[_group(cast[label])].append(((number, label), (number, hit["global_id"]) if hit else None))
            for extra in free:
                group = (
                    "objects" if extra["kind"] == "object" else "named" if extra["entity"][0].isupper() else "unnamed"
                )
                found[group].append((None, (number, extra["global_id"])))
            if trace:
                print(f"{number} {text}\n      {pairs} extra {[e['entity'] for e in free]}")  # noqa: T201
    return {group: _f1(pairs) for group, pairs in found.items()}


def _is_called(entity: Entity, labelled: dict[str, Any]) -> bool:
    last = entity["entity"].rsplit(" ", 1)[-1].lower()
    return entity["kind"] == labelled["kind"] and last in [
        name.rsplit(" ", 1)[-1].lower() for name in labelled["called"]
    ]


def _group(labelled: dict[str, Any]) -> str:
    return "objects" if labelled["kind"] == "object" else "named" if labelled.get("named") else "unnamed"


def _f1(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    both = [(gold, mine) for gold, mine in pairs if gold and mine]
    golds, mines = sum(gold is not None for gold, _ in pairs), sum(mine is not None for _, mine in pairs)

    def harmonic(precision: float, recall: float) -> float:
        return round(2 * precision * recall / (precision + recall), 3) if precision + recall else 0.0

    precision = recall = 0.0
    for gold, mine in both:
        same = sum(g == gold and m == mine for g, m in both)
        precision += same / sum(m == mine for _, m in pairs)
        recall += same / sum(g == gold for g, _ in pairs)
    return {
        "mentions": golds,
        "entity_f1": harmonic(len(both) / max(mines, 1), len(both) / max(golds, 1)),
        "identity_f1": harmonic(precision / max(mines, 1), recall / max(golds, 1)),
    }
