"""Eyes: what a picture shows of the people and things that a scene should have.

`Eye` is the one protocol. `DrawnEye` knows the drawn world of the embedded model: the model's attention says how
visible somebody is, rules read hair, clothes and colours. `ChatEye` (`memreel.film.vision`) asks a vision model.
`PlainEye` can tell nobody apart and leaves the question to likeness. No eye knows of scenes, takes or thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from memreel.film.likeness import MIDDLE, Box
from memreel.model.protocol import LoggedChunk, Pictures
from memreel.model.sketch.model import SPEC, SketchModel
from memreel.world import palette
from memreel.world.draw import HEIGHT, WIDTH
from memreel.world.places import backgrounds
from memreel.world.reader import Face, find_faces, read_colour

FIGURE = (26.0, 38.0, 62.0)
"""Pixels of a drawn figure beside, above and below its face's centre."""
STEP = 12
"""Pixels between the places where an animal or a thing is looked for."""
LIFTS = (0.0, 7.0, 14.0)
"""Pixels above the ground at which it may be, jumping."""


@dataclass(frozen=True)
class Wanted:
    """Somebody or something to look for: the text it goes by, its name, its looks as short noun phrases."""

    phrase: str
    name: str
    looks: tuple[str, ...]


@dataclass(frozen=True)
class Sight:
    """What an eye makes of one entity in one picture.

    ``visible`` is 0..1. ``likeness`` is the share of its looks that are right, ``None`` where the eye cannot tell;
    ``wrong`` are the looks that are not. ``box`` is where it is, if the eye knows.
    """

    visible: float
    likeness: float | None = None
    wrong: tuple[str, ...] = ()
    box: Box | None = None


class Eye(Protocol):
    """Looks at pictures."""

    name: str
    sees: bool
    """Whether `look` comes from the picture, rather than taking for granted that everyone is there."""

    def look(self, picture: Pictures, wanted: Mapping[int, Wanted], story: str = "") -> dict[int, Sight]:
        """Say for each wanted entity, by global ID, what the picture (uint8 ``[height, width, 3]``) shows of it.

        ``story`` is the film so far in words, for an eye that reads.
        """


class PlainEye:
    """Takes for granted that everyone is there, in the middle."""

    name = "likeness"
    sees = False

    def look(self, picture: Pictures, wanted: Mapping[int, Wanted], story: str = "") -> dict[int, Sight]:
        """Return the same for everyone."""
        del picture, story
        return {global_id: Sight(0.5, box=MIDDLE) for global_id in wanted}


class DrawnEye:
    """Reads pictures of the drawn world."""

    name = "reader of the drawn world"
    sees = True

    def __init__(self, model: Callable[[], SketchModel]) -> None:
        """Use the embedded model's attention for who is visible; it is asked for anew each time."""
        self._model = model

    def look(self, picture: Pictures, wanted: Mapping[int, Wanted], story: str = "") -> dict[int, Sight]:
        """Find people by their faces and match them to who is wanted by their looks; things by their colours."""
        del story
        if not wanted:
            return {}
        picture = _sized(picture)
        scores = self._attention(picture, [want.phrase for want in wanted.values()])
        faces = find_faces(picture.astype(np.float32) / 255.0, nearest_place(picture))
        expected = {key: expected_look(want) for key, want in wanted.items()}
        people = {key: look for key, look in expected.items() if look is not None}
        found = _matched(people, faces)
        sights: dict[int, Sight] = {}
        for (key, want), visible in zip(wanted.items(), scores, strict=True):
            if key in people:
                sights[key] = _person(want, people[key], found.get(key), visible)
            else:
                sights[key] = _thing(want, picture, faces, visible)
        return sights

    def _attention(self, picture: Pictures, phrases: Sequence[str]) -> list[float]:
        still = np.repeat(picture[None], SPEC.pictures_per_latent * SPEC.chunk_frames, axis=0)
        model = self._model()
        log = LoggedChunk("", model.latents_of(still), [])
        table = model.score(model.recall(lambda _: log, 0), phrases)
        return [float(score) for score in table[-1]]


def nearest_place(picture: Pictures) -> str:
    """Return the place of the drawn world whose empty picture is most like this one."""
    empty = backgrounds().numpy()
    pixels = picture.transpose(2, 0, 1).astype(np.float32) / 255.0
    return palette.PLACES[int(np.abs(empty - pixels).mean((1, 2, 3)).argmin())]


def expected_look(want: Wanted) -> dict[str, tuple[str, str]] | None:
    """Return a person's look as the reader names it: part → (colour, the look as it was worded); ``None``: no person.

    Parts: ``hair``, ``top``, ``hat``.
    """
    look: dict[str, tuple[str, str]] = {}
    person = False
    for worded in want.looks:
        words = re.findall(r"[a-z]+(?:-[a-z]+)*", worded.lower())
        part = _part(words)
        person = person or part is not None or bool(set(words) & {*palette.PEOPLE, "girl", "boy", "lady", "gentleman"})
        if part is None:
            continue
        colour = colour_in(worded, palette.HAIR_WORDS if part == "hair" else palette.COLOUR_WORDS)
        if colour is not None:
            look[part] = (colour, worded)
    return look if person else None


def colour_in(text: str, table: Mapping[str, Sequence[str]]) -> str | None:
    """Return the colour of the drawn world that a text speaks of, by the longest word for one; ``None``: of none."""
    named = [(name, colour) for colour, others in table.items() for name in (colour, *others)]
    found = [(len(name), colour) for name, colour in named if re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE)]
    return max(found)[1] if found else None


def _part(words: Sequence[str]) -> str | None:
    if not words:
        return None
    if words[-1] in ("hair", "curls"):
        return "hair"
    if words[-1] in palette.HEADGEAR:
        return "hat"
    return "top" if words[-1] in palette.GARMENTS else None


def _matched(people: Mapping[int, dict[str, tuple[str, str]]], faces: Sequence[Face]) -> dict[int, Face]:
    """Give each person the face that agrees best, the surest pair first, each face once."""
    pairs = sorted(
        ((_agreement(look, face), -number, key) for key, look in people.items() for number, face in enumerate(faces)),
        reverse=True,
    )
    found: dict[int, Face] = {}
    taken: set[int] = set()
    for agrees, number, key in pairs:
        if agrees > 0 and key not in found and -number not in taken:  # who agrees in nothing is somebody else
            found[key] = faces[-number]
            taken.add(-number)
    return found


def _agreement(look: Mapping[str, tuple[str, str]], face: Face) -> float:
    return sum(getattr(face, part) == colour for part, (colour, _) in look.items()) / len(look) if look else 0.5


def _person(want: Wanted, look: Mapping[str, tuple[str, str]], face: Face | None, visible: float) -> Sight:
    if face is None:
        return Sight(0.0, 0.0, want.looks)
    wrong = tuple(worded for part, (colour, worded) in look.items() if getattr(face, part) != colour)
    beside, above, below = FIGURE
    box = (
        max(0.0, (face.x - beside) / WIDTH),
        max(0.0, (face.y - above) / HEIGHT),
        min(1.0, (face.x + beside) / WIDTH),
        min(1.0, (face.y + below) / HEIGHT),
    )
    return Sight(max(visible, 0.2), _agreement(look, face) if look else None, wrong, box)


def _thing(want: Wanted, picture: Pictures, faces: Sequence[Face], visible: float) -> Sight:
    """Look for a thing or an animal of its colour wherever it might stand, and in everyone's hands."""
    words = set(re.findall(r"[a-z]+", f"{want.name} {want.phrase}".lower()))
    kind = next((kind for kind in (*palette.ANIMALS, palette.ROBOT, *palette.OBJECTS) if words & _nouns(kind)), None)
    colour = colour_in(want.phrase, palette.COLOUR_WORDS)
    if kind is None or colour is None:
        return Sight(visible)
    pixels = picture.astype(np.float32) / 255.0
    lifts = LIFTS if kind not in palette.OBJECTS else LIFTS[:1]
    places = [(x, lift) for lift in lifts for x in range(STEP, WIDTH - STEP, STEP)]
    stands = {(x, lift): read_colour(pixels, kind, x, lift) for x, lift in places}
    hands = faces if kind in palette.OBJECTS else ()
    held = [read_colour(pixels, kind, face.x, 45.0 - face.y, holding=True) for face in hands]
    seen = {c for c in (*stands.values(), *held) if c}
    if colour not in seen:
        worded = tuple(look for look in want.looks if colour in look) or want.looks
        return Sight(max(visible, 0.2) if seen else 0.0, 0.0, worded)
    x = next((x for (x, _), c in stands.items() if c == colour), None)
    box = None if x is None else (max(0.0, (x - 22) / WIDTH), 0.45, min(1.0, (x + 22) / WIDTH), 1.0)
    return Sight(max(visible, 0.2), 1.0, (), box)


def _nouns(kind: str) -> set[str]:
    return {noun.split()[-1] for noun in palette.NOUNS[kind]}


def _sized(picture: Pictures) -> Pictures:
    if picture.shape[:2] == (HEIGHT, WIDTH):
        return picture
    return np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
