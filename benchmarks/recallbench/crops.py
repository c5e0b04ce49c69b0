"""Identity by crops: who is found in a picture is cut out and turned into a feature, and features are compared.

No attribute is named, so this judges pictures of any video model. Whoever the schedule puts into a picture is located
(by an open-vocabulary detector, or by the drawn world's reader), its crop is embedded by an image encoder (DINOv2, CLIP
…, or by its colours and shapes), and an `Album` keeps the features of one film, by prompt and being. What is measured:

* likeness: the mean cosine over all pairs of a being's crops at its first mention and at its return: DINO-I or CLIP-I
  (Ruiz et al. 2023, "DreamBooth"), by the encoder; but of crops, and against the film's own first pictures;
* re-identification: whether that is more than the likeness to any other cast member's first crops: rank 1 of person
  re-identification (Gray et al. 2007) with the cast as its gallery; chance is one by the size of the gallery;
* subject consistency: the mean cosine of a picture with the prompt's first and with the one before (Huang et al. 2024,
  "VBench"), whole pictures; but with the encoder at hand, and of one picture a chunk;
* CLIPScore: 2.5 times the cosine of picture and prompt, at least 0 (Hessel et al. 2021), if the encoder reads text.

Nothing here knows how a detector or an encoder is loaded; `memreel.benchmarks.recallbench.checkpoints` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memreel.benchmarks.recallbench.sight import match
from memreel.film.likeness import Box, crop, describe
from memreel.model.protocol import Pictures, VideoSpec
from memreel.world import palette
from memreel.world.draw import HEIGHT, WIDTH
from memreel.world.reader import FACE_Y, find_faces, main_region, read_colour
from memreel.world.sentences import attributes
from memreel.world.stories import Being, Story, pose_at

Features = npt.NDArray[np.float64]
"""``[crops, width]``, each of length 1."""
Candidate = tuple[Box, float]
"""Where something may be, as shares of the picture, and how sure that is."""
AROUND = (-20.0, -37.0, 20.0, 44.0)
"""A drawn person about its face's centre, in pixels: hat to waist, arms left out."""
REACH = 15
SAME = 0.5
"""Boxes that overlap more than this (intersection over union) are of one and the same."""
CANDIDATES = 5
"""Places at which one being is looked for, at most."""
CLIPSCORE = 2.5


class Locator(Protocol):
    """Finds in a picture who and what should be there."""

    name: str

    def check(self, spec: VideoSpec) -> None:
        """Refuse a video model whose pictures cannot be read.

        Raises:
            UserError: its pictures are of a size that the locator does not know.
        """

    def find(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> dict[int, Box]:
        """Return where each of those found is, at second ``t`` of a scene.

        ``offset``: pixels by which expected places are off.
        """


class Encoder(Protocol):
    """Turns pictures, and texts if it can, into features."""

    name: str

    def embed(self, pictures: Sequence[Pictures]) -> Features:
        """Return a feature for each picture."""

    def embed_text(self, text: str) -> Features | None:
        """Return ``[1, width]`` for a text, None if it does not read."""


@dataclass(frozen=True)
class Cropper:
    """A locator and an encoder."""

    locator: Locator
    encoder: Encoder


class WorldLocator:
    """The reader of the drawn world: people by their faces, the rest where it should stand."""

    name = "reader"

    def check(self, spec: VideoSpec) -> None:
        """Refuse pictures of another size than the world is drawn in."""
        from memreel.benchmarks.recallbench.judges import WorldReader

        WorldReader().check(spec)

    def find(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> dict[int, Box]:
        """Return who is there."""
        pixels = picture.astype(np.float32) / 255.0
        now, seen = story.scenes[scene], story.visible(scene, t)
        poses = {s.key: pose_at(s.start, s.x, s.action, s.phase, t) for s in now.spots if s.key in seen}
        people = sorted((key for key in poses if is_person(story.beings[key])), key=lambda key: poses[key].x)
        faces = find_faces(pixels, now.place)
        paired = match([poses[key].x + offset for key in people], [face.x for face in faces])
        at = {key: faces[i] for key, i in zip(people, paired, strict=True) if i is not None}
        left, top, right, bottom = AROUND
        found = {key: _shares(f.x + left, f.y + top, f.x + right, f.y + bottom) for key, f in at.items()}
        for spot in now.spots:
            if spot.key not in poses:
                continue
            x, lift = poses[spot.key].x + offset, poses[spot.key].lift
            if not is_person(story.beings[spot.key]):
                _region(found, pixels, story, spot.key, x, lift)
            if spot.holds is not None:
                face = at.get(spot.key)
                x, lift = (x, lift) if face is None else (face.x, FACE_Y - face.y)
                _region(found, pixels, story, spot.holds, x, lift, holding=True)
        return found


class Colours:
    """Features without a network: the colours and the shapes of a picture (`memreel.film.likeness`)."""

    name = "colours"

    def embed(self, pictures: Sequence[Pictures]) -> Features:
        """Return a feature for each picture."""
        return np.stack([describe(picture) for picture in pictures])

    def embed_text(self, text: str) -> Features | None:
        """Return None: it does not read."""
        del text
        return None


@dataclass(frozen=True)
class Sightings:
    """What crops say of a being in a prompt; None where there is nothing to compare.

    ``found``: share of pictures in which it was located; ``likeness``, ``own`` and ``chance`` are of a return:
    likeness to its own first crops, whether that is the most of all cast members, and how probable that is by luck.
    """

    found: float | None = None
    likeness: float | None = None
    own: bool | None = None
    chance: float | None = None


class Album:
    """The crops of one film."""

    def __init__(self, cropper: Cropper, story: Story) -> None:
        """Start without a picture."""
        self._cropper, self._story = cropper, story
        self._crops: dict[tuple[int, int], list[Features]] = {}
        self._looked: dict[tuple[int, int], int] = {}
        self._whole: dict[int, list[Features]] = {}

    def look(self, picture: Pictures, number: int, t: float, offset: float = 0.0) -> None:
        """Cut out of a picture of prompt ``number`` (from 1), second ``t``, whoever should be there."""
        found = self._cropper.locator.find(picture, self._story, number - 1, t, offset)
        for key in in_picture(self._story, number - 1, t):
            self._looked[number, key] = self._looked.get((number, key), 0) + 1
        if found:
            features = self._cropper.encoder.embed([crop(picture, box) for box in found.values()])
            for key, feature in zip(found, features, strict=True):
                self._crops.setdefault((number, key), []).append(feature[None])

    def keep(self, picture: Pictures, number: int) -> None:
        """Take a whole picture of prompt ``number`` into its consistency."""
        self._whole.setdefault(number, []).append(self._cropper.encoder.embed([picture]))

    def sightings(self, number: int, key: int, returns: bool) -> Sightings:
        """Return what crops say of a being in prompt ``number``; likeness is of who ``returns`` only."""
        looked = self._looked.get((number, key), 0)
        mine = self._features(number, key)
        found = len(mine) / looked if looked else None
        gallery = {other: first for other in self._story.beings if len(first := self._first(other, key))}
        if not returns or not len(mine) or key not in gallery:
            return Sightings(found)
        alike = {other: likeness(mine, first) for other, first in gallery.items()}
        if len(gallery) < 2:
            return Sightings(found, alike[key])
        own = all(alike[key] > value for other, value in alike.items() if other != key)
        return Sightings(found, alike[key], own, 1 / len(gallery))

    def consistency(self, number: int) -> float | None:
        """Return the subject consistency of prompt ``number``, None below two pictures."""
        features = self._whole.get(number, [])
        if len(features) < 2:
            return None
        rows = np.concatenate(features)
        first, before = rows[1:] @ rows[0], (rows[1:] * rows[:-1]).sum(1)
        return float(((first.clip(0) + before.clip(0)) / 2).mean())

    def clip_score(self, number: int, text: str) -> float | None:
        """Return the CLIPScore of prompt ``number``'s pictures with a text, None if the encoder does not read."""
        features, said = self._whole.get(number, []), self._cropper.encoder.embed_text(text)
        if not features or said is None:
            return None
        return float(CLIPSCORE * (np.concatenate(features) @ said[0]).clip(0).mean())

    def _first(self, other: int, key: int) -> Features:
        """Return a cast member's crops at its first mention, if both it and ``key`` are people, or neither is."""
        beings = self._story.beings
        scenes = enumerate(self._story.scenes, 1)
        first = next((number for number, scene in scenes if other in scene.present()), None)
        if first is None or is_person(beings[other]) != is_person(beings[key]):
            return np.zeros((0, 1))
        return self._features(first, other)

    def _features(self, number: int, key: int) -> Features:
        crops = self._crops.get((number, key))
        return np.concatenate(crops) if crops else np.zeros((0, 1))


def likeness(one: Features, other: Features) -> float:
    """Return the mean cosine over all pairs."""
    return float((one @ other.T).mean())


def is_person(being: Being) -> bool:
    """Tell whether it is a woman or a man."""
    return being.look.kind in palette.PEOPLE


def described(being: Being) -> str:
    """Return a noun phrase by which a detector looks for a being: what it is and how it looks."""
    said, noun = attributes(being), being.noun
    if is_person(being):
        return f"{noun} with {' and '.join(said)}"
    return f"{' '.join(said)} {noun}"


def in_picture(story: Story, scene: int, t: float) -> list[int]:
    """Return who and what is to be seen at second ``t`` of a scene; a thing after who holds it."""
    seen = story.visible(scene, t)
    spots = [spot for spot in story.scenes[scene].spots if spot.key in seen]
    return [key for spot in spots for key in (spot.key, spot.holds) if key is not None]


def assigned(candidates: Mapping[int, Sequence[Candidate]]) -> dict[int, Box]:
    """Give each being one of its candidates, so that no two get the same place and the sum of scores is greatest."""
    keys = list(candidates)
    options = [[*sorted(candidates[key], key=lambda c: -c[1])[:CANDIDATES], None] for key in keys]
    best: dict[int, Box] = {}
    most = 0.0
    for choice in product(*options):
        chosen = [(key, one) for key, one in zip(keys, choice, strict=True) if one is not None]
        total = sum(score for _, (_, score) in chosen)
        boxes = [box for _, (box, _) in chosen]
        if total > most and all(overlap(a, b) <= SAME for i, a in enumerate(boxes) for b in boxes[:i]):
            best, most = {key: box for key, (box, _) in chosen}, total
    return best


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / total if total > 0 else 0.0


def _region(
    found: dict[int, Box],
    pixels: npt.NDArray[np.float32],
    story: Story,
    key: int,
    x: float,
    lift: float,
    holding: bool = False,
) -> None:
    """Enter where the main colour of a thing or an animal lies, if it is to be seen there."""
    kind = story.beings[key].look.kind
    if read_colour(pixels, kind, x, lift, holding=holding, reach=6 if holding else REACH):
        left, top, right, bottom = main_region(kind, holding)
        found[key] = _shares(x + left, top - lift, x + right, bottom - lift)


def _shares(left: float, top: float, right: float, bottom: float) -> Box:
    return left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT
