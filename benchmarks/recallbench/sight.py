"""Reads from a picture who is in it and how each looks, given who should be there and about where.

People are found wherever they are and matched to the expected ones from left to right; the rest is looked for near its
place. Nothing here knows of models or of what a picture is a re-entry of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from memreel.benchmarks.recallbench.scripts import looks
from memreel.world import palette
from memreel.world.draw import WIDTH
from memreel.world.reader import Face, find_faces, read_colour
from memreel.world.stories import Story, pose_at

LOST = 60.0
"""A person farther from its place than this, in pixels, is not taken for the one that is expected there."""
REACH = 15
"""Pixels to either side in which an animal, a robot or a thing is looked for."""
FACE_HEIGHT = 45.0


@dataclass(frozen=True)
class Glance:
    """One picture read: ``shown`` has for each expected being its look by attribute, None where it is not to be seen.

    ``others`` are people beyond the expected ones; ``twice`` are expected people whose look is there more than once;
    ``swapped``: people are right but stand in each other's places (None: there are not two, or not all are seen).
    """

    shown: dict[int, dict[str, str] | None]
    others: list[dict[str, str]]
    twice: list[int]
    swapped: bool | None


def look_at(picture: npt.NDArray[np.uint8], story: Story, scene: int, t: float, offset: float = 0.0) -> Glance:
    """Read a picture ``[height, width, 3]`` of second ``t`` of a scene.

    Args:
        picture: the picture.
        story: who should be there, and where.
        scene: which of its scenes.
        t: seconds from the scene's start.
        offset: pixels by which the expected positions are wrong, to measure what that costs.
    """
    pixels = picture.astype(np.float32) / 255.0
    now = story.scenes[scene]
    seen = story.visible(scene, t)
    faces = find_faces(pixels, now.place)
    poses = {s.key: pose_at(s.start, s.x, s.action, s.phase, t) for s in now.spots if s.key in seen}
    people = sorted(
        (key for key in poses if story.beings[key].look.kind in palette.PEOPLE), key=lambda key: poses[key].x
    )
    places = [poses[key].x + offset for key in people]
    paired = match(places, [face.x for face in faces])
    found: dict[int, Face | None] = {
        key: None if i is None else faces[i] for key, i in zip(people, paired, strict=True)
    }
    shown: dict[int, dict[str, str] | None] = {key: None if f is None else _attributes(f) for key, f in found.items()}
    for spot in now.spots:
        if spot.key not in poses:
            continue
        pose, face = poses[spot.key], found.get(spot.key)
        look = story.beings[spot.key].look
        if spot.key not in found:
            colour = read_colour(pixels, look.kind, pose.x + offset, pose.lift, reach=REACH)
            shown[spot.key] = {"colour": colour} if colour else None
        if spot.holds is not None:
            kind = story.beings[spot.holds].look.kind
            x, lift = (pose.x + offset, pose.lift) if face is None else (face.x, FACE_HEIGHT - face.y)
            colour = read_colour(pixels, kind, x, lift, holding=True)
            shown[spot.holds] = {"colour": colour} if colour else None
    return compared(story, shown, people, [_attributes(face) for i, face in enumerate(faces) if i not in paired])


def compared(
    story: Story,
    shown: dict[int, dict[str, str] | None],
    people: Sequence[int],
    others: list[dict[str, str]],
) -> Glance:
    """Return a picture as it was read, and what of it is wrong.

    Args:
        story: how everybody should look.
        shown: how each expected being looks.
        people: the people among them, from left to right.
        others: people beyond the expected ones.
    """
    expected = {key: looks(story.beings[key].look) for key in people}
    everyone = [*(shown[key] for key in people), *others]
    return Glance(
        shown,
        others,
        [key for key, look in expected.items() if everyone.count(look) > list(expected.values()).count(look)],
        _swapped([shown[key] for key in people], list(expected.values())),
    )


def match(places: Sequence[float], faces: Sequence[float]) -> list[int | None]:
    """Match expected places to faces, both from left to right, in order and at the least total distance.

    Returns:
        For each place the number of its face, or None.
    """
    cost = np.zeros((len(places) + 1, len(faces) + 1))
    cost[1:, 0] = LOST * np.arange(1, len(places) + 1)
    for i, place in enumerate(places, 1):
        for j, face in enumerate(faces, 1):
            together = cost[i - 1, j - 1] + min(abs(place - face), 2 * LOST)
            cost[i, j] = min(together, cost[i - 1, j] + LOST, cost[i, j - 1])
    out: list[int | None] = [None] * len(places)
    i, j = len(places), len(faces)
    while i and j:
        if cost[i, j] == cost[i, j - 1]:
            j -= 1
        elif cost[i, j] == cost[i - 1, j] + LOST:
            i -= 1
        else:
            i, j = i - 1, j - 1
            out[i] = j
    return out


def _attributes(face: Face) -> dict[str, str]:
    return {"hair": face.hair, "top": face.top, "hat": face.hat}


def _swapped(shown: Sequence[dict[str, str] | None], expected: Sequence[dict[str, str]]) -> bool | None:
    if len(shown) < 2 or None in shown:
        return None
    if list(shown) == list(expected):
        return False
    return any(list(order) == list(expected) for order in permutations(shown))


assert WIDTH > 2 * LOST
