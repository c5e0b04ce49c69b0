"""How well a reader finds who and what a story tells of, and keeps everybody's identity.

``python -m memreel.benchmarks.cast`` plays the labelled scripts of ``data/`` through the analyst, and through a chat
model too if one is configured (``MEMREEL_LLM_MODEL`` …), and prints a table; with ``--json`` one JSON object follows on
the last line. Parts ``held``, ``blind``, ``aside`` and ``sealed`` are kept aside; the others are for training.
``--scripts FILE …`` plays marked scripts of one's own (`memreel.benchmarks.marked`).

An entity is a label's if it is called by one of the words marked as the label's mentions, or listed for it. Entity F1
counts, prompt by prompt, entities found against entities labelled. Identity F1 is B³ over mentions: a missed mention
has recall 0, an entity that is no labelled one has precision 0. A wrong merge is a mention under the ID of somebody
else, a wrong split one under a new ID although it has one already. It measures readers only: no frames, no video.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import linear_sum_assignment

from memreel.agent.analyst import Analyst
from memreel.agent.dictionary import singular
from memreel.agent.pages import PRONOUNS, words_of
from memreel.agent.reading import Candidates, PromptReader, prompt_reader
from memreel.benchmarks.marked import GROUPS, PARTS, Record, Told, groups_of, told_of
from memreel.configs.schema import AgentConfig
from memreel.memory.cast import phrase_rows, register
from memreel.memory.index import Candidate, TextIndex
from memreel.memory.records import BankState, Entity, empty_bank
from memreel.model.minilm import sentence_encoder


@dataclass(frozen=True)
class Labelled:
    """Somebody or something that a script tells of, and the words it may be called by."""

    label: str
    group: str
    called: frozenset[str]

    def is_found_in(self, entity: Entity) -> bool:
        """Tell whether an entity is called so and is of this kind."""
        kind = "object" if self.group == "objects" else "character"
        head = _head(entity)
        return entity["kind"] == kind and not self.called.isdisjoint((head, head.rsplit("-", 1)[-1]))  # "Eun-ji"


@dataclass(frozen=True)
class Script:
    """A labelled script: each prompt with those it tells of, in order of first mention."""

    told: list[tuple[str, list[Labelled]]]
    maybe: frozenset[str]
    """Nouns that may be read as entities or not; they are not scored."""

    @property
    def prompts(self) -> list[str]:
        """The prompts alone."""
        return [text for text, _ in self.told]


@dataclass
class Tally:
    """Mentions of one group: pairs of (whom the labels mean, which ID the reader gave), none where one is missing."""

    pairs: list[tuple[tuple[int, str] | None, tuple[int, int] | None]] = field(default_factory=list)
    merges: int = 0
    splits: int = 0

    def figures(self) -> dict[str, float]:
        """Return the counts and F1 scores of the group."""
        both = [(gold, mine) for gold, mine in self.pairs if gold and mine]
        golds = sum(gold is not None for gold, _ in self.pairs)
        mines = sum(mine is not None for _, mine in self.pairs)
        precision = recall = 0.0
        for gold, mine in both:
            same = sum(g == gold and m == mine for g, m in both)
            precision += same / sum(m == mine for _, m in self.pairs)
            recall += same / sum(g == gold for g, _ in self.pairs)
        return {
            "mentions": golds,
            "entity_f1": _harmonic(len(both) / max(mines, 1), len(both) / max(golds, 1)),
            "identity_f1": _harmonic(precision / max(mines, 1), recall / max(golds, 1)),
            "wrong_merges": self.merges,
            "wrong_splits": self.splits,
        }


def scripts(path: Path) -> list[Script]:
    """Read a file of labelled scripts."""
    found = []
    for record in yaml.safe_load(path.read_text("utf-8")):
        prompts = [told_of(text) for text in record["told"]]
        cast = {
            label: Labelled(label, group, frozenset([*_nouns(record, label), *words_for(label, prompts)]))
            for label, group in groups_of(record).items()
        }
        told = [(prompt.text, [cast[label] for label in prompt.labels]) for prompt in prompts]
        found.append(Script(told, frozenset(record.get("maybe", "").split())))
    return found


def _nouns(record: Record, label: str) -> list[str]:
    return [noun for group in GROUPS for noun in record.get(group, {}).get(label, "").lower().split()]


def words_for(label: str, prompts: Sequence[Told]) -> Iterator[str]:
    """Yield the words marked as mentions of a label, and what one of several is called by them; no pronouns."""
    for prompt in prompts:
        words = {word.start: word.text for word in words_of(prompt.text)}
        for mark in prompt.marks:
            word = words[mark.start]
            if label in mark.labels and word.lower() not in PRONOUNS:
                yield from (word.lower(), singular(word.lower()))


def candidates_of(bank: BankState, k: int = 5) -> Candidates:
    """Return the similarity search over a bank's cast that readers are handed."""
    index = TextIndex(sentence_encoder().embed)

    def search(phrases: Sequence[str]) -> list[list[Candidate]]:
        return [
            [Candidate(*likeness) for likeness in row] for row in index.nearest(phrase_rows(bank), list(phrases), k)
        ]

    return search


def play(reader: PromptReader, prompts: Sequence[str]) -> tuple[BankState, list[list[Entity]]]:
    """Read the prompts of a script one after the other; return the bank and each prompt's entities."""
    bank, told = empty_bank(), []
    for number, text in enumerate(prompts, 1):
        search = candidates_of(bank)
        entities = reader.match(text, reader.parse(text, bank, search).entities, bank, search)
        bank = register(bank, number, text, entities)
        told.append(entities)
    return bank, told


def score(reader: PromptReader, stories: Sequence[Script], trace: bool = False) -> dict[str, dict[str, float]]:
    """Return the figures of a reader over scripts, for named characters, unnamed ones and objects.

    Args:
        reader: who reads.
        stories: the labelled scripts.
        trace: print every prompt with what was found, missed and made up.
    """
    tallies = {group: Tally() for group in GROUPS}
    for number, script in enumerate(stories):
        _, read = play(reader, script.prompts)
        owner: dict[int, str] = {}
        home: dict[str, int] = {}
        for (text, labels), entities in zip(script.told, read, strict=True):
            faults = []
            hits = _paired(labels, entities, home)
            free = [entity for at, entity in enumerate(entities) if at not in hits.values()]
            for rank, labelled in enumerate(labels):
                tally = tallies[labelled.group]
                gold = (number, labelled.label)
                if rank not in hits:
                    tally.pairs.append((gold, None))
                    faults.append(f"missed {labelled.label}")
                    continue
                global_id = entities[hits[rank]]["global_id"]
                tally.pairs.append((gold, (number, global_id)))
                if owner.setdefault(global_id, labelled.label) != labelled.label:
                    tally.merges += 1
                    faults.append(f"{labelled.label} merged with {owner[global_id]}")
                elif home.setdefault(labelled.label, global_id) != global_id:
                    tally.splits += 1
                    faults.append(f"{labelled.label} split")
            for extra in free:
                if _head(extra) not in script.maybe and singular(_head(extra)) not in script.maybe:
                    owner.setdefault(extra["global_id"], extra["entity"])
                    tallies[_group(extra)].pairs.append((None, (number, extra["global_id"])))
                    faults.append(f"made up {extra['entity']} ({extra['global_id']})")
            if trace and faults:
                print(f"{number + 1}. {text}\n   {'; '.join(faults)}")
    return {group: tally.figures() for group, tally in tallies.items()}


def _paired(labels: Sequence[Labelled], entities: Sequence[Entity], home: Mapping[str, int]) -> dict[int, int]:
    """Pair a prompt's labels with the entities that are called so, as many as can be; return ranks by rank.

    Where the words leave several pairings (two men who are both called "man"), the one is taken that agrees most with
    the IDs which the labels had first, then the one in order of mention.
    """
    fits = np.array([[float(labelled.is_found_in(entity)) for entity in entities] for labelled in labels])
    if not fits.size:
        return {}
    kept = np.array([[home.get(labelled.label) == entity["global_id"] for entity in entities] for labelled in labels])
    order = np.abs(np.arange(len(labels))[:, None] - np.arange(len(entities))[None])
    rows, columns = linear_sum_assignment(fits * (1 + kept / 100 - order / 1e6), maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if fits[row, column]}


def table(figures: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """Return the figures, by reader, part and group, as a Markdown table."""
    rows = [
        "| reader | scripts | group | mentions | entity F1 | identity F1 | wrong merges | wrong splits |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for reader, parts in figures.items():
        for part, groups in parts.items():
            for group, figure in groups.items():
                rows.append(
                    f"| {reader} | {part} | {group} | {figure['mentions']} | {figure['entity_f1']:.3f} | "
                    f"{figure['identity_f1']:.3f} | {figure['wrong_merges']} | {figure['wrong_splits']} |"
                )
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m memreel.benchmarks.cast", description=__doc__.split("\n\n")[0])
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all", help="which scripts to play")
    parser.add_argument("--scripts", type=Path, nargs="+", help="files of marked scripts of your own to play instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--trace", action="store_true", help="print every prompt that was not read as labelled")
    options = parser.parse_args(arguments)
    files = {path.stem: path for path in options.scripts or ()} or PARTS
    parts = {part: scripts(path) for part, path in files.items() if options.scripts or options.part in (part, "all")}
    readers: list[PromptReader] = [Analyst()]
    configured = prompt_reader(AgentConfig())
    if configured.name != Analyst.name:
        readers.append(configured)
    figures: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for reader in readers:
        begun = time.perf_counter()
        figures[reader.name] = {part: score(reader, stories, options.trace) for part, stories in parts.items()}
        seconds[reader.name] = round(time.perf_counter() - begun, 2)
    print(table(figures))
    if options.json:
        counts = {part: len(stories) for part, stories in parts.items()}
        print(json.dumps({"benchmark": "cast", "scripts": counts, "seconds": seconds, "figures": figures}))


def _head(entity: Entity) -> str:
    """Return the last word of what an entity is called, in lower case."""
    return entity["entity"].rsplit(" ", 1)[-1].lower()


def _group(entity: Entity) -> str:
    if entity["kind"] == "object":
        return "objects"
    return "named" if entity["entity"][:1].isupper() else "unnamed"


def _harmonic(precision: float, recall: float) -> float:
    return round(2 * precision * recall / (precision + recall), 3) if precision + recall else 0.0


if __name__ == "__main__":
    main()
