"""RecallBench's scripts: prompts with a schedule of who and what is present when, the same for the same number.

A script is a cell of archetype x gap x place x company with a cast of its own. Attributes are stated at the first
mention only; afterwards the text names. Nothing here knows of models or memories: the schedule is a story of
`memreel.world.stories`, told by `memreel.world.sentences`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from random import Random

from memreel.world import palette
from memreel.world.sentences import tell
from memreel.world.shapes import Look
from memreel.world.stories import Being, Scene, Story, make_being, stage

ARCHETYPES = ("solo", "visitor", "object", "substitution", "lookalike")
GAPS = (1, 2, 4)
PROMPTS = 6
FULL, QUICK = 240, 20

PLANS: dict[tuple[str, int], tuple[str, ...]] = {
    ("solo", 1): ("p", "A", "A", "p", "A*", "A"),
    ("solo", 2): ("p", "A", "A", "p", "p", "A*"),
    ("solo", 4): ("A", "p", "p", "p", "p", "A*"),
    ("visitor", 1): ("AB", "ABC", "B", "BA", "C*", "B"),
    ("visitor", 2): ("AB", "BC", "A", "AB", "C*", "A"),
    ("visitor", 4): ("AC", "AB", "B", "A", "AB", "C*"),
    ("object", 1): ("B", "Ao", "A", "Ao*", "B", "Ao*"),
    ("object", 2): ("B", "Ao", "B", "A", "Ao*", "B"),
    ("object", 4): ("Ao", "B", "C", "B", "C", "Ao*"),
    ("substitution", 1): ("BC", "AC", "CD", "AD*", "BD", "AB*"),
    ("substitution", 2): ("BC", "AB", "BD", "DE", "AE*", "AC"),
    ("substitution", 4): ("AB", "BC", "CD", "DE", "CE", "A*"),
    ("lookalike", 1): ("B", "A", "L", "A*", "B", "L*"),
    ("lookalike", 2): ("B", "A", "L", "L", "A*", "L*"),
    ("lookalike", 4): ("A", "L", "L", "B", "L", "A*"),
}
"""Who is in each prompt: people A-E and L (like A but for one attribute), a pet p, an object o in A's hand.

``*`` marks a return that the cell is about: its company and its place are the cell's. Whoever is to come back must not
stand in the video's first chunk, which every chunk attends to: it walks in from far outside.
"""
FAR = 30.0
"""Pixels farther outside that people of the first prompt start, so that they are not in the first chunk."""


@dataclass(frozen=True)
class BenchScript:
    """A script and its truth: ``story`` has cast, places, texts and where everyone is at every moment.

    ``gap`` is the absence that its cell is about, in prompts; ``moves``: the place changes; ``beside``: whoever comes
    back has one more beside it.
    """

    number: int
    archetype: str
    gap: int
    moves: bool
    beside: bool
    story: Story

    @property
    def prompts(self) -> list[str]:
        """Return the prompts, in order."""
        return [scene.text for scene in self.story.scenes]

    def schedule(self) -> dict[str, object]:
        """Return the schedule as JSON: the cast with its looks, and of each prompt who is present and described."""
        cast = {
            str(key): {
                "name": being.name,
                "role": being.role,
                "kind": being.look.kind,
                "look": looks(being.look),
                "words": being.words,
            }
            for key, being in self.story.beings.items()
        }
        scenes = [
            {
                "prompt": scene.text,
                "place": scene.place,
                "cut": scene.cut,
                "present": scene.present(),
                "described": sorted(key for key, described in scene.mentions.items() if described),
                "enters": [spot.key for spot in scene.spots if spot.enters],
                "leaves": [leaver.key for leaver in scene.exits],
                "holds": {str(spot.key): spot.holds for spot in scene.spots if spot.holds is not None},
            }
            for scene in self.story.scenes
        ]
        return {
            "id": f"recall-{self.number:03d}",
            "archetype": self.archetype,
            "gap": self.gap,
            "moves": self.moves,
            "beside": self.beside,
            "cast": cast,
            "scenes": scenes,
        }


def looks(look: Look) -> dict[str, str]:
    """Return what is to be remembered of a look, by attribute."""
    if look.kind in palette.PEOPLE:
        return {"hair": look.hair, "top": look.top, "hat": look.hat}
    return {"colour": look.colour}


def make_scripts(count: int, seed: int = 0, held_out: palette.HeldOut = "nothing") -> list[BenchScript]:
    """Return the first ``count`` scripts of a seed; ``held_out`` says which words training never saw."""
    return [make_script(number, seed, held_out) for number in range(count)]


def make_script(number: int, seed: int = 0, held_out: palette.HeldOut = "nothing") -> BenchScript:
    """Return script ``number`` of a seed, a function of the two alone."""
    cell = number * 7 % 60  # 7 and 60 have no common factor: any 20 in a row are a fair share of the cells
    archetype, gap = ARCHETYPES[cell % 5], GAPS[cell // 5 % 3]
    moves, beside = bool(cell // 15 % 2), cell // 30 % 2 == 1
    random = Random(f"recall {seed} {number}")
    while True:
        beings = _cast(random, archetype, held_out)
        story = Story({being.key: being for being in beings.values()}, [])
        _stage(random, story, beings, PLANS[archetype, gap], moves, beside)
        for _ in range(20):
            told = copy.deepcopy(story)
            tell(random, told)
            if _named_only(told):
                return BenchScript(number, archetype, gap, moves, beside, told)


def twin(script: BenchScript, seed: int = 0, held_out: palette.HeldOut = "nothing") -> BenchScript:
    """Return the same script with another look for everyone in every attribute: same names, places and schedule."""
    random = Random(f"twin {seed} {script.number}")
    while True:
        story = copy.deepcopy(script.story)
        story.beings = {key: _redressed(random, being, held_out) for key, being in story.beings.items()}
        for scene in story.scenes:
            scene.mentions = {}
        tell(random, story)
        if _named_only(story) and _distinct(list(story.beings.values()), frozenset()):
            return replace(script, story=story)


def _cast(random: Random, archetype: str, held_out: palette.HeldOut) -> dict[str, Being]:
    """Invent the cast by its letters; people differ from each other in two attributes at least, A and L in one."""
    letters = sorted({c for plan, scenes in PLANS.items() if plan[0] == archetype for s in scenes for c in s} - {"*"})
    if archetype in ("solo", "visitor"):
        letters = sorted({*letters, "p"})
    while True:
        taken: set[str] = set()
        beings: dict[str, Being] = {}
        for key, letter in enumerate(letters):
            kind = random.choice(palette.PEOPLE)
            if letter == "p":
                kind = random.choice((*palette.ANIMALS, palette.ROBOT))
            elif letter == "o":
                kind = random.choice(palette.OBJECTS)
            elif letter == "L":
                kind = beings["A"].look.kind
            alike = beings["A"].look if letter == "L" else None
            beings[letter] = _being(random, key, kind, taken, held_out, alike)
        pair = frozenset(beings[c].key for c in "AL" if "L" in beings)
        if _distinct(list(beings.values()), pair):
            return beings


def _being(
    random: Random, key: int, kind: str, taken: set[str], held_out: palette.HeldOut, alike: Look | None
) -> Being:
    while True:
        names = set(taken)
        being = make_being(random, key, kind, names, held_out)
        called = being.name or being.role or kind not in palette.PEOPLE
        if called and (alike is None or _difference(being.look, alike) == 1):
            taken |= names
            return being


def _redressed(random: Random, being: Being, held_out: palette.HeldOut) -> Being:
    while True:
        other = make_being(random, being.key, being.look.kind, set(), held_out)
        if _difference(other.look, being.look) == len(looks(being.look)):
            return replace(being, look=other.look, words=other.words)


def _difference(one: Look, other: Look) -> int:
    """Return in how many attributes two looks differ."""
    theirs = looks(other)
    return sum(theirs.get(name) != value for name, value in looks(one).items())


def _distinct(beings: Sequence[Being], pair: frozenset[int]) -> bool:
    people = [being for being in beings if being.look.kind in palette.PEOPLE]
    return all(
        _difference(one.look, other.look) == 1
        if {one.key, other.key} == pair
        else _difference(one.look, other.look) > 1
        for one, other in combinations(people, 2)
    )


def _stage(
    random: Random, story: Story, cast: dict[str, Being], plan: Sequence[str], moves: bool, beside: bool
) -> None:
    places = random.sample(palette.PLACES, 4)
    place = places[0]
    for number, letters in enumerate(plan):
        before: Scene | None = story.scenes[-1] if story.scenes else None
        if moves and number and ("*" in letters or random.random() < 0.5):
            place = random.choice([p for p in places if p != place])
        order = [c for c in letters if c.isupper() or c == "p"]
        if "*" in letters and beside:
            order += [_companion(cast, order)]
        random.shuffle(order)
        holds = {cast["A"].key: cast["o"].key} if "o" in letters else {}
        keys = [cast[c].key for c in order]
        was = {spot.key for spot in before.spots} if before else set()
        cut = before is None or before.place != place
        comes = {key for key in keys if key not in was} if not cut else set()
        if before is None and plan[0][0] == "A":
            comes = {cast[c].key for c in order if c in "AC"}
        scene = stage(random, story.beings, before, keys, holds, place, comes)
        if before is None:
            for spot in scene.spots:
                if spot.enters:
                    spot.start += -FAR if spot.enters == "left" else FAR
        story.scenes.append(scene)


def _companion(cast: dict[str, Being], here: Sequence[str]) -> str:
    """Return who stands beside somebody who comes back in company."""
    return next(c for c in ("p", "B", "L", "D", "A", "C") if c in cast and c not in here)


def _named_only(story: Story) -> bool:
    """Tell whether nobody's look is stated after its first mention, whole or in part."""
    met: set[int] = set()
    for scene in story.scenes:
        for key, described in scene.mentions.items():
            being = story.beings[key]
            if described != (key not in met):
                return False
            if key in met and any(hint in scene.text.casefold() for hint in _hints(being)):
                return False
        met |= set(scene.mentions)
    return True


def _hints(being: Being) -> Iterator[str]:
    if being.look.kind in palette.PEOPLE:
        yield f"the {being.noun} in the ".casefold()
        yield f"the {being.noun} with the ".casefold()
    else:
        yield f"{being.words['colour']} {being.noun.split()[-1]}".casefold()
