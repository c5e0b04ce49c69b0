"""Measures how well scores tell who is in a frame: ``python -m memreel.training.presence [--stories 40]``.

Frames of held-out stories are painted, encoded and run through the clean pass under their text; every being of the
story is scored in them. Printed for each layer and for the shipped combination: the area under the ROC curve of visible
against absent beings, and how often the visible one of a pair from the same frame scores higher. From this the scoring
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

Scores = dict[str, list[tuple[dict[int, float], set[int]]]]
"""For each way of scoring: the score of every being in a frame, and who is visible in it."""


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
    """Score every being of every story in one settled frame of each scene."""
    random, easel, found = Random(seed), Easel(model.device), defaultdict(list)
    empty = model.read("")
    for _ in range(stories):
        story = make_story(random, held_out="names")
        keys = list(story.beings)
        phrases: list[TextContext] = [
            model.read(", ".join([head(story.beings[k]), *attributes(story.beings[k])])) for k in keys
        ]
        for s in range(len(story.scenes)):
            moment = Moment(s, int(story.settled(s) / 0.75) + 1, 1)
            seen = story.visible(s, moment.times()[3])
            queries = queries_of(model, easel, story, s, moment)
            for layer in range(CONFIG.layers):
                base = affinity(queries[layer], empty, layer)
                scores = [
                    float(spoken_for(affinity(queries[layer], p, layer) - base, SCORER.top_tokens)) for p in phrases
                ]
                found[f"layer {layer}"].append((dict(zip(keys, scores, strict=True)), seen))
            shipped = visibility(torch.stack([queries[i] for i in SCORER.layers]), phrases, empty, SCORER)[0].tolist()
            found["shipped"].append((dict(zip(keys, shipped, strict=True)), seen))
    return dict(found)


def separation(frames: list[tuple[dict[int, float], set[int]]]) -> tuple[float, float]:
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
    for name, frames in collect(load(ModelConfig(weights=args.weights, device="cpu")), args.stories, args.seed).items():
        area, order = separation(frames)
        there = np.median([s for scores, seen in frames for k, s in scores.items() if k in seen])
        away = np.median([s for scores, seen in frames for k, s in scores.items() if k not in seen])
        print(f"{name:<9} area {area:.3f}  order {order:.3f}  median there {there:.3f} away {away:.3f}")


if __name__ == "__main__":
    main()
