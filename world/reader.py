"""Reads attributes back from pictures of the drawn world, with rules alone: no model, no randomness.

People are found by their faces (patches of skin colour of the right size); hair, top and hat are the nearest palette
colours of fixed regions around a face. Things and animals are read where the schedule says they stand. Its accuracy on
painted ground truth is measured by `memreel.training.evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from memreel.world import palette
from memreel.world.draw import WIDTH, paint
from memreel.world.places import backgrounds
from memreel.world.shapes import Look, Pose, figure, held

Picture = npt.NDArray[np.float32]
FACE = (17, 19)
FACE_Y = 45.0
FIT = 0.75
"""Mean distance (sum over red, green, blue in 0..1) from which on a colour does not count as seen."""
FAR_OFF = 0.004
"""What a pixel of distance from where it is expected adds to that."""


@dataclass(frozen=True)
class Face:
    """A person found in a picture: the face's centre in pixels and the attributes around it."""

    x: float
    y: float
    hair: str
    top: str
    hat: str


def _nearest(colour: npt.NDArray[np.floating], table: dict[str, palette.RGB]) -> tuple[str, float]:
    names = list(table)
    distance = np.abs(np.array([table[n] for n in names]) / 255.0 - colour).sum(1)
    best = int(distance.argmin())
    return names[best], float(distance[best])


def _patch(
    picture: Picture, x: float, y: float, dx: tuple[float, float], dy: tuple[float, float]
) -> npt.NDArray[np.float32]:
    x0, x1 = round(x + dx[0]), round(x + dx[1])
    y0, y1 = round(y + dy[0]), round(y + dy[1])
    return picture[max(y0, 0) : max(y1, 1), max(x0, 0) : max(x1, 1)].reshape(-1, 3)


def _median(*patches: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    pixels = np.concatenate(patches)
    return np.median(pixels, axis=0).astype(np.float32) if len(pixels) else None


def _window_sum(mask: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Return the share of ``mask`` in the window around each pixel; outside the picture counts as empty."""
    padded = np.pad(mask, ((height // 2 + 1, height // 2), (width // 2 + 1, width // 2)))
    total = padded.cumsum(0, dtype=np.float64).cumsum(1)
    window = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    out: npt.NDArray[np.float32] = (window / (width * height)).astype(np.float32)
    return out


def find_faces(picture: Picture, place: str) -> list[Face]:
    """Find people in a picture ``[height, width, 3]`` in 0..1 of a known place, from left to right."""
    skin = (np.abs(picture - np.array(palette.SKIN) / 255.0).max(-1) < 0.14).astype(np.float32)
    fill = _window_sum(skin, *FACE)
    fill[: int(FACE_Y) - 14] = fill[int(FACE_Y) + 10 :] = 0.0
    empty = backgrounds()[palette.PLACES.index(place)].permute(1, 2, 0).numpy()
    faces: list[Face] = []
    score = fill.copy()
    while True:
        y, x = np.unravel_index(int(score.argmax()), score.shape)
        if score[y, x] < 0.55:
            break
        near = score >= score[y, x] - 0.02
        ys, xs = np.nonzero(near)
        close = (np.abs(ys - y) < 6) & (np.abs(xs - x) < 6)
        cx, cy = float(xs[close].mean()), float(ys[close].mean())
        faces.append(_read_face(picture, empty, cx, cy))
        score[max(0, int(y) - 24) : int(y) + 25, max(0, int(x) - 16) : int(x) + 17] = 0
    return sorted(faces, key=lambda f: f.x)


def _read_face(picture: Picture, empty: Picture, x: float, y: float) -> Face:
    hair = _median(
        _patch(picture, x, y, (-9, 10), (-15, -10)),
        _patch(picture, x, y, (-17, -13), (-8, 2)),
        _patch(picture, x, y, (14, 18), (-8, 2)),
    )
    top = _median(_patch(picture, x, y, (-10, 0), (20, 38)))
    crown = _median(_patch(picture, x, y, (-8, 9), (-36, -25)))
    behind = _median(_patch(empty, x, y, (-8, 9), (-36, -25)))
    hat = "none"
    if crown is not None and behind is not None:
        name, distance = _nearest(crown, {n: c for n, c in palette.HAT.items() if c is not None})
        if distance < np.abs(crown - behind).sum():
            hat = name
    return Face(
        x,
        y,
        _nearest(hair, palette.HAIR)[0] if hair is not None else "",
        _nearest(top, palette.TOP)[0] if top is not None else "",
        hat,
    )


@lru_cache(maxsize=64)
def _main_mask(kind: str, holding: bool) -> npt.NDArray[np.bool_]:
    """Return where the main colour of a kind lies, painted at the middle of the picture (the holder's, if held)."""
    table = palette.FUR if kind in palette.ANIMALS else palette.TOP if kind == palette.ROBOT else palette.THING
    pictures = []
    for colour in list(table)[:2]:
        look = Look(kind, colour=colour)
        rows = held(look, Pose(WIDTH / 2)) if holding else figure(look, Pose(WIDTH / 2))
        picture = paint(torch.tensor([rows], dtype=torch.float32))[0][0].permute(1, 2, 0).numpy()
        pictures.append(np.abs(picture - np.array(table[colour]) / 255.0).max(-1) < 0.03)
    mask: npt.NDArray[np.bool_] = pictures[0] & pictures[1]
    return mask


def main_region(kind: str, holding: bool = False) -> tuple[float, float, float, float]:
    """Return where a kind's main colour lies: left and right of its (its holder's) ``x``, top and bottom, in pixels."""
    rows, columns = np.nonzero(_main_mask(kind, holding))
    return (
        float(columns.min()) - WIDTH / 2,
        float(rows.min()),
        float(columns.max()) + 1 - WIDTH / 2,
        float(rows.max()) + 1,
    )


def read_colour(picture: Picture, kind: str, x: float, lift: float = 0.0, holding: bool = False, reach: int = 6) -> str:
    """Return the palette colour of a thing, an animal or a robot about ``x`` (its holder's ``x`` if it is held).

    It is looked for up to ``reach`` pixels to either side; "" where nothing fits.
    """
    table = palette.FUR if kind in palette.ANIMALS else palette.TOP if kind == palette.ROBOT else palette.THING
    mask = _main_mask(kind, holding)
    best, least = "", FIT
    for shift in sorted(range(-reach, reach + 1, 3), key=abs):
        moved = _moved(mask, round(x - WIDTH / 2) + shift, -round(lift))
        pixels = picture[moved]
        if len(pixels) < mask.sum() / 2:
            continue
        name, _ = _nearest(np.median(pixels, axis=0), table)
        miss = float(np.abs(pixels - np.array(table[name]) / 255.0).sum(-1).mean()) + FAR_OFF * abs(shift)
        if miss < least:
            best, least = name, miss
    return best


def _moved(mask: npt.NDArray[np.bool_], dx: int, dy: int) -> npt.NDArray[np.bool_]:
    """Return a mask moved right and down; what leaves the picture is gone."""
    out = np.zeros_like(mask)
    height, width = mask.shape
    if abs(dx) < width and abs(dy) < height:
        out[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = mask[
            max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
        ]
    return out
