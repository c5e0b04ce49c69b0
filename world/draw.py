"""Paints tables of shapes: anti-aliased, back to front, with a mask of what matters.

A shape is `PARAMS` numbers in pixels: a box with rounded corners, tapered from top to bottom and turned about its
centre, or an ellipse. It covers a pixel by how far the pixel's centre lies inside its edge, half a pixel soft on both
sides. The CPU and a GPU (`draw_gpu`) paint the same pixels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

WIDTH, HEIGHT = 192, 112
PARAMS = 14
"""cx, cy, half width, half height, sin, cos, corner radius, taper, ellipse?, red, green, blue (0..1), opacity, mask."""

Table = npt.NDArray[np.float32]


def shape(
    cx: float,
    cy: float,
    hw: float,
    hh: float,
    rgb: tuple[int, int, int],
    *,
    angle: float = 0.0,
    corner: float = 0.0,
    taper: float = 0.0,
    ellipse: bool = False,
    opacity: float = 1.0,
    mask: float = 0.0,
) -> list[float]:
    """Return one row of a table; ``taper`` > 0 widens the bottom and narrows the top by that share."""
    return [
        cx, cy, hw, hh, math.sin(angle), math.cos(angle), min(corner, hw, hh), taper, float(ellipse),
        rgb[0] / 255.0, rgb[1] / 255.0, rgb[2] / 255.0, opacity, mask,
    ]  # fmt: skip


def paint(
    tables: torch.Tensor,
    backgrounds: torch.Tensor | None = None,
    places: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint tables ``[pictures, shapes, PARAMS]``, each from its first row to its last; unused rows have opacity 0.

    Args:
        tables: shape tables, on the CPU or on a CUDA GPU.
        backgrounds: what is painted over, ``[any, 3, height, width]`` in 0..1; None: black.
        places: which background each picture has ``[pictures]``; None: every picture its own.
        dtype: type of what is returned.

    Returns:
        Pictures ``[pictures, 3, height, width]`` in 0..1 and masks ``[pictures, height, width]`` in 0..1.
    """
    if tables.device.type == "cpu":
        behind = backgrounds if backgrounds is None or places is None else backgrounds[places]
        pictures, masks = _paint_cropped(tables, behind)
        return pictures.to(dtype), masks.to(dtype)
    from memreel.world.draw_gpu import paint_tiles

    return paint_tiles(tables, backgrounds, places, (HEIGHT, WIDTH), dtype)


def _paint_cropped(tables: torch.Tensor, background: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint on the CPU, each shape only where it can reach."""
    count = tables.shape[0]
    canvas = np.zeros((count, HEIGHT, WIDTH, 4), dtype=np.float32)
    if background is not None:
        canvas[..., :3] = background.permute(0, 2, 3, 1).numpy()
    rows = tables.double().numpy()
    for picture, shapes in zip(canvas, rows, strict=True):
        for cx, cy, hw, hh, sin, cos, corner, taper, ellipse, *colour in shapes:
            if colour[3] <= 0.0:
                continue
            wide = hw * (1.0 + abs(taper))
            soft = 0.5 + ellipse * 0.5 * max(hw, hh) / min(hw, hh) + 0.5
            rx, ry = abs(wide * cos) + abs(hh * sin) + soft, abs(wide * sin) + abs(hh * cos) + soft
            x0, x1 = max(0, int(cx - rx)), min(WIDTH, int(cx + rx) + 1)
            y0, y1 = max(0, int(cy - ry)), min(HEIGHT, int(cy + ry) + 1)
            if x0 >= x1 or y0 >= y1:
                continue
            dx = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - cx)
            dy = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - cy)
            x, y = dx * np.float32(cos) + dy * np.float32(sin), dy * np.float32(cos) - dx * np.float32(sin)
            if ellipse > 0.5:
                distance = (np.sqrt(np.square(x / np.float32(hw)) + np.square(y / np.float32(hh))) - 1.0) * np.float32(
                    min(hw, hh)
                )
            else:
                along = np.clip(y / np.float32(hh), -1.0, 1.0)
                qx = np.abs(x) - np.float32(hw) * (1.0 + np.float32(taper) * along) + np.float32(corner)
                qy = np.abs(y) - np.float32(hh - corner)
                outside = np.sqrt(np.square(np.maximum(qx, 0.0)) + np.square(np.maximum(qy, 0.0)))
                distance = outside + np.minimum(np.maximum(qx, qy), 0.0) - np.float32(corner)
            cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None] * np.float32(colour[3])
            ink = np.array([colour[0], colour[1], colour[2], colour[4]], dtype=np.float32)
            part = picture[y0:y1, x0:x1]
            part += cover * (ink - part)
    out = torch.from_numpy(canvas)
    return out[..., :3].permute(0, 3, 1, 2).contiguous(), out[..., 3].contiguous()


def pad_tables(tables: list[Table], shapes: int) -> Table:
    """Stack tables of different lengths ``[n, PARAMS]`` into ``[len(tables), shapes, PARAMS]``."""
    out = np.zeros((len(tables), shapes, PARAMS), dtype=np.float32)
    out[:, :, 2:4] = 1.0
    for i, table in enumerate(tables):
        out[i, : len(table)] = table
    return out
