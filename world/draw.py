"""Paints tables of shapes: anti-aliased, back to front, with a mask of what matters.

A shape is `PARAMS` numbers in pixels: a box with rounded corners, tapered from top to bottom and turned about its
centre, or an ellipse. Painting is a pure torch function, the same on a laptop's CPU and, compiled, on a GPU.
"""

from __future__ import annotations

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
    red, green, blue = (value / 255.0 for value in rgb)
    return [
        cx, cy, hw, hh, float(np.sin(angle)), float(np.cos(angle)), min(corner, hw, hh), taper, float(ellipse),
        red, green, blue, opacity, mask,
    ]  # fmt: skip


def paint_block(canvas: torch.Tensor, shapes: torch.Tensor, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """Paint ``shapes`` ``[pictures, n, PARAMS]`` in order over ``canvas`` ``[pictures, 4, height, width]``."""
    red, green, blue, mask = canvas.unbind(1)
    for i in range(shapes.shape[1]):
        p = shapes[:, i, :, None, None]
        dx, dy = xs - p[:, 0], ys - p[:, 1]
        x = dx * p[:, 5] + dy * p[:, 4]
        y = dy * p[:, 5] - dx * p[:, 4]
        hw, hh, corner = p[:, 2], p[:, 3], p[:, 6]
        along = (y / hh).clamp(-1.0, 1.0)
        qx = x.abs() - hw * (1.0 + p[:, 7] * along) + corner
        qy = y.abs() - hh + corner
        outside = (qx.clamp_min(0.0).square() + qy.clamp_min(0.0).square() + 1e-9).sqrt()
        box = outside + torch.maximum(qx, qy).clamp_max(0.0) - corner
        round_ = (((x / hw).square() + (y / hh).square() + 1e-9).sqrt() - 1.0) * torch.minimum(hw, hh)
        distance = torch.where(p[:, 8] > 0.5, round_, box)
        cover = (0.5 - distance).clamp(0.0, 1.0) * p[:, 12]
        red = red + cover * (p[:, 9] - red)
        green = green + cover * (p[:, 10] - green)
        blue = blue + cover * (p[:, 11] - blue)
        mask = mask + cover * (p[:, 13] - mask)
    return torch.stack((red, green, blue, mask), 1)


def paint(
    tables: torch.Tensor, background: torch.Tensor | None = None, block: int = 8, painter: object = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint tables ``[pictures, shapes, PARAMS]``; unused rows have opacity 0.

    Args:
        tables: shape tables on any device.
        background: what is painted over, ``[pictures, 3, height, width]`` in 0..1; None: black.
        block: shapes painted per call of the painter.
        painter: a compiled `paint_block`, or None for the plain one.

    Returns:
        Pictures ``[pictures, 3, height, width]`` in 0..1 and masks ``[pictures, height, width]`` in 0..1.
    """
    if tables.device.type == "cpu":
        return _paint_cropped(tables, background)
    ys, xs = torch.meshgrid(
        torch.arange(HEIGHT, device=tables.device) + 0.5, torch.arange(WIDTH, device=tables.device) + 0.5, indexing="ij"
    )
    canvas = torch.zeros(tables.shape[0], 4, HEIGHT, WIDTH, device=tables.device)
    if background is not None:
        canvas[:, :3] = background
    step = painter if callable(painter) else paint_block
    for start in range(0, tables.shape[1], block):
        part = tables[:, start : start + block]
        if part.shape[1] < block:
            part = torch.nn.functional.pad(part, (0, 0, 0, block - part.shape[1]))
            part[..., 2:4] = part[..., 2:4].clamp_min(1e-3)
        canvas = step(canvas, part, xs, ys)
    return canvas[:, :3], canvas[:, 3]


def _paint_cropped(tables: torch.Tensor, background: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint on the CPU: each shape only where it can reach, the same pixels as `paint_block` gives."""
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
            rx, ry = abs(wide * cos) + abs(hh * sin) + 1.0, abs(wide * sin) + abs(hh * cos) + 1.0
            x0, x1 = max(0, int(cx - rx)), min(WIDTH, int(cx + rx) + 1)
            y0, y1 = max(0, int(cy - ry)), min(HEIGHT, int(cy + ry) + 1)
            if x0 >= x1 or y0 >= y1:
                continue
            dx = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - cx)
            dy = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - cy)
            x, y = dx * np.float32(cos) + dy * np.float32(sin), dy * np.float32(cos) - dx * np.float32(sin)
            if ellipse > 0.5:
                distance = (np.sqrt(np.square(x / np.float32(hw)) + np.square(y / np.float32(hh))) - 1.0) * np.float32(min(hw, hh))
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
