"""What consistency scores say: right looks, wrong looks, nobody there, jumps in the picture, nothing to compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memreel.film.consistency import Against, Weights, blend, judge
from memreel.film.likeness import alike, describe
from memreel.film.sight import DrawnEye, PlainEye, Wanted, colour_in, expected_look
from memreel.model.protocol import Pictures, VideoModel
from memreel.world import palette
from memreel.world.draw import paint
from memreel.world.places import backgrounds
from memreel.world.shapes import Look, Pose, figure

MIA = Wanted("Mia, young woman, red hair, blue sweater", "Mia", ("young woman", "red hair", "blue sweater"))


def drawn(look: Look | None, place: str = "library", x: float = 96.0) -> Pictures:
    """Return a picture of the drawn world with one figure, or none."""
    empty = backgrounds()[palette.PLACES.index(place)]
    if look is None:
        pixels = empty
    else:
        rows = torch.tensor([figure(look, Pose(x))], dtype=torch.float32)
        painted, *_ = paint(rows, empty[None])
        pixels = painted[0]
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


RIGHT = Look("woman", hair="red", top="blue", hat="none")
WRONG = Look("woman", hair="black", top="blue", hat="none")


@pytest.fixture
def eye(embedded_model: VideoModel) -> DrawnEye:
    return DrawnEye(lambda: embedded_model)  # type: ignore[arg-type,return-value]


def test_right_looks_score_higher_than_a_wrong_one_and_that_higher_than_nobody(eye: DrawnEye) -> None:
    against = Against({1: MIA}, known={1: drawn(RIGHT, "beach", 60)})
    scores = [judge([drawn(look)], against, eye) for look in (RIGHT, WRONG, None)]
    right, wrong, nobody = (score["total"] for score in scores)
    assert right > wrong + 0.1 > nobody + 0.2
    assert scores[0]["character"] == 1.0
    assert scores[1]["wrong"] == {"1": ["red hair"]}
    assert scores[2]["character"] == 0.0


def test_a_jump_between_segments_lowers_the_temporal_part_alone(eye: DrawnEye) -> None:
    here, there = drawn(RIGHT), drawn(RIGHT, "beach")
    smooth = judge([here], Against({1: MIA}, before=[here] * 3), eye)
    jump = judge([here], Against({1: MIA}, before=[there] * 3), eye)
    assert smooth["temporal"] == 1.0
    assert jump["temporal"] is not None
    assert jump["temporal"] < 0.8
    assert smooth["character"] == jump["character"]


def test_parts_without_anything_to_compare_are_left_out_of_the_weights() -> None:
    assert blend({"spatial": None, "temporal": 0.5, "character": 1.0}, Weights(0.3, 0.3, 0.4)) == pytest.approx(
        (0.5 * 0.3 + 0.4) / 0.7, abs=1e-3
    )
    assert blend({"spatial": None, "temporal": None, "character": None}, Weights()) == 1.0


def test_without_an_eye_the_likeness_of_the_crops_is_the_character_part() -> None:
    known, same, other = drawn(RIGHT), drawn(RIGHT), drawn(Look("woman", hair="black", top="yellow", hat="none"))
    scores = [judge([now], Against({1: MIA}, known={1: known}), PlainEye())["character"] for now in (same, other)]
    assert scores[0] == 1.0
    assert scores[1] is not None
    assert scores[1] < 0.97


def test_earlier_scenes_of_a_place_count_less_with_age() -> None:
    library, beach = drawn(None), drawn(None, "beach")
    fresh = judge([library], Against({}, setting=[(library, 1.0), (beach, 0.5)]), PlainEye())["total"]
    stale = judge([library], Against({}, setting=[(beach, 1.0), (library, 0.5)]), PlainEye())["total"]
    assert fresh > stale


def test_descriptors_tell_pictures_apart_whatever_their_size() -> None:
    library, beach = drawn(None), drawn(None, "beach")
    large = library.repeat(2, 0).repeat(2, 1)
    assert alike(describe(library), describe(large)) > 0.98
    assert alike(describe(library), describe(beach)) < 0.7
    flat = np.zeros((8, 8, 3), dtype=np.uint8)
    assert alike(describe(flat), describe(flat)) == pytest.approx(1.0)


def test_looks_are_read_by_their_longest_colour_word() -> None:
    assert expected_look(Wanted("", "Mia", ("copper-red curls", "navy blue coat", "black beret"))) == {
        "hair": ("red", "copper-red curls"),
        "top": ("blue", "navy blue coat"),
        "hat": ("black", "black beret"),
    }
    assert expected_look(Wanted("ball, red", "ball", ("red",))) is None
    assert colour_in("a colourless thing", palette.COLOUR_WORDS) is None
