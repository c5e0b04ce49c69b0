"""Turns figures and objects of the drawn world into rows for the painter.

Every figure has one size, so that an attribute covers the same pixels wherever it stands: hair at least 9 px wide
around the face, a top of 30 x 28 px, a hat of 40 x 20 px. The ground line is y = 102.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from memreel.world.draw import Table, shape
from memreel.world.palette import FUR, HAIR, HAT, INK, PEOPLE, RGB, SKIN, THING, TOP

TROUSERS: dict[str, RGB] = {"woman": (84, 74, 104), "man": (62, 66, 78)}
SHOE: RGB = (46, 40, 44)
Row = list[float]


@dataclass(frozen=True)
class Look:
    """What is remembered of an entity: its kind and its colours (a name of `palette`)."""

    kind: str
    hair: str = ""
    top: str = ""
    hat: str = "none"
    colour: str = ""


@dataclass(frozen=True)
class Pose:
    """Where a figure is and how it moves at one moment; lengths in pixels, angles in radians."""

    x: float
    walk: float = 0.0
    stride: float = 0.0
    lift: float = 0.0
    arm: float = 0.0
    mouth: float = 0.0
    gaze: float = 0.0


def person(look: Look, pose: Pose) -> list[Row]:
    """Return the rows of a woman or a man, back to front; the mask is 1 on attributes, 0.6 elsewhere."""
    x, up = pose.x, pose.lift
    hair, top, hat = HAIR[look.hair], TOP[look.top], HAT[look.hat]
    legs = TROUSERS[look.kind]
    rows: list[Row] = []
    if look.kind == "woman":
        rows.append(shape(x, 48 - up, 21, 23, hair, corner=15, mask=1.0))
    else:
        rows.append(shape(x, 40 - up, 19, 16, hair, corner=13, mask=1.0))
    for side in (-1, 1):
        swing = side * pose.stride * math.sin(pose.walk)
        rows.append(shape(x + side * 6 + swing * 6, 92 - up, 4.5, 10, legs, angle=swing * 0.5, corner=3, mask=0.6))
        rows.append(shape(x + side * 6 + swing * 11 + 1, 101 - up, 5.5, 2.5, SHOE, corner=2, mask=0.6))
    for side in (-1, 1):
        raised = pose.arm if side == -1 else 0.0
        swing = -side * pose.stride * 0.5 * math.sin(pose.walk)
        angle = side * 0.28 + swing - raised * 2.3
        sx, sy = x + side * 14, 64 - up
        ex, ey = sx + 17 * math.sin(angle), sy + 17 * math.cos(angle)
        rows.append(shape((sx + ex) / 2, (sy + ey) / 2, 4.5, 11, top, angle=-angle, corner=4.5, mask=1.0))
        rows.append(shape(ex, ey, 4, 4, SKIN, ellipse=True, mask=0.6))
    rows.append(shape(x, 73 - up, 15, 15, top, corner=6, taper=0.16 if look.kind == "woman" else 0.0, mask=1.0))
    rows.append(shape(x, 45 - up, 11.5, 13, SKIN, ellipse=True, mask=1.0))
    rows.append(shape(x, 32 - up, 14, 7, hair, corner=6, mask=1.0))
    for side in (-1, 1):
        rows.append(shape(x + side * 4.5 + pose.gaze * 2, 46 - up, 1.6, 2.2, INK, ellipse=True, mask=1.0))
    rows.append(shape(x + pose.gaze * 2, 52.5 - up, 3, 0.9 + 1.6 * pose.mouth, (150, 60, 60), corner=1, mask=1.0))
    if hat is not None:
        rows.append(shape(x, 16 - up, 13, 10, hat, corner=5, mask=1.0))
        rows.append(shape(x, 25 - up, 21, 3.5, hat, corner=3, mask=1.0))
    return rows


def animal(look: Look, pose: Pose) -> list[Row]:
    """Return the rows of a dog or a cat, looking to the right."""
    x, up, fur = pose.x, pose.lift, FUR[look.colour]
    rows: list[Row] = []
    dog = look.kind == "dog"
    tail = 0.6 + 0.4 * math.sin(pose.walk * 1.7)
    if dog:
        rows.append(shape(x - 22, 76 - up, 3, 8, fur, angle=-tail, corner=3, mask=1.0))
    else:
        rows.append(shape(x - 21, 70 - up, 2.5, 14, fur, angle=-0.3 * tail, corner=2.5, mask=1.0))
    for leg, dx in enumerate((-14, -7, 6, 13)):
        swing = pose.stride * math.sin(pose.walk + leg * math.pi / 2) * 0.4
        rows.append(shape(x + dx + swing * 8, 95 - up, 3.2, 7, fur, angle=swing, corner=3, mask=1.0))
    rows.append(shape(x - 1, 84 - up, 20, 10 if dog else 9, fur, corner=9, mask=1.0))
    rows.append(shape(x + 18, 70 - up, 12 if dog else 11, 11, fur, ellipse=True, mask=1.0))
    ink: RGB = (250, 250, 250) if look.colour == "black" else INK
    if dog:
        rows.append(shape(x + 9, 70 - up, 4, 9, tuple(int(c * 0.7) for c in fur), corner=4, mask=1.0))  # type: ignore[arg-type]
        rows.append(shape(x + 27, 73 - up, 6, 4.5, fur, corner=4, mask=1.0))
        rows.append(shape(x + 32, 71 - up, 2, 2, ink, ellipse=True, mask=1.0))
    else:
        for side in (-1, 1):
            rows.append(shape(x + 18 + side * 7, 59 - up, 4.5, 6, fur, angle=side * 0.25, taper=0.9, mask=1.0))
        rows.append(shape(x + 24, 74 - up, 1.6, 1.2, (230, 120, 130), ellipse=True, mask=1.0))
    for dx in (16, 23):
        rows.append(shape(x + dx + pose.gaze, 68 - up, 1.5, 1.9, ink, ellipse=True, mask=1.0))
    return rows


def robot(look: Look, pose: Pose) -> list[Row]:
    """Return the rows of a robot: a box with a screen for a face, on wheels."""
    x, up, paint_ = pose.x, pose.lift, TOP[look.colour]
    steel: RGB = (120, 126, 136)
    rows = [shape(x, 44 - up, 1.5, 8, steel, mask=0.6), shape(x, 36 - up, 3.5, 3.5, paint_, ellipse=True, mask=1.0)]
    for side in (-1, 1):
        angle = side * 0.4 - (pose.arm * 2.0 if side == -1 else 0.0)
        sx, sy = x + side * 17, 74 - up
        rows.append(shape(sx + 6 * math.sin(angle), sy + 6 * math.cos(angle), 3, 9, steel, angle=-angle, mask=0.6))
        rows.append(shape(x + side * 9, 98 - up, 5.5, 4.5, (54, 56, 62), corner=4, mask=0.6))
    rows.append(shape(x, 83 - up, 16, 12, paint_, corner=4, mask=1.0))
    rows.append(shape(x, 59 - up, 18, 11, paint_, corner=5, mask=1.0))
    rows.append(shape(x, 59 - up, 13, 7, (28, 40, 52), corner=3, mask=1.0))
    for side in (-1, 1):
        rows.append(shape(x + side * 5 + pose.gaze * 2, 58 - up, 2.4, 2.4, (120, 240, 230), ellipse=True, mask=1.0))
    return rows


def thing(look: Look, x: float, y: float, held: bool) -> list[Row]:
    """Return the rows of an object of about 24 px, centred at (x, y); ``held`` only shortens a balloon's string."""
    rgb = THING[look.colour]
    dark: RGB = tuple(int(c * 0.62) for c in rgb)  # type: ignore[assignment]
    pale: RGB = (246, 240, 222)
    kind = look.kind
    if kind == "notebook":
        parts = [
            shape(x, y, 11, 12, rgb, corner=2),
            shape(x - 8.5, y, 2.5, 12, dark),
            shape(x + 2.5, y - 4, 5, 3, pale),
        ]
    elif kind == "umbrella":
        parts = [
            shape(x, y - 5, 14, 9, rgb, taper=0.75, corner=1),
            shape(x, y + 7, 1.3, 8, dark),
            shape(x + 2.5, y + 14.5, 3.5, 1.4, dark, corner=1),
        ]
    elif kind == "balloon":
        string = 10.0 if held else 19.0
        parts = [shape(x, y - 6 + string, 0.8, string, INK), shape(x, y - 10, 11.5, 13.5, rgb, ellipse=True)]
    elif kind == "suitcase":
        parts = [
            shape(x, y - 10, 6, 4, INK, corner=2),
            shape(x, y - 9, 3.5, 3, (200, 200, 200)),
            shape(x, y + 2, 14, 11, rgb, corner=3),
            shape(x - 7, y + 2, 1.5, 11, dark),
            shape(x + 7, y + 2, 1.5, 11, dark),
        ]
    elif kind == "lantern":
        parts = [
            shape(x, y - 12, 4, 3.5, INK, corner=3), shape(x, y + 1, 9, 11, rgb, corner=3, taper=0.2),
            shape(x, y + 1, 4.5, 6, (255, 250, 200), corner=3), shape(x, y + 12, 10, 2, dark),
        ]  # fmt: skip
    elif kind == "ball":
        parts = [shape(x, y + 1, 12, 12, rgb, ellipse=True), shape(x, y + 1, 12, 2, pale, corner=2)]
    else:
        parts = [
            shape(x, y + 2, 12, 10.5, rgb, corner=1),
            shape(x, y + 2, 2.2, 10.5, pale),
            shape(x - 4, y - 10, 4, 2.5, pale, angle=0.5, corner=2),
            shape(x + 4, y - 10, 4, 2.5, pale, angle=-0.5, corner=2),
        ]
    for row in parts:
        row[13] = 1.0
    return parts


HELD_AT = (25.0, 76.0)
"""Where a held object's centre lies, relative to its holder's x and from the top of the picture."""


def held(look: Look, pose: Pose) -> list[Row]:
    """Return the rows of an object in its holder's hand."""
    return thing(look, pose.x + HELD_AT[0], HELD_AT[1] - pose.lift, True)


def grounded(look: Look, x: float, lift: float = 0.0) -> list[Row]:
    """Return the rows of an object that stands or lies on the ground."""
    return thing(look, x, (70.0 if look.kind == "balloon" else 88.0) - lift, False)


def figure(look: Look, pose: Pose) -> list[Row]:
    """Return the rows of whoever has a place of its own on the ground."""
    if look.kind in PEOPLE:
        return person(look, pose)
    if look.kind == "robot":
        return robot(look, pose)
    if look.colour in FUR and look.kind in ("dog", "cat"):
        return animal(look, pose)
    return grounded(look, pose.x, pose.lift)


def table(rows: list[Row]) -> Table:
    """Return rows as an array ``[rows, PARAMS]``."""
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
