"""Measures, and fits, how well scores tell who is in a frame: ``python -m memreel.training.presence [--fit FILE]``.

Frames of stories are painted, encoded and run through the clean pass under their text, and every being of the story is
scored in them. Printed for the weights' own scorer: the area under the ROC curve of visible against absent beings, how
often the visible one of a pair from the same frame scores higher, and quantiles, over all beings of a story and over
those whom the frame's text mentions, which is what the bank asks. From these the bank's thresholds (`memory.presence`,
`memory.presence_ratio`) are chosen. ``--fit`` first fits the weights of all layers' heads by logistic regression to
other stories, and writes them as the scorer that `memreel.model.sketch` reads beside its weights, together with others
to compare it with: all heads alike (`even`), one layer's heads (`layer-0` …), and all heads asked by name or by
attributes alone (`name`, `attributes`, for `memory.words`). What is printed is always of names that training never saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import get_args

import torch
from torch.nn import functional as F

from memreel.configs.schema import ModelConfig, Words
from memreel.model.context import TextContext, Written
from memreel.model.scoring import Scorer, evidence
from memreel.model.sketch.model import SketchModel, load
from memreel.model.sketch.net import CONFIG, SCORER
from memreel.model.worker import on_model_thread
from memreel.training.device import Easel
from memreel.training.samples import Moment
from memreel.world import palette
from memreel.world.draw import pad_tables
from memreel.world.sentences import attributes, head
from memreel.world.shapes import table
from memreel.world.stories import Being, Story, make_story

WORDINGS: tuple[Words, ...] = get_args(Words)
FIT_STORIES = 4
"""Stories to fit to, for each that is measured."""


@dataclass(frozen=True)
class Sighting:
    """A being in a frame: the heads' evidence ``[layers, heads]``, whether it is there, whether the text says so."""

    frame: int
    evidence: torch.Tensor
    visible: bool
    told: bool


@torch.inference_mode()
def queries_of(model: SketchModel, easel: Easel, story: Story, scene: int, moment: Moment) -> list[torch.Tensor]:
    """Return every layer's text queries of one frame under its scene's text, ``[1, tokens, heads, head_dim]`` each."""
    tables = torch.from_numpy(pad_tables([table(story.rows(scene, t)) for t in moment.times()], 80))
    places = torch.full((4,), palette.PLACES.index(story.scenes[scene].place))
    pictures, _ = easel({"tables": tables, "places": places, "owner": torch.zeros(1, 1)})
    latents = model.codec.encode(pictures.to(model.device))
    written = Written([], [], [])
    text = model.read(story.scenes[scene].text)
    model.net.transformer(
        latents, torch.zeros(1, 1, device=model.device), text, model.passes.turn((0.0,)), None, written
    )
    return written.queries


@on_model_thread
@torch.inference_mode()
def collect(
    model: SketchModel, stories: int, seed: int, held_out: palette.HeldOut, wordings: Sequence[Words] = WORDINGS
) -> dict[Words, list[Sighting]]:
    """Look for every being of each story, in each wording, in a frame of each scene's start and in a settled one."""
    random, easel = Random(seed), Easel(model.device)
    looked = Scorer(tuple(range(CONFIG.layers)), SCORER.top_tokens)
    found: dict[Words, list[Sighting]] = {words: [] for words in wordings}
    frame, empty = 0, model.read("")
    for _ in range(stories):
        story = make_story(random, held_out=held_out)
        keys = list(story.beings)
        asked = list(product(wordings, keys))
        phrases: list[TextContext] = [model.read(_phrase(story.beings[k], words)) for words, k in asked]
        for s, chunk in product(range(len(story.scenes)), (0, None)):
            moment = Moment(s, int(story.settled(s) / 0.75) + 1 if chunk is None else chunk, 1)
            seen = story.visible(s, moment.times()[3])
            rows = evidence(torch.stack(queries_of(model, easel, story, s, moment)), phrases, empty, looked)[0].cpu()
            told = story.scenes[s].mentions
            for (words, k), row in zip(asked, rows, strict=True):
                found[words].append(Sighting(frame, row, k in seen, k in told))
            frame += 1
    return found


def _phrase(being: Being, words: Words) -> str:
    parts = {"all": [head(being), *attributes(being)], "name": [head(being)], "attributes": attributes(being)}
    return ", ".join(parts[words])


def fit(
    sightings: Sequence[Sighting], layers: Sequence[int] = (), even: bool = False, penalty: float = 0.005
) -> Scorer:
    """Return the scorer whose heads' weights tell best who is there of those whom the text mentions.

    Args:
        sightings: what to fit to.
        layers: whose heads; none given: those of all.
        even: whether all heads are to have the same weight.
        penalty: how much the mean squared weight of standardised evidence costs, in nats a sighting.
    """
    asked = [one for one in sightings if one.told]
    layers = tuple(layers) or tuple(range(len(asked[0].evidence)))
    heads = torch.stack([one.evidence for one in asked])[:, layers]
    x = heads.mean((1, 2))[:, None] if even else heads.flatten(1)
    y = torch.tensor([float(one.visible) for one in asked])
    centre, spread = x.mean(0), x.std(0).clamp_min(1e-6)
    weights = torch.zeros(x.shape[1] + 1, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        logits = (x - centre) / spread @ weights[:-1] + weights[-1]
        cost = F.binary_cross_entropy_with_logits(logits, y) + penalty * weights[:-1].square().sum()
        cost.backward()
        return cost

    search.step(loss)
    plain = weights.detach()[:-1] / spread
    rows = (plain / heads[0].numel()).expand(heads[0].numel()).view_as(heads[0]) if even else plain.view_as(heads[0])
    bias = float(weights.detach()[-1] - plain @ centre)
    told = tuple(tuple(round(float(weight), 4) for weight in row) for row in rows)
    return Scorer(layers, SCORER.top_tokens, told, round(bias, 4))


def fit_all(model: SketchModel, stories: int, seed: int) -> Scorer:
    """Return the scorer that is fitted to stories, with those that it is compared with."""
    sightings = collect(model, stories, seed, "nothing")
    whole = sightings["all"]
    others = {"even": fit(whole, even=True)}
    others |= {f"layer-{layer}": fit(whole, [layer]) for layer in range(CONFIG.layers)}
    others |= {words: fit(sightings[words]) for words in WORDINGS if words != "all"}
    return replace(fit(whole), others=others)


def scores(sightings: Sequence[Sighting], scorer: Scorer) -> torch.Tensor:
    """Return what `scorer` gives each sighting, as `memreel.model.scoring.visibility` would."""
    told = torch.stack([one.evidence for one in sightings])[:, list(scorer.layers)].flatten(1)
    total = told @ torch.tensor(scorer.weights).flatten() if scorer.weights else told.mean(1)
    return (total + scorer.bias).sigmoid()


def separation(sightings: Sequence[Sighting], given: torch.Tensor) -> tuple[float, float]:
    """Return the area under the ROC curve over all frames, and the share of right order within a frame."""
    there = torch.tensor([one.visible for one in sightings])
    right = (given[there][:, None] > given[~there][None]).float() + 0.5 * (given[there][:, None] == given[~there])
    frames = torch.tensor([one.frame for one in sightings])
    together = frames[there][:, None] == frames[~there][None]
    return float(right.mean()), float(right[together].mean())


def _report(name: str, sightings: Sequence[Sighting], scorer: Scorer) -> None:
    for whom, chosen in (("anybody", sightings), ("mentioned", [one for one in sightings if one.told])):
        given = scores(chosen, scorer)
        there = torch.tensor([one.visible for one in chosen])
        area, order = separation(chosen, given)
        low, mid = (f"{float(q):.2f}" for q in given[there].quantile(torch.tensor([0.05, 0.5])))
        half, high = (f"{float(q):.2f}" for q in given[~there].quantile(torch.tensor([0.5, 0.95])))
        print(f"{name:<10} {whom:<9} area {area:.3f}  order {order:.3f}  there {low}, {mid} (5, 50 %)  ", end="")
        print(f"absent {half}, {high} (50, 95 %)  {int(there.sum())} of {len(chosen)} there")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=40, help="stories to measure on")
    parser.add_argument("--weights", type=Path, default=None, help="folder of the weights (default: the shipped ones)")
    parser.add_argument("--seed", type=int, default=3, help="seed of the stories")
    parser.add_argument("--fit", type=Path, metavar="FILE", help="fit a scorer, write it here and measure it")
    args = parser.parse_args()
    model = load(ModelConfig(weights=args.weights, device="cpu"))
    measured = collect(model, args.stories, args.seed, "names")
    _report("raw", measured["all"], SCORER)
    scorer = model.scorer
    if args.fit is not None:
        scorer = fit_all(model, FIT_STORIES * args.stories, args.seed + 1)
        scorer.save(args.fit)
    _report("own", measured["all"], scorer)
    for name, other in scorer.others.items():
        _report(name, next((found for words, found in measured.items() if words == name), measured["all"]), other)


if __name__ == "__main__":
    main()
