"""Painters against a dense reference: every shape's distance at every pixel, no cropping, no tiles."""

from __future__ import annotations

from random import Random

import torch

from memreel.training.device import Easel
from memreel.world.draw import HEIGHT, PARAMS, WIDTH, paint, shape
from memreel.world.places import backgrounds


def dense(tables: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """Paint in the plainest way; ``[pictures, 4, height, width]``, the mask last."""
    height, width = backgrounds.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    canvas = torch.cat((backgrounds, torch.zeros_like(backgrounds[:, :1])), 1)
    for p in tables.unbind(1):
        cx, cy, hw, hh, sin, cos, corner, taper, ellipse, *_ = p[:, :, None, None].unbind(1)
        dx, dy = xs - cx, ys - cy
        x, y = dx * cos + dy * sin, dy * cos - dx * sin
        qx = x.abs() - hw * (1 + taper * (y / hh).clamp(-1, 1)) + corner
        qy = y.abs() - hh + corner
        outside = (qx.clamp_min(0).square() + qy.clamp_min(0).square()).sqrt()
        box = outside + torch.maximum(qx, qy).clamp_max(0) - corner
        disc = (((x / hw).square() + (y / hh).square()).sqrt() - 1) * torch.minimum(hw, hh)
        cover = (0.5 - torch.where(ellipse > 0.5, disc, box)).clamp(0, 1) * p[:, 12, None, None]
        canvas = canvas + cover[:, None] * (p[:, [9, 10, 11, 13], None, None] - canvas)
    return canvas


def any_shapes(pictures: int, shapes: int, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Draw shapes at random, some outside the picture, some unused."""
    random = Random(5)
    rows = [
        shape(
            random.uniform(-10, width + 10),
            random.uniform(-10, height + 10),
            random.uniform(0.8, 30),
            random.uniform(0.8, 30),
            (random.randrange(256), random.randrange(256), random.randrange(256)),
            angle=random.uniform(-3, 3),
            corner=random.uniform(0, 10),
            taper=random.uniform(-0.9, 0.9),
            ellipse=random.random() < 0.4,
            opacity=random.choice((0.0, 1.0, 1.0, 0.5)),
            mask=random.random(),
        )
        for _ in range(pictures * shapes)
    ]
    return torch.tensor(rows).view(pictures, shapes, PARAMS)


def test_the_painter_equals_the_dense_reference() -> None:
    tables, behind, places = any_shapes(3, 24), backgrounds(), torch.tensor([4, 0, 4])
    pictures, masks = paint(tables, behind, places)
    expected = dense(tables, behind[places])
    torch.testing.assert_close(pictures, expected[:, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(masks, expected[:, 3], atol=1e-4, rtol=0)


def test_nothing_behind_is_black_and_the_asked_type_is_returned() -> None:
    tables = any_shapes(2, 6)
    pictures, masks = paint(tables, dtype=torch.bfloat16)
    assert pictures.dtype == masks.dtype == torch.bfloat16
    expected = dense(tables, torch.zeros(2, 3, HEIGHT, WIDTH))
    torch.testing.assert_close(pictures.float(), expected[:, :3], atol=4e-3, rtol=0)


def test_a_batch_is_painted_with_every_pictures_own_place() -> None:
    tables, places = any_shapes(12, 4), torch.arange(12) % 5
    batch = {"tables": tables, "places": places, "owner": torch.zeros(1, 3)}
    pictures, masks = Easel("cpu")(batch)
    assert pictures.shape == (1, 12, 3, HEIGHT, WIDTH)
    assert masks.shape == (1, 12, HEIGHT, WIDTH)
    alone, _ = paint(tables[7:8], backgrounds()[2:3])
    assert torch.equal(pictures[0, 7], alone[0])
