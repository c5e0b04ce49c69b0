"""Fits the analyst's ranker of antecedents to the labelled stories that may be tuned on.

``python -m memreel.benchmarks.antecedents`` plays the stories with the labels' own identities as the cast, collects
every pair that the ranker would be asked about, prints how well stories left out are ranked (folds over stories) and
writes the weights of all of them to ``agent/antecedents.yaml``. ``--dry`` writes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from memreel.agent.analyst import Analyst, sure_readings
from memreel.agent.antecedents import LIKELY, WEIGHTS, pairs
from memreel.benchmarks.cast import PARTS, Labelled, Script, candidates_of, scripts
from memreel.memory.cast import register
from memreel.memory.records import BankState, Entity, empty_bank

TUNED = ("tuned", "named", "fresh", "bridged")
RIDGE = 1.0
FOLDS = 8


@dataclass
class Question:
    """One referent of a story with the pairs it was asked about; ``answer`` is which of them is one, or none."""

    story: int
    model: str
    asked: str
    rows: list[dict[str, float]]
    answer: int | None


def questions(stories: Sequence[Script]) -> Iterator[Question]:
    """Yield every question that the stories ask the ranker, with its answer."""
    for number, script in enumerate(stories):
        bank, home = empty_bank(), dict[str, int]()
        for prompt_id, (text, labels) in enumerate(script.told, 1):
            sure = sure_readings(text, bank)
            free = sorted(sure.alone, key=lambda referent: referent.position)
            who: dict[int, Labelled] = {}
            for labelled in labels:
                for referent in free:
                    if labelled.is_found_in(_entity(referent.entity, referent.kind)):
                        who[id(referent)] = labelled
                        free.remove(referent)
                        break
            asked = pairs(sure.undecided, sure.cast, {*sure.resolved.values()}, bank, sure.owner_of)
            for referent in sure.undecided:
                mine = [pair for pair in asked if pair.referent is referent]
                if mine and id(referent) in who:
                    gold = home.get(who[id(referent)].label)
                    answer = next((i for i, pair in enumerate(mine) if pair.known.global_id == gold), None)
                    yield Question(
                        number,
                        mine[0].model,
                        f"{text} [{referent.entity}]",
                        [pair.features for pair in mine],
                        answer,
                    )
            bank = _told(bank, prompt_id, text, labels, home)


def _entity(called: str, kind: str) -> Entity:
    return {"entity": called, "kind": "object" if kind == "object" else "character", "attrs": [], "global_id": 0}


def _told(bank: BankState, prompt_id: int, text: str, labels: Sequence[Labelled], home: dict[str, int]) -> BankState:
    """Register a prompt as the analyst reads it, but under the labels' identities."""
    reader = Analyst()
    search = candidates_of(bank)
    entities = reader.match(text, reader.parse(text, bank, search).entities, bank, search)
    following = max([*map(int, bank["cast"]), 0]) + 1
    free = list(entities)
    mine: dict[int, int] = {}
    for labelled in labels:
        hit = next((entity for entity in free if labelled.is_found_in(entity)), None)
        if hit is not None:
            free.remove(hit)
            if labelled.label not in home:
                home[labelled.label] = following
                following += 1
            mine[id(hit)] = home[labelled.label]
    kept: list[Entity] = []
    for entity in entities:
        if id(entity) in mine:
            kept.append({**entity, "global_id": mine[id(entity)]})
        elif entity["global_id"] not in home.values() and entity["global_id"] in map(int, bank["cast"]):
            kept.append(entity)
        else:
            kept.append({**entity, "global_id": following})
            following += 1
    return register(bank, prompt_id, text, kept)


def fit(asked: Sequence[Question], ridge: float = RIDGE) -> dict[str, float]:
    """Fit a logistic regression with a ridge (none on the bias) to pairs, by Newton's method."""
    names = sorted({name for question in asked for row in question.rows for name in row})
    inputs = np.array([[row.get(name, 0.0) for name in names] for q in asked for row in q.rows])
    targets = np.array([float(i == q.answer) for q in asked for i in range(len(q.rows))])
    penalty = np.diag([0.01 if name == "bias" else ridge for name in names])
    weights: npt.NDArray[np.float64] = np.zeros(len(names))
    for _ in range(30):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (targets - likely) - penalty @ weights
        curve = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + penalty
        weights = weights + np.linalg.solve(curve, slope)
    return dict(zip(names, map(float, weights), strict=True))


def answered(question: Question, weights: dict[str, float]) -> int | None:
    """Return which pair a model takes, or none."""
    logits = [sum(weights.get(name, 0.0) * value for name, value in row.items()) for row in question.rows]
    best = int(np.argmax(logits))
    return best if logits[best] >= np.log(LIKELY / (1 - LIKELY)) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the models from the command line."""
    parser = argparse.ArgumentParser(prog="python -m memreel.benchmarks.antecedents", description=__doc__.split("\n\n")[0])
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--trace", action="store_true", help="print every question left out that was answered wrong")
    options = parser.parse_args(arguments)
    stories = [story for part in TUNED for story in scripts(PARTS[part])]
    asked = list(questions(stories))
    models: dict[str, dict[str, float]] = {}
    for model in ("role", "name", "thing"):
        mine = [question for question in asked if question.model == model]
        right = merged = split = 0
        for fold in range(FOLDS):
            weights = fit([question for question in mine if question.story % FOLDS != fold])
            for question in mine:
                if question.story % FOLDS == fold:
                    found = answered(question, weights)
                    right += found == question.answer
                    merged += found is not None and found != question.answer
                    split += found is None and question.answer is not None
                    if options.trace and found != question.answer:
                        print(f"{question.asked} took {found}, is {question.answer}")
        known = sum(question.answer is not None for question in mine)
        print(f"{model}: {len(mine)} questions, {known} known; left out: {right} right, {merged} merged, {split} split")
        models[model] = {name: round(weight, 3) for name, weight in sorted(fit(mine).items(), key=lambda w: -abs(w[1]))}
    if not options.dry:
        WEIGHTS.write_text(
            "# How likely a description or a new name is who it is paired with: logistic weights of antecedents.py.\n"
            "# Written by python -m memreel.benchmarks.antecedents.\n"
            + yaml.safe_dump(models, sort_keys=False, allow_unicode=True),
            "utf-8",
        )


if __name__ == "__main__":
    main()
