"""Fits the analyst's ranker of antecedents to the labelled stories that may be tuned on.

``python -m memreel.benchmarks.antecedents`` plays the stories with the labels' own identities as the cast, collects
every pair that the ranker would be asked about, prints how well stories left out are ranked (folds over stories) and
writes the weights of all of them to ``agent/antecedents.yaml``. ``--dry`` writes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import yaml

from memreel.agent.analyst import Analyst, SureReadings, sure_readings
from memreel.agent.antecedents import LIKELY, WEIGHTS, pairs
from memreel.agent.known import Known
from memreel.agent.referents import Referent
from memreel.benchmarks.cast import PARTS, Labelled, Script, candidates_of, scripts
from memreel.memory.cast import register
from memreel.memory.records import BankState, Entity, empty_bank

TUNED = ("tuned", "named", "fresh", "bridged")
RIDGE = 0.1
FOLDS = 8
FOR = (
    *("likeness", "likeness over half", "likeness lead", "befits", "befits lead", "animal, likeness", "only one"),
    *("animal, more than a person", "gender agrees", "gender may agree", "age agrees", "kin, same surname"),
    *("kin, owner is the other side", "in the latest prompt", "latest of all", "called out", "definite"),
)
AGAINST = (
    *("gender may differ", "arrives", "apposed", "much told", "comes with places", "many", "rivals", "gap", "begins"),
    *("animal, human", "animal, a person's name", "kin, is the other side", "kin, has role", "role, has role"),
    *("introduced", "first", "contradicts"),
)
"""What can only speak for a pair, and only against one."""
EASY = 0.3
"""Weight of a question that the words decide already: "the gun", of a gun."""
HIDDEN = 0.1
"""The same where what it means was hidden: nothing is right."""


@dataclass
class Question:
    """One referent of a story with the pairs it was asked about; ``answer`` is which of them is one, or none.

    A ``made`` one, of a thing whose noun decides, is for fitting only.
    """

    story: int
    model: str
    asked: str
    rows: list[dict[str, float]]
    answer: int | None
    weight: float = 1.0

    @property
    def made(self) -> bool:
        """Whether it is for fitting only."""
        return self.weight < 1.0


def questions(stories: Sequence[Script]) -> Iterator[Question]:
    """Yield every question that the stories ask the ranker, with its answer, and those that can be made of others."""
    for number, script in enumerate(stories):
        bank, home = empty_bank(), dict[str, int]()
        for prompt_id, (text, labels) in enumerate(script.told, 1):
            sure = sure_readings(text, bank)
            free = sorted(sure.alone, key=lambda referent: referent.position)
            for labelled in labels:
                referent = next((r for r in free if labelled.is_found_in(_entity(r.entity, r.kind))), None)
                if referent is None:
                    continue
                free.remove(referent)
                gold = home.get(labelled.label)
                decided = sure.resolved.get(id(referent))
                if decided is None:
                    taken = {*sure.resolved.values()}
                    yield from _asked(number, text, referent, sure.cast, taken, bank, sure, gold)
                elif decided == gold and referent.kind == "object":
                    taken = {*sure.resolved.values()} - {gold}
                    others = [known for known in sure.cast if known.global_id != gold]
                    for cast, weight in ((sure.cast, EASY), (others, HIDDEN)):
                        yield from _asked(number, text, referent, cast, taken, bank, sure, gold, weight)
            bank = _told(bank, prompt_id, text, labels, home)


def _asked(
    story: int,
    text: str,
    referent: Referent,
    cast: Sequence[Known],
    taken: Collection[int],
    bank: BankState,
    sure: SureReadings,
    gold: int | None,
    weight: float = 1.0,
) -> Iterator[Question]:
    """Yield the question that a referent asks of a cast, if it asks any."""
    others = [] if weight < 1.0 else [other for other in sure.undecided if other is not referent]
    asked = pairs([referent, *others], cast, taken, bank, sure.owner_of)
    mine = [pair for pair in asked if pair.referent is referent]
    if mine:
        answer = next((i for i, pair in enumerate(mine) if pair.known.global_id == gold), None)
        rows = [pair.features for pair in mine]
        yield Question(story, mine[0].model, f"{text} [{referent.entity}]", rows, answer, weight)


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
    """Fit a logistic regression to pairs, without the features that so few stories give the wrong sign."""
    names = sorted({name for question in asked for row in question.rows for name in row})
    while True:
        weights = _fit(asked, names, ridge)
        wrong = {
            name for name in names if (weights[name] < 0 and name in FOR) or (weights[name] > 0 and name in AGAINST)
        }
        if not wrong:
            return weights
        names = [name for name in names if name not in wrong]


def _fit(asked: Sequence[Question], names: Sequence[str], ridge: float) -> dict[str, float]:
    """Fit a logistic regression with a ridge (hardly any on the bias), by Newton's method."""
    inputs = np.array([[row.get(name, 0.0) for name in names] for q in asked for row in q.rows])
    targets = np.array([float(i == q.answer) for q in asked for i in range(len(q.rows))])
    penalty = np.diag([0.01 if name == "bias" else ridge for name in names])
    weights: npt.NDArray[np.float64] = np.zeros(len(names))
    counts = np.array([q.weight for q in asked for _ in q.rows])
    for _ in range(30):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (targets - likely)) - penalty @ weights
        curve = (inputs * (counts * likely * (1 - likely))[:, None]).T @ inputs + penalty
        weights = weights + np.linalg.solve(curve, slope)
    return dict(zip(names, map(float, weights), strict=True))


def answered(question: Question, weights: dict[str, float]) -> int | None:
    """Return which pair a model takes, or none."""
    logits = [sum(weights.get(name, 0.0) * value for name, value in row.items()) for row in question.rows]
    best = int(np.argmax(logits))
    return best if logits[best] >= np.log(LIKELY / (1 - LIKELY)) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the models from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m memreel.benchmarks.antecedents", description=__doc__.split("\n\n")[0]
    )
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
                if question.story % FOLDS == fold and not question.made:
                    found = answered(question, weights)
                    right += found == question.answer
                    merged += found is not None and found != question.answer
                    split += found is None and question.answer is not None
                    if options.trace and found != question.answer:
                        print(f"{question.asked} took {found}, is {question.answer}")
        real = [question for question in mine if not question.made]
        known = sum(question.answer is not None for question in real)
        made = len(mine) - len(real)
        print(f"{model}: {len(real)} questions, {known} of somebody known, {made} made ones")
        print(f"  left out: {right} right, {merged} merged, {split} split")
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
