"""Measures how well scores tell who is in a frame: ``python -m memreel.training.presence [--stories 40]``.

Frames of held-out stories are painted, encoded and run through the clean pass under their text; every being of the
story is scored in them. Printed for each layer and for the shipped combination: the area under the ROC curve of visible
against absent beings, and how often the visible one of a pair from the same frame scores higher: over all beings of the
story, and over those whom the frame's text mentions, which is what the bank asks. From this the scoring
layers and the bank's thresholds (`memory.presence`, `memory.presence_ratio`) are chosen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import torch

from memreel.configs.schema import ModelConfig
from memreel.model.scoring import affinity, spoken_for, visibility
from memreel.model.sketch.model import SketchModel, load
from memreel.model.sketch.net import CONFIG, SCORER
from memreel.model.transformer import TextContext, Written
from memreel.training.device import Easel
from memreel.training.samples import Moment
from memreel.world import palette
from memreel.world.draw import pad_tables
from memreel.world.sentences import attributes, head
from memreel.world.shapes import table
from memreel.world.stories import Story, make_story

Frames = list[tuple[dict[int, float], set[int]]]
"""The scores of beings in a frame, and who is visible in it."""
Scores = dict[str, tuple[Frames, Frames]]
"""For each way of scoring: frames with every being of the story, and with those whom the frame's text mentions."""


@torch.inference_mode()
def queries_of(model: SketchModel, easel: Easel, story: Story, scene: int, moment: Moment) -> list[torch.Tensor]:
    """Return every layer's text queries of one frame under its scene's text, ``[1, tokens, heads, head_dim]`` each."""
    tables = torch.from_numpy(pad_tables([table(story.rows(scene, t)) for t in moment.times()], 80))
    places = torch.full((4,), palette.PLACES.index(story.scenes[scene].place))
    pictures, _ = easel({"tables": tables, "places": places, "owner": torch.zeros(1, 1)})
    latents = model.codec.encode(pictures.to(model.device))
    written = Written([], [], [])
    text = model.read(story.scenes[scene].text)
    model.net.transformer(latents, torch.zeros(1, 1, device=model.device), text, model.alone, None, written)
    return written.queries


@torch.inference_mode()
def collect(model: SketchModel, stories: int, seed: int) -> Scores:
    """Score every being of every story in a frame of each scene's start and in a settled one."""
    random, easel = Random(seed), Easel(model.device)
    found: Scores = defaultdict(lambda: ([], []))
    empty = model.read("")
    for _ in range(stories):
        story = make_story(random, held_out="names")
        keys = list(story.beings)
        phrases: list[TextContext] = [
            model.read(", ".join([head(story.beings[k]), *attributes(story.beings[k])])) for k in keys
        ]
        for s, chunk in product(range(len(story.scenes)), (0, None)):
            moment = Moment(s, int(story.settled(s) / 0.75) + 1 if chunk is None else chunk, 1)
            seen = story.visible(s, moment.times()[3])
            queries = queries_of(model, easel, story, s, moment)
            scored: dict[str, list[float]] = {}
            for layer in range(CONFIG.layers):
                base = affinity(queries[layer], empty, layer)
                scored[f"layer {layer}"] = [
                    float(spoken_for(affinity(queries[layer], p, layer) - base, SCORER.top_tokens)) for p in phrases
                ]
            chosen = torch.stack([queries[i] for i in SCORER.layers])
            scored["shipped"] = visibility(chosen, phrases, empty, SCORER)[0].tolist()
            for name, values in scored.items():
                scores = dict(zip(keys, values, strict=True))
                found[name][0].append((scores, seen))
                found[name][1].append(({k: v for k, v in scores.items() if k in story.scenes[s].mentions}, seen))
    return dict(found)


def separation(frames: Frames) -> tuple[float, float]:
    """Return the area under the ROC curve over all frames, and the share of right order within a frame."""
    there = np.array([s for scores, seen in frames for k, s in scores.items() if k in seen])
    away = np.array([s for scores, seen in frames for k, s in scores.items() if k not in seen])
    area = float((there[:, None] > away[None, :]).mean() + 0.5 * (there[:, None] == away[None, :]).mean())
    order = [
        scores[a] > scores[b] for scores, seen in frames for a, b in product(seen & set(scores), set(scores) - seen)
    ]
    return area, float(np.mean(order))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=int, default=40)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    for name, both in collect(load(ModelConfig(weights=args.weights, device="cpu")), args.stories, args.seed).items():
        for whom, frames in zip(("anybody", "mentioned"), both, strict=True):
            area, order = separation(frames)
            there = np.quantile([s for scores, seen in frames for k, s in scores.items() if k in seen], (0.05, 0.5))
            away = np.quantile([s for scores, seen in frames for k, s in scores.items() if k not in seen], (0.5, 0.95))
            print(
                f"{name:<9} {whom:<9} area {area:.3f}  order {order:.3f}  there {there} away {away} (5, 50 | 50, 95 %)"
            )


if __name__ == "__main__":
    main()
