"""How alike two pictures are, in numbers: colours and shapes, no model.

A picture, or a crop of one, becomes a descriptor: the distribution of its colours and the directions of its edges in a
grid of cells. Descriptors are compared by cosine, in 0..1. It is the embedding that is always there; a vision model
or a reader of the drawn world says more where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from memreel.model.protocol import Pictures

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture's width and height."""
MIDDLE: Box = (0.25, 0.1, 0.75, 1.0)
"""Where a figure mostly is, when nobody says."""
SIZE = 64
CELLS = 4
LEVELS = 6
DIRECTIONS = 8
COLOUR_SHARE = 0.7

Descriptor = npt.NDArray[np.float64]


def crop(picture: Pictures, box: Box) -> Pictures:
    """Return the part of a picture that lies in ``box``; at least one pixel."""
    height, width = picture.shape[:2]
    left, right = sorted((int(box[0] * width), int(np.ceil(box[2] * width))))
    top, bottom = sorted((int(box[1] * height), int(np.ceil(box[3] * height))))
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return picture[top : max(bottom, top + 1), left : max(right, left + 1)]


def describe(picture: Pictures) -> Descriptor:
    """Return a picture's descriptor; the parts for colour and shape each have length 1, weighted."""
    small = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((SIZE, SIZE), Image.Resampling.BOX))
    return np.concatenate((COLOUR_SHARE**0.5 * _colours(small), (1 - COLOUR_SHARE) ** 0.5 * _shapes(small)))


def alike(one: Descriptor, other: Descriptor) -> float:
    """Return how alike two descriptors are, 0..1; 1 for the same picture."""
    return float(np.clip(one @ other, 0.0, 1.0))


def mean_alike(picture: Pictures, others: Sequence[Pictures]) -> float:
    """Return the mean likeness of a picture to each of ``others`` (at least one)."""
    mine = describe(picture)
    return float(np.mean([alike(mine, describe(other)) for other in others]))


def _colours(picture: Pictures) -> Descriptor:
    """Return the root of the share of each colour: the cosine of two is the Bhattacharyya coefficient."""
    levels = picture.astype(np.int64) * LEVELS // 256
    index = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    shares = np.bincount(index.ravel(), minlength=LEVELS**3) / index.size
    return np.sqrt(shares)


def _shapes(picture: Pictures) -> Descriptor:
    """Return histograms of edge directions by cell, of length 1; flat pictures have none and are alike."""
    grey = picture.astype(np.float64).mean(-1)
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    direction = ((np.arctan2(down, right) % np.pi) / np.pi * DIRECTIONS).astype(np.int64) % DIRECTIONS
    rows, columns = np.indices(grey.shape) * CELLS // SIZE
    index = (rows * CELLS + columns) * DIRECTIONS + direction
    histogram = np.bincount(index.ravel(), strength.ravel(), CELLS * CELLS * DIRECTIONS)
    length = float(np.linalg.norm(histogram))
    if length < 1e-9:
        return np.full(histogram.shape, histogram.size**-0.5)
    unit: Descriptor = histogram / length
    return unit
