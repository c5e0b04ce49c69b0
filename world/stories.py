"""Invents stories of the drawn world: a cast, scene after scene, and where everyone is at every moment.

A story is a schedule first and words second (`sentences` adds them): who is present from left to right, who walks in or
out, who holds what, where, and whether the place changes (a cut). Staging follows the words, so that a scene can be
painted from its text: figures stand from left to right in the order in which they are mentioned, walk in during the
first seconds, then do what the text says. `Story.rows` gives the shapes of any moment of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from memreel.world import palette
from memreel.world.draw import WIDTH
from memreel.world.shapes import Look, Pose, Row, figure, held

SPEED = 36.0
"""Walking speed in pixels a second."""
FIGURES = (*palette.PEOPLE, *palette.ANIMALS, palette.ROBOT)
UNTOLD = 0.25
"""Share of those who walk in of whom the text only says what they do, and of objects that are suddenly there."""
ACTIONS = ("stand", "stand", "wave", "jump", "talk", "dance")


@dataclass
class Being:
    """A member of a story's cast: its look, and the words that this story uses for it."""

    key: int
    look: Look
    name: str | None
    noun: str
    words: dict[str, str]
    role: str | None = None

    @property
    def is_object(self) -> bool:
        """Whether it is a portable object."""
        return self.look.kind in palette.OBJECTS


@dataclass
class Spot:
    """A place on the ground in one scene: who stands there, where, how it got there and what it does."""

    key: int
    x: float
    start: float
    action: str = "stand"
    enters: str | None = None
    holds: int | None = None
    phase: float = 0.0


@dataclass
class Exit:
    """Somebody walks out at the start of a scene."""

    key: int
    start: float
    side: str
    holds: int | None
    told: bool


@dataclass
class Scene:
    """What one prompt shows; ``mentions`` maps each being in it to whether the text describes its look."""

    place: str
    cut: bool
    spots: list[Spot]
    exits: list[Exit] = field(default_factory=list)
    text: str = ""
    enriched: str = ""
    mentions: dict[int, bool] = field(default_factory=dict)

    def present(self) -> list[int]:
        """Return the keys of everyone and everything in the scene once it has settled."""
        return [k for s in self.spots for k in ((s.key,) if s.holds is None else (s.key, s.holds))]


def _walk(start: float, goal: float, t: float) -> tuple[float, bool, float]:
    travelled = SPEED * t
    distance = abs(goal - start)
    if travelled >= distance:
        return goal, False, distance / SPEED
    return start + math.copysign(travelled, goal - start), True, distance / SPEED


def pose_at(start: float, goal: float, action: str, phase: float, t: float) -> Pose:
    """Return where somebody is ``t`` seconds into a scene: walking to its spot, then acting there."""
    x, walking, arrival = _walk(start, goal, t)
    if walking:
        return Pose(x, walk=t * 9 + phase, stride=1.0, gaze=math.copysign(1.0, goal - start))
    beat = (t - arrival) * 2 * math.pi + phase
    ready = min(1.0, (t - arrival) * 2.0)
    if action == "wave":
        return Pose(x, arm=ready * (0.82 + 0.18 * math.sin(beat * 1.5)), walk=beat)
    if action == "jump":
        return Pose(x, lift=ready * 9.0 * abs(math.sin(beat * 0.5)), walk=beat)
    if action == "talk":
        return Pose(x, mouth=ready * (0.5 + 0.5 * math.sin(beat * 1.5)), walk=beat)
    if action == "dance":
        return Pose(
            x + ready * 4 * math.sin(beat * 0.5), arm=ready * (0.5 + 0.5 * math.sin(beat * 0.5)), walk=beat, stride=0.4
        )
    return Pose(x, lift=0.7 + 0.7 * math.sin(beat * 0.5), walk=beat * 0.5)


@dataclass
class Story:
    """A cast and its scenes."""

    beings: dict[int, Being]
    scenes: list[Scene]

    def rows(self, scene: int, t: float) -> list[Row]:
        """Return the shapes of everyone at second ``t`` of a scene, those farther left behind those farther right."""
        now = self.scenes[scene]
        rows: list[Row] = []
        for leaver in now.exits:
            goal = -40.0 if leaver.side == "left" else WIDTH + 40.0
            pose = pose_at(leaver.start, goal, "stand", 0.0, t)
            if -36 < pose.x < WIDTH + 36:
                rows += self._drawn(leaver.key, leaver.holds, pose)
        for spot in now.spots:
            pose = pose_at(spot.start, spot.x, spot.action, spot.phase, t)
            rows += self._drawn(spot.key, spot.holds, pose)
        return rows

    def _drawn(self, key: int, holds: int | None, pose: Pose) -> list[Row]:
        rows = figure(self.beings[key].look, pose)
        if holds is not None:
            rows += held(self.beings[holds].look, pose)
        return rows

    def settled(self, scene: int) -> float:
        """Return the second at which everyone in the scene has arrived and left."""
        now = self.scenes[scene]
        times = [abs(s.x - s.start) / SPEED for s in now.spots]
        times += [(e.start + 40 if e.side == "left" else WIDTH + 40 - e.start) / SPEED for e in now.exits]
        return max(times, default=0.0)

    def visible(self, scene: int, t: float, margin: float = 14) -> set[int]:
        """Return the keys whose figure stands ``margin`` px inside the picture's sides at second ``t`` of a scene.

        The default stands for a figure that is wholly in the picture; -30 for one of which anything is.
        """
        seen: set[int] = set()
        for spot in self.scenes[scene].spots:
            if margin <= _walk(spot.start, spot.x, t)[0] <= WIDTH - margin:
                seen.update(k for k in (spot.key, spot.holds) if k is not None)
        return seen


def _look(random: Random, kind: str) -> Look:
    if kind in palette.PEOPLE:
        hat = "none" if random.random() < 0.45 else random.choice([h for h in palette.HAT if h != "none"])
        return Look(kind, hair=random.choice(list(palette.HAIR)), top=random.choice(list(palette.TOP)), hat=hat)
    if kind in palette.ANIMALS:
        return Look(kind, colour=random.choice(list(palette.FUR)))
    if kind == palette.ROBOT:
        return Look(kind, colour=random.choice(list(palette.TOP)))
    return Look(kind, colour=random.choice(list(palette.THING)))


def _words(random: Random, look: Look, held_out: palette.HeldOut) -> dict[str, str]:
    def colour(name: str, table: dict[str, tuple[str, ...]]) -> str:
        if held_out in ("words", "both") and name in palette.HELD_OUT_COLOUR_WORDS:
            return random.choice(palette.HELD_OUT_COLOUR_WORDS[name])
        return name if random.random() < 0.5 else random.choice(table[name])

    if look.kind in palette.PEOPLE:
        words = {
            "hair": colour(look.hair, palette.HAIR_WORDS) + " " + random.choice(palette.HAIR_NOUNS),
            "top": colour(look.top, palette.COLOUR_WORDS) + " " + random.choice(palette.GARMENTS),
        }
        if look.hat != "none":
            words["hat"] = colour(look.hat, palette.COLOUR_WORDS) + " " + random.choice(palette.HEADGEAR)
        return words
    return {"colour": colour(look.colour, palette.COLOUR_WORDS)}


def make_being(random: Random, key: int, kind: str, taken: set[str], held_out: palette.HeldOut = "nothing") -> Being:
    """Invent a being of a kind; ``taken`` holds names and nouns of the story so far and is added to."""
    look = _look(random, kind)
    name: str | None = None
    named = 0.72 if kind in palette.PEOPLE else 0.3
    if kind not in palette.OBJECTS and random.random() < named:
        pool = palette.HELD_OUT_NAMES[kind] if held_out in ("names", "both") else {
            "woman": palette.FEMALE_NAMES, "man": palette.MALE_NAMES
        }.get(kind, palette.PET_NAMES)  # fmt: skip
        free = [n for n in pool if n not in taken]
        name = random.choice(free) if free else None
    role = None
    if kind in palette.PEOPLE and random.random() < (0.15 if name else 0.5):
        free = [r for r in palette.ROLES if r not in taken]
        role = random.choice(free)
    noun = random.choice(palette.NOUNS[kind])
    taken.update(w for w in (name, role) if w)
    return Being(key, look, name, noun, _words(random, look, held_out), role)


def make_cast(random: Random, held_out: palette.HeldOut = "nothing", crowded: bool = False) -> dict[int, Being]:
    """Invent two to four figures and up to two objects, no two alike in name, unnamed kind or object kind.

    In a ``crowded`` story there are three to five figures, most of them people.
    """
    beings: dict[int, Being] = {}
    taken: set[str] = set()
    unnamed: set[str] = set()
    kinds = ("woman", "man") * (6 if crowded else 3) + ("dog", "cat", "robot")
    for _ in range(random.choice((3, 4, 4, 5, 5) if crowded else (2, 3, 3, 4, 4))):
        kind = random.choice(kinds)
        being = make_being(random, len(beings), kind, taken, held_out)
        if being.name is None and being.role is None:
            if kind in unnamed:
                continue
            unnamed.add(kind)
        beings[being.key] = being
    for kind in random.sample(palette.OBJECTS, random.choice((0, 1, 1, 2))):
        beings[len(beings)] = make_being(random, len(beings), kind, taken, held_out)
    return beings


def spots_for(count: int) -> list[float]:
    """Return the x of ``count`` spots, evenly spread from left to right."""
    return [WIDTH * (i + 0.5) / count for i in range(count)]


def stage(
    random: Random,
    beings: dict[int, Being],
    before: Scene | None,
    order: list[int],
    holds: dict[int, int],
    place: str,
    walk_in: set[int],
) -> Scene:
    """Place ``order`` (left to right) in a scene after ``before``; those of ``walk_in`` come in from outside."""
    cut = before is None or before.place != place
    was = {} if cut or before is None else {s.key: s for s in before.spots}
    spots: list[Spot] = []
    for i, (key, x) in enumerate(zip(order, spots_for(len(order)), strict=True)):
        x += random.uniform(-4, 4)
        enters: str | None = None
        start = x
        if key in was:
            start = was[key].x
        elif key in walk_in:
            enters = "left" if i < len(order) / 2 and (len(order) > 1 or random.random() < 0.5) else "right"
            start = -34.0 - 20 * (len(order) - 1 - i) if enters == "left" else WIDTH + 34.0 + 20 * i
        being = beings[key]
        action = "stand" if being.is_object else random.choice(ACTIONS)
        if being.look.kind in palette.ANIMALS and action in ("wave", "talk", "dance"):
            action = "jump"
        spots.append(Spot(key, x, start, action, enters, holds.get(key), random.uniform(0, 6.28)))
    exits = []
    for key, spot in was.items():
        if key not in order and key not in holds.values():
            carried = spot.holds if spot.holds not in holds.values() and spot.holds not in order else None
            exits.append(Exit(key, spot.x, "left" if spot.x < WIDTH / 2 else "right", carried, random.random() < 0.75))
    return Scene(place, cut, spots, exits)


def make_schedule(random: Random, beings: dict[int, Being], scenes: int, crowded: bool = False) -> list[Scene]:
    """Invent who is where, scene after scene: people come, go and come back; objects are carried, put down, found.

    In a ``crowded`` story hardly anybody is alone.
    """
    figures = [k for k, b in beings.items() if not b.is_object]
    objects = [k for k, b in beings.items() if b.is_object]
    out: list[Scene] = []
    for _ in range(scenes):
        before = out[-1] if out else None
        if before is None or random.random() < 0.5:
            known = [s.place for s in out]
            place = random.choice(known) if known and random.random() < 0.3 else random.choice(palette.PLACES)
        else:
            place = before.place
        cut = before is None or before.place != place
        count = min(len(figures), random.choices((1, 2, 3), (0.15, 0.68, 0.17) if crowded else (0.45, 0.41, 0.14))[0])
        here = [] if cut or before is None else [s.key for s in before.spots if s.key in figures]
        stay = [k for k in here if random.random() < 0.55][:count]
        rest = [k for k in figures if k not in here]
        met = {s.key for scene in out for s in scene.spots}
        rest.sort(key=lambda k: random.random() - (0.45 if k in met else 0.0))
        new = rest[: count - len(stay)]
        if not stay and not new:
            stay = here[:1]
        order = list(stay)
        for key in new:
            order.insert(random.choice((0, len(order))), key)
        holds: dict[int, int] = {}
        free = list(objects)
        if not cut and before is not None:
            for spot in before.spots:
                if spot.holds is not None and spot.key in stay:
                    holds[spot.key] = spot.holds
                    free.remove(spot.holds)
                elif spot.key in objects:
                    at = sum(1 for s in before.spots if s.key in order and s.x < spot.x)
                    order.insert(at + sum(1 for k in new if order.index(k) < at), spot.key)
                    free.remove(spot.key)
        if free and random.random() < 0.45:
            thing = random.choice(free)
            hands = [k for k in order if beings[k].look.kind in palette.PEOPLE and k not in holds]
            if hands and (random.random() < 0.6 or not cut):
                holds[random.choice(hands)] = thing
            elif (cut or random.random() < UNTOLD) and len(order) < 4:
                order.insert(random.randint(0, len(order)), thing)
        walk_in = {k for k in order if k in new and (not cut or random.random() < (0.2 if out else 0.25))}
        scene = stage(random, beings, before, order[:4], holds, place, walk_in)
        for spot in scene.spots:
            if random.random() < UNTOLD:
                spot.enters = None
        out.append(scene)
    return out


def make_story(random: Random, scenes: int = 6, held_out: palette.HeldOut = "nothing", crowded: bool = False) -> Story:
    """Invent a story with its texts.

    Args:
        random: where chance comes from.
        scenes: how many prompts it has.
        held_out: which words are ones that training never uses.
        crowded: whether there are several people in most scenes.
    """
    from memreel.world.sentences import tell

    beings = make_cast(random, held_out, crowded)
    story = Story(beings, make_schedule(random, beings, scenes, crowded))
    tell(random, story)
    return story
