"""The ten places of the drawn world: muted backgrounds that figures stand out from.

Colours near the skin tone are kept out of them, so that faces can be found by colour (`memreel.world.reader`).
"""

from __future__ import annotations

from functools import lru_cache

import torch

from memreel.world.draw import HEIGHT, WIDTH, paint, shape
from memreel.world.palette import INK, PLACES, RGB

Row = list[float]


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
        rows += [
            shape(96, 24, 26, 18, (250, 250, 250)),
            shape(96, 24, 23, 15, (176, 214, 236)),
            shape(96, 24, 1.5, 16, (250, 250, 250)),
        ]
        rows += [shape(x, 14, 15, 13, (164, 190, 190), corner=1) for x in (18, 52, 140, 174)]
        return [
            *rows,
            shape(96, 72, 96, 14, (150, 172, 172)),
            shape(96, 60, 96, 3, (238, 232, 222)),
            shape(170, 50, 10, 7, (120, 126, 132), corner=2),
        ]
    if name == "beach":
        rows = [
            *_plain((168, 218, 240), (246, 230, 178), 78),
            shape(96, 66, 96, 13, (72, 160, 196)),
            shape(96, 79, 96, 2.5, (240, 248, 250)),
        ]
        rows += [
            shape(158, 18, 10, 10, (255, 240, 170), ellipse=True),
            shape(18, 46, 3, 36, (150, 116, 80), angle=0.12),
        ]
        return rows + [
            shape(20 + dx, 14 + dy, 13, 3.5, (86, 158, 96), angle=a, ellipse=True)
            for dx, dy, a in ((-9, 0, -0.5), (9, -1, 0.5), (-6, -6, 0.6), (8, -7, -0.5))
        ]
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
        return [
            *rows,
            shape(96, 85, 96, 3, (176, 174, 172)),
            shape(40, 108, 14, 1.5, (236, 236, 230)),
            shape(120, 108, 14, 1.5, (236, 236, 230)),
        ]
    if name == "park":
        rows = [*_plain((182, 222, 244), (140, 188, 110), 76), shape(60, 82, 80, 14, (156, 200, 124), ellipse=True)]
        rows += _tree(28, 56, 60, (94, 152, 90), False) + _tree(168, 58, 54, (94, 152, 90), False)
        return [
            *rows,
            shape(110, 74, 20, 2, (140, 106, 76)),
            shape(110, 66, 20, 1.6, (140, 106, 76)),
            shape(96, 79, 2, 5, (96, 90, 88)),
            shape(124, 79, 2, 5, (96, 90, 88)),
        ]
    if name == "desert":
        rows = [
            *_plain((252, 226, 190), (222, 184, 100), 80),
            shape(50, 84, 80, 16, (208, 168, 86), ellipse=True),
            shape(160, 84, 70, 12, (232, 196, 108), ellipse=True),
        ]
        rows += [shape(30, 20, 11, 11, (255, 246, 206), ellipse=True), shape(164, 62, 5, 24, (108, 146, 98), corner=5)]
        return [
            *rows,
            shape(152, 58, 3, 9, (108, 146, 98), corner=3),
            shape(176, 54, 3, 9, (108, 146, 98), corner=3),
            shape(158, 65, 8, 3, (108, 146, 98)),
            shape(170, 61, 8, 3, (108, 146, 98)),
        ]
    if name == "mountain":
        rows = _plain((158, 190, 224), (234, 240, 246))
        for x, top, w in ((36, 20, 60), (150, 14, 66), (96, 34, 50)):
            rows += [
                shape(x, (top + 86) / 2, w / 2, (86 - top) / 2, (122, 134, 152), taper=0.98),
                shape(x, top + 9, w * 0.07, 9, (244, 248, 252), taper=0.95),
            ]
        return rows
    if name == "cafe":
        rows = _plain((184, 156, 142), (132, 100, 82))
        rows += [
            shape(40, 40, 28, 24, (250, 240, 220)),
            shape(40, 40, 25, 21, (190, 214, 220)),
            shape(150, 36, 30, 22, (86, 76, 72)),
            shape(150, 36, 27, 19, (66, 62, 60)),
        ]
        rows += [shape(132 + i * 9, 30 + (i % 2) * 8, 3, 1.2, (220, 216, 206)) for i in range(5)]
        rows += [
            row
            for x in (70, 96, 122)
            for row in (shape(x, 5, 0.8, 6, INK), shape(x, 13, 7, 5, (226, 170, 90), taper=0.5))
        ]
        return [*rows, shape(150, 84, 26, 3, (98, 72, 58)), shape(150, 94, 3, 9, (98, 72, 58))]
    rows = _plain((36, 40, 76), (92, 90, 104))
    rows += [shape(154, 20, 11, 11, (246, 240, 206), ellipse=True), shape(150, 18, 10, 10, (36, 40, 76), ellipse=True)]
    rows += [
        shape(x, y, 1, 1, (250, 250, 230), ellipse=True)
        for x, y in ((20, 14), (50, 30), (84, 10), (112, 26), (180, 44), (66, 50))
    ]
    for i, (x, h) in enumerate(((12, 36), (44, 26), (78, 40), (112, 22), (146, 34), (180, 28))):
        rows.append(shape(x, 84 - h / 2, 15, h / 2, (56, 60, 92)))
        rows += [shape(x + dx, 84 - h + 8, 2, 2.5, (250, 220, 130)) for dx in (-7, 0, 7) if (i + dx) % 2]
    return [*rows, shape(96, 84, 96, 3, (120, 118, 132))]


@lru_cache(maxsize=1)
def backgrounds() -> torch.Tensor:
    """Return the empty places as pictures ``[places, 3, height, width]`` in 0..1, in the order of `PLACES`."""
    return torch.cat([paint(torch.tensor([place(name)], dtype=torch.float32))[0] for name in PLACES])
