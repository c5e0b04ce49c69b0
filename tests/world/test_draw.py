"""Painting: what covers which pixels, in which order; every place, kind and colour inside the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memreel.world import palette
from memreel.world.draw import HEIGHT, PARAMS, WIDTH, pad_tables, paint, shape
from memreel.world.places import backgrounds, place
from memreel.world.shapes import Look, Pose, figure, held, table

RED, BLUE = (255, 0, 0), (0, 0, 255)
LOOKS = [
    *(Look(kind, hair=hair, top="red", hat="blue") for kind in palette.PEOPLE for hair in palette.HAIR),
    *(Look(kind, hair="red", top=top) for kind in palette.PEOPLE for top in palette.TOP),
    *(Look(kind, hair="red", top="red", hat=hat) for kind in palette.PEOPLE for hat in palette.HAT),
    *(Look(kind, colour=colour) for kind in palette.ANIMALS for colour in palette.FUR),
    *(Look(palette.ROBOT, colour=colour) for colour in palette.TOP),
    *(Look(kind, colour=colour) for kind in palette.OBJECTS for colour in palette.THING),
]


def painted(rows: list[list[float]], background: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    pictures, masks = paint(torch.from_numpy(table(rows))[None], background)
    return pictures[0], masks[0]


def test_a_box_on_whole_pixels_covers_exactly_them() -> None:
    picture, mask = painted([shape(30, 20, 6, 4, RED, mask=0.6)])
    inside = torch.zeros(HEIGHT, WIDTH)
    inside[16:24, 24:36] = 1
    torch.testing.assert_close(picture, torch.stack((inside, inside * 0, inside * 0)), atol=1e-5, rtol=0)
    torch.testing.assert_close(mask, inside * 0.6, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("row", "area"),
    [
        (shape(90, 50, 20, 10, RED, angle=0.7), 800),
        (shape(90, 50, 20, 10, RED, ellipse=True), np.pi * 200),
        (shape(90, 50, 20, 20, RED, corner=20), np.pi * 400),
        (shape(90, 50, 20, 20, RED, taper=0.5), 1600),
        (shape(90, 50, 20, 10, RED, opacity=0.25), 200),
        (shape(90, 50, 20, 10, RED, opacity=0.0), 0),
        (shape(0, 50, 20, 10, RED), 400),
        (shape(-90, 50, 20, 10, RED), 0),
    ],
)
def test_a_shape_covers_its_area(row: list[float], area: float) -> None:
    assert float(painted([row])[0][0].sum()) == pytest.approx(area, rel=0.03, abs=0.01)


def test_a_positive_taper_widens_the_bottom() -> None:
    picture, _ = painted([shape(90, 50, 20, 20, RED, taper=0.5)])
    assert float(picture[0, 32].sum()) < 26
    assert float(picture[0, 67].sum()) > 54


def test_later_rows_lie_over_earlier_ones_and_over_the_background() -> None:
    behind = torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    rows = [shape(50, 50, 10, 10, RED, mask=1.0), shape(55, 50, 10, 10, BLUE, mask=0.6)]
    picture, mask = painted(rows, behind)
    assert picture[:, 50, 42].tolist() == [1, 0, 0]
    assert picture[:, 50, 50].tolist() == [0, 0, 1]
    assert picture[:, 50, 100].tolist() == [0.5, 0.5, 0.5]
    assert mask[50, [42, 50, 100]].tolist() == pytest.approx([1, 0.6, 0])
    assert bool((behind == 0.5).all())


def test_padded_tables_paint_the_same_and_each_picture_has_its_place() -> None:
    tables = [table(figure(LOOKS[0], Pose(60))), table(figure(LOOKS[-1], Pose(120)))]
    padded = torch.from_numpy(pad_tables(tables, 40))
    assert padded.shape == (2, 40, PARAMS)
    together, _ = paint(padded, backgrounds(), torch.tensor([3, 7]))
    for i, number in enumerate((3, 7)):
        alone, _ = paint(torch.from_numpy(tables[i])[None], backgrounds()[number : number + 1])
        assert torch.equal(together[i], alone[0])


def test_every_place_fills_the_picture_and_no_two_look_alike() -> None:
    pictures = backgrounds()
    assert pictures.shape == (len(palette.PLACES), 3, HEIGHT, WIDTH)
    assert bool(((pictures >= 0) & (pictures <= 1)).all())
    for name, picture in zip(palette.PLACES, pictures, strict=True):
        over = painted(place(name), torch.full((1, 3, HEIGHT, WIDTH), 0.77))[0]
        assert torch.allclose(over, picture, atol=1e-5), f"{name} lets the background through"
    distance = (pictures[:, None] - pictures[None]).abs().mean((2, 3, 4)) + torch.eye(len(palette.PLACES))
    assert float(distance.min()) > 0.05


@pytest.mark.parametrize("kind", [*palette.PEOPLE, *palette.ANIMALS, palette.ROBOT, *palette.OBJECTS])
def test_every_look_of_a_kind_paints_inside_the_picture_and_shows(kind: str) -> None:
    looks = [look for look in LOOKS if look.kind == kind]
    assert len(looks) > 3
    pictures = []
    for look in looks:
        picture, mask = painted(figure(look, Pose(WIDTH / 2)), torch.zeros(1, 3, HEIGHT, WIDTH))
        assert bool(((picture >= 0) & (picture <= 1)).all())
        assert bool(((mask >= 0) & (mask <= 1 + 1e-6)).all())
        assert float(mask.sum()) > 250
        rows, columns = torch.nonzero(mask.amax(1)).flatten(), torch.nonzero(mask.amax(0)).flatten()
        assert 1 <= int(rows[0]) <= int(rows[-1]) <= HEIGHT - 2
        assert WIDTH / 2 - 40 < int(columns[0]) <= int(columns[-1]) < WIDTH / 2 + 40
        pictures.append(picture)
    for i, picture in enumerate(pictures):
        same = [look for j, look in enumerate(looks) if j != i and torch.equal(pictures[j], picture)]
        assert all(look == looks[i] for look in same)


@pytest.mark.parametrize("kind", palette.OBJECTS)
def test_an_object_in_hand_lies_beside_its_holder_and_moves_with_it(kind: str) -> None:
    look = Look(kind, colour="red")
    still = painted(held(look, Pose(80)))[1]
    moved = painted(held(look, Pose(90, lift=5)))[1]
    torch.testing.assert_close(moved[:-5, 10:], still[5:, :-10], atol=1e-4, rtol=0)
    columns = torch.nonzero(still.amax(0)).flatten()
    assert 79 < int(columns[0]) <= int(columns[-1]) < 130
