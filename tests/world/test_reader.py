"""The reader: attributes painted are attributes read, in every place, beside others, while people move."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch

from memreel.world import palette
from memreel.world.draw import pad_tables, paint
from memreel.world.places import backgrounds
from memreel.world.reader import find_faces, read_colour
from memreel.world.shapes import Look, Pose, figure, table
from memreel.world.stories import Spot, Story, make_story, pose_at

Moment = tuple[Story, int, float, np.ndarray]


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    """150 moments of as many stories, painted, once everyone has arrived."""
    random = Random(21)
    staged = []
    for _ in range(150):
        story = make_story(random)
        number = random.randrange(len(story.scenes))
        staged.append((story, number, story.settled(number) + random.uniform(0, 3)))
    tables = [table(story.rows(number, t)) for story, number, t in staged]
    places = torch.tensor([palette.PLACES.index(story.scenes[number].place) for story, number, _ in staged])
    pictures, _ = paint(torch.from_numpy(pad_tables(tables, max(map(len, tables)))), backgrounds(), places)
    shown = pictures.permute(0, 2, 3, 1).numpy()
    return [(*stage, picture) for stage, picture in zip(staged, shown, strict=True)]


def stood(spot: Spot, t: float) -> Pose:
    return pose_at(spot.start, spot.x, spot.action, spot.phase, t)


def test_people_are_found_and_read_right(moments: list[Moment]) -> None:
    right: dict[str, list[bool]] = {"hair": [], "top": [], "hat": []}
    for story, number, t, picture in moments:
        scene = story.scenes[number]
        people = [spot for spot in scene.spots if story.beings[spot.key].look.kind in palette.PEOPLE]
        faces = find_faces(picture, scene.place)
        for spot in people:
            x, look = stood(spot, t).x, story.beings[spot.key].look
            near = min(faces, key=lambda face: abs(face.x - x), default=None)
            for attribute, values in right.items():
                values.append(
                    near is not None and abs(near.x - x) < 8 and getattr(near, attribute) == getattr(look, attribute)
                )
    assert len(right["hair"]) > 130
    for attribute, values in right.items():
        assert sum(values) / len(values) >= 0.98, attribute


def test_no_face_is_found_where_nobody_is(moments: list[Moment]) -> None:
    extra = 0
    for story, number, _, picture in moments:
        scene = story.scenes[number]
        people = [spot for spot in scene.spots if story.beings[spot.key].look.kind in palette.PEOPLE]
        extra += max(0, len(find_faces(picture, scene.place)) - len(people))
    assert extra / len(moments) <= 0.02
    for place, picture in zip(palette.PLACES, backgrounds(), strict=True):
        assert find_faces(picture.permute(1, 2, 0).numpy(), place) == [], place


def test_animals_robots_and_things_on_the_ground_and_in_hand_are_read_right(moments: list[Moment]) -> None:
    right: dict[bool, list[bool]] = {False: [], True: []}
    for story, number, t, picture in moments:
        for spot in story.scenes[number].spots:
            pose = stood(spot, t)
            for key, in_hand in ((spot.key, False), (spot.holds, True)):
                if key is not None and (look := story.beings[key].look).kind not in palette.PEOPLE:
                    right[in_hand].append(read_colour(picture, look.kind, pose.x, pose.lift, in_hand) == look.colour)
    for in_hand, values in right.items():
        assert len(values) > 15, in_hand
        assert sum(values) / len(values) >= 0.98, in_hand


def test_the_attributes_are_read_and_not_guessed() -> None:
    empty = backgrounds()[palette.PLACES.index("park")]
    for look in (Look("woman", hair="red", top="green", hat="blue"), Look("man", hair="white", top="purple")):
        rows = torch.from_numpy(table(figure(look, Pose(96))))[None]
        [face] = find_faces(paint(rows, empty[None])[0][0].permute(1, 2, 0).numpy(), "park")
        assert (face.hair, face.top, face.hat) == (look.hair, look.top, look.hat)
        assert (face.x, face.y) == pytest.approx((96, 45), abs=4)
    noise = np.random.default_rng(0).random((112, 192, 3)).astype(np.float32)
    assert find_faces(noise, "park") == []
    assert read_colour(np.zeros((112, 192, 3), dtype=np.float32), "ball", 96) == ""
