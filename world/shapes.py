"""Turns a moment of the drawn world into rows for the painter: places, people, animals, robots, objects.

Every figure has one size, so that an attribute covers the same pixels wherever it stands: hair at least 9 px wide
around the face, a top of 30 x 28 px, a hat of 40 x 20 px. The ground line is y = 102.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from memreel.world.draw import HEIGHT, WIDTH, Table, paint, shape
from memreel.world.palette import FUR, HAIR, HAT, INK, PEOPLE, PLACES, RGB, SKIN, THING, TOP

GROUND = 102.0
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
        parts = [shape(x, y, 11, 12, rgb, corner=2), shape(x - 8.5, y, 2.5, 12, dark), shape(x + 2.5, y - 4, 5, 3, pale)]
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
            shape(x, y - 10, 6, 4, INK, corner=2), shape(x, y - 9, 3.5, 3, (200, 200, 200)),
            shape(x, y + 2, 14, 11, rgb, corner=3), shape(x - 7, y + 2, 1.5, 11, dark), shape(x + 7, y + 2, 1.5, 11, dark),
        ]  # fmt: skip
    elif kind == "lantern":
        parts = [
            shape(x, y - 12, 4, 3.5, INK, corner=3), shape(x, y + 1, 9, 11, rgb, corner=3, taper=0.2),
            shape(x, y + 1, 4.5, 6, (255, 250, 200), corner=3), shape(x, y + 12, 10, 2, dark),
        ]  # fmt: skip
    elif kind == "ball":
        parts = [shape(x, y + 1, 12, 12, rgb, ellipse=True), shape(x, y + 1, 12, 2, pale, corner=2)]
    else:
        parts = [
            shape(x, y + 2, 12, 10.5, rgb, corner=1), shape(x, y + 2, 2.2, 10.5, pale), shape(x - 4, y - 10, 4, 2.5, pale, angle=0.5, corner=2),
            shape(x + 4, y - 10, 4, 2.5, pale, angle=-0.5, corner=2),
        ]  # fmt: skip
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


def _plain(sky: RGB, floor: RGB, horizon: float = 84.0) -> list[Row]:
    return [
        shape(WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, sky),
        shape(WIDTH / 2, (horizon + HEIGHT) / 2, WIDTH, (HEIGHT - horizon) / 2, floor),
    ]


def _shelf(x: float, books: tuple[RGB, ...]) -> list[Row]:
    rows = [shape(x, 40, 22, 44, (116, 84, 58)), shape(x, 40, 19, 41, (92, 64, 44))]
    for level in range(4):
        y = 10.0 + level * 20
        for i in range(6):
            rows.append(shape(x - 15 + i * 6, y + (i * 5 + level) % 3, 2.5, 7.5, books[(i * 2 + level) % len(books)]))
        rows.append(shape(x, y + 10, 20, 1.5, (116, 84, 58)))
    return rows


def _tree(x: float, y: float, size: float, leaf: RGB, pine: bool) -> list[Row]:
    rows = [shape(x, y + size * 0.2, size * 0.09, size * 0.5, (104, 84, 66))]
    if pine:
        for k in range(3):
            w = size * (0.22 + 0.1 * k)
            rows.append(shape(x, y - size * (0.62 - 0.28 * k), w, size * 0.22, leaf, taper=0.9))
    else:
        for dx, dy in ((-0.2, -0.3), (0.2, -0.3), (0, -0.5)):
            rows.append(shape(x + dx * size, y + dy * size, size * 0.28, size * 0.26, leaf, ellipse=True))
    return rows


def place(name: str) -> list[Row]:
    """Return the rows of an empty place."""
    muted: tuple[RGB, ...] = ((150, 98, 86), (104, 122, 132), (150, 136, 96), (112, 126, 100), (128, 104, 124))
    if name == "library":
        rows = _plain((206, 194, 172), (150, 118, 90))
        for x in (24, 72, 120, 168):
            rows += _shelf(x, muted)
        return [*rows, shape(96, 98, 96, 14, (140, 106, 80)), shape(96, 103, 70, 6, (160, 96, 88), corner=3)]
    if name == "kitchen":
        rows = _plain((226, 236, 232), (196, 186, 176))
        rows += [shape(96, 24, 26, 18, (250, 250, 250)), shape(96, 24, 23, 15, (176, 214, 236)), shape(96, 24, 1.5, 16, (250, 250, 250))]
        rows += [shape(x, 14, 15, 13, (164, 190, 190), corner=1) for x in (18, 52, 140, 174)]
        return [*rows, shape(96, 72, 96, 14, (150, 172, 172)), shape(96, 60, 96, 3, (238, 232, 222)), shape(170, 50, 10, 7, (120, 126, 132), corner=2)]
    if name == "beach":
        rows = [*_plain((168, 218, 240), (246, 230, 178), 78), shape(96, 66, 96, 13, (72, 160, 196)), shape(96, 79, 96, 2.5, (240, 248, 250))]
        rows += [shape(158, 18, 10, 10, (255, 240, 170), ellipse=True), shape(18, 46, 3, 36, (150, 116, 80), angle=0.12)]
        return rows + [shape(20 + dx, 14 + dy, 13, 3.5, (86, 158, 96), angle=a, ellipse=True) for dx, dy, a in ((-9, 0, -0.5), (9, -1, 0.5), (-6, -6, 0.6), (8, -7, -0.5))]
    if name == "forest":
        rows = _plain((196, 216, 196), (118, 138, 92))
        for x, y, s in ((14, 52, 70), (52, 46, 60), (92, 50, 66), (134, 46, 60), (176, 52, 72)):
            rows += _tree(x, y, s, (76, 118, 86), True)
        return rows
    if name == "street":
        rows = _plain((190, 206, 222), (132, 132, 138))
        for i, (x, h) in enumerate(((20, 60), (60, 70), (100, 54), (140, 66), (178, 58))):
            rows.append(shape(x, 84 - h / 2, 19, h / 2, muted[i]))
            rows += [shape(x + dx, 84 - h + 12 + dy, 4, 5, (232, 226, 196)) for dx in (-9, 9) for dy in (0, 18)]
        return [*rows, shape(96, 85, 96, 3, (176, 174, 172)), shape(40, 108, 14, 1.5, (236, 236, 230)), shape(120, 108, 14, 1.5, (236, 236, 230))]
    if name == "park":
        rows = [*_plain((182, 222, 244), (140, 188, 110), 76), shape(60, 82, 80, 14, (156, 200, 124), ellipse=True)]
        rows += _tree(28, 56, 60, (94, 152, 90), False) + _tree(168, 58, 54, (94, 152, 90), False)
        return [*rows, shape(110, 74, 20, 2, (140, 106, 76)), shape(110, 66, 20, 1.6, (140, 106, 76)), shape(96, 79, 2, 5, (96, 90, 88)), shape(124, 79, 2, 5, (96, 90, 88))]
    if name == "desert":
        rows = [*_plain((252, 226, 190), (222, 184, 100), 80), shape(50, 84, 80, 16, (208, 168, 86), ellipse=True), shape(160, 84, 70, 12, (232, 196, 108), ellipse=True)]
        rows += [shape(30, 20, 11, 11, (255, 246, 206), ellipse=True), shape(164, 62, 5, 24, (108, 146, 98), corner=5)]
        return [*rows, shape(152, 58, 3, 9, (108, 146, 98), corner=3), shape(176, 54, 3, 9, (108, 146, 98), corner=3), shape(158, 65, 8, 3, (108, 146, 98)), shape(170, 61, 8, 3, (108, 146, 98))]
    if name == "mountain":
        rows = _plain((158, 190, 224), (234, 240, 246))
        for x, top, w in ((36, 20, 60), (150, 14, 66), (96, 34, 50)):
            rows += [shape(x, (top + 86) / 2, w / 2, (86 - top) / 2, (122, 134, 152), taper=0.98), shape(x, top + 9, w * 0.07, 9, (244, 248, 252), taper=0.95)]
        return rows
    if name == "cafe":
        rows = _plain((184, 156, 142), (132, 100, 82))
        rows += [shape(40, 40, 28, 24, (250, 240, 220)), shape(40, 40, 25, 21, (190, 214, 220)), shape(150, 36, 30, 22, (86, 76, 72)), shape(150, 36, 27, 19, (66, 62, 60))]
        rows += [shape(132 + i * 9, 30 + (i % 2) * 8, 3, 1.2, (220, 216, 206)) for i in range(5)]
        rows += [row for x in (70, 96, 122) for row in (shape(x, 5, 0.8, 6, INK), shape(x, 13, 7, 5, (226, 170, 90), taper=0.5))]
        return [*rows, shape(150, 84, 26, 3, (98, 72, 58)), shape(150, 94, 3, 9, (98, 72, 58))]
    rows = _plain((36, 40, 76), (92, 90, 104))
    rows += [shape(154, 20, 11, 11, (246, 240, 206), ellipse=True), shape(150, 18, 10, 10, (36, 40, 76), ellipse=True)]
    rows += [shape(x, y, 1, 1, (250, 250, 230), ellipse=True) for x, y in ((20, 14), (50, 30), (84, 10), (112, 26), (180, 44), (66, 50))]
    for i, (x, h) in enumerate(((12, 36), (44, 26), (78, 40), (112, 22), (146, 34), (180, 28))):
        rows.append(shape(x, 84 - h / 2, 15, h / 2, (56, 60, 92)))
        rows += [shape(x + dx, 84 - h + 8, 2, 2.5, (250, 220, 130)) for dx in (-7, 0, 7) if (i + dx) % 2]
    return [*rows, shape(96, 84, 96, 3, (120, 118, 132))]


@lru_cache(maxsize=1)
def backgrounds() -> torch.Tensor:
    """Return the empty places as pictures ``[places, 3, height, width]`` in 0..1, in the order of `PLACES`."""
    return torch.cat([paint(torch.tensor([place(name)], dtype=torch.float32))[0] for name in PLACES])


def table(rows: list[Row]) -> Table:
    """Return rows as an array ``[rows, PARAMS]``."""
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
