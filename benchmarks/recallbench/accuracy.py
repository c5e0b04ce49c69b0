"""How right whoever judges the benchmark's pictures is, on painted truth: the schedule, drawn by the world's painter.

Expected places are put off by `READER_OFFSET`, as a video model puts people about where they should be, not exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch

from memreel.benchmarks.recallbench import figures
from memreel.benchmarks.recallbench.crops import Album, Cropper
from memreel.benchmarks.recallbench.judges import Judge
from memreel.benchmarks.recallbench.scripts import BenchScript, looks, twin
from memreel.model.protocol import Pictures
from memreel.world import palette
from memreel.world.draw import paint
from memreel.world.palette import HeldOut
from memreel.world.places import backgrounds
from memreel.world.shapes import table
from memreel.world.stories import Story

READER_OFFSET = 8.0
"""Pixels by which expected places are off."""


def reader_accuracy(scripts: Sequence[BenchScript], judge: Judge, seed: int = 0) -> dict[str, figures.Interval]:
    """Measure a judge on painted truth: one moment of every scene, expected places off by `READER_OFFSET`."""
    random = Random(seed)
    values: dict[str, list[tuple[int, float]]] = {}
    for script in scripts:
        for number in range(len(script.story.scenes)):
            t = script.story.settled(number) + random.uniform(0, 2)
            glance = judge.look(
                painted(script.story, number, t),
                script.story,
                number,
                t,
                random.choice((-READER_OFFSET, READER_OFFSET)),
            )
            for key, shown in glance.shown.items():
                truth = looks(script.story.beings[key].look)
                for name, value in truth.items():
                    hit = float(shown is not None and shown[name] == value)
                    values.setdefault(name, []).append((script.number, hit))
                values.setdefault("all", []).append((script.number, float(shown == truth)))
            values.setdefault("nobody_else", []).append((script.number, float(not glance.others)))
    return {name: found for name, pairs in values.items() if (found := figures.interval(pairs)) is not None}


def crop_accuracy(
    scripts: Sequence[BenchScript], cropper: Cropper, seed: int = 0, held_out: HeldOut = "nothing"
) -> dict[str, figures.Interval]:
    """Measure crops on painted truth: one moment of every scene, expected places off by `READER_OFFSET`.

    ``found`` and ``reidentified`` are as in a film in which everybody is right, ``told_apart`` is the share of returns
    whose crop is more like its own at the first mention than one of the same person with another look in every
    attribute, at the same place and moment.
    """
    values: dict[str, list[tuple[int, float]]] = {}
    for script in scripts:
        random = Random(f"crops {seed} {script.number}")
        other = twin(script, seed, held_out).story
        right, wrong = Album(cropper, script.story), Album(cropper, script.story)
        met: set[int] = set()
        for number, scene in enumerate(script.story.scenes, 1):
            t = script.story.settled(number - 1) + random.uniform(0, 2)
            offset = random.choice((-READER_OFFSET, READER_OFFSET))
            right.look(painted(script.story, number - 1, t), number, t, offset)
            known = met | set(scene.present())
            changed = Story({k: (other if k in met else script.story).beings[k] for k in known}, script.story.scenes)
            wrong.look(painted(changed, number - 1, t), number, t, offset)
            for key in scene.present():
                truth, false = right.sightings(number, key, key in met), wrong.sightings(number, key, key in met)
                told = {"found": truth.found, "reidentified": truth.own}
                if truth.likeness is not None and false.likeness is not None:
                    told["told_apart"] = truth.likeness > false.likeness
                for name, value in told.items():
                    if value is not None:
                        values.setdefault(name, []).append((script.number, float(value)))
            met = known
    return {name: found for name, pairs in values.items() if (found := figures.interval(pairs)) is not None}


def painted(story: Story, scene: int, t: float) -> Pictures:
    """Return the true picture of second ``t`` of a scene."""
    behind = backgrounds()[palette.PLACES.index(story.scenes[scene].place)][None]
    drawn, _ = paint(torch.from_numpy(table(story.rows(scene, t)))[None], behind)
    picture: Pictures = (drawn[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return picture
