"""Planning without a chat model: a paragraph or a script becomes a plan, by rules alone.

The text's sentences (or a script's prompts) are the beats; they are shared out over scenes of 8 to 10 seconds in order,
and a beat that has to fill several scenes goes on in a continuation. Who is in a scene is read by the analyst, where it
takes place from its words. The module knows nothing of chat models (`memreel.film.director`) or of shooting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memreel.agent.analyst import Analyst
from memreel.agent.lexicon import lexicon
from memreel.errors import UserError
from memreel.film.plan import LONGEST_SHOT, Camera, Character, Plan, Scene, Transition, scene_count, scene_seconds
from memreel.memory import cast
from memreel.memory.index import Candidate, TextIndex
from memreel.memory.records import BankState, CastMember, Entity, empty_bank
from memreel.model.minilm import sentence_encoder

SENTENCE = re.compile(r"(?<=[.!?…])[\"”’)]*\s+|(?<=[。！？])\s*|\n+")
WHERE = re.compile(
    r"\b(?:in|on|at|inside|into|onto|through|across|along|outside|to)\s+(?:a|an|the|this|her|his|their)\s+([^,.;:!?]+)",
    re.IGNORECASE,
)
PLACE_WORDS = 6
TIMES = {
    "night": "night, dim light",
    "moon": "moonlight",
    "evening": "warm evening light",
    "sunset": "golden sunset light",
    "dawn": "soft light of dawn",
    "morning": "fresh morning light",
    "sun": "bright sunlight",
    "rain": "grey light, rain",
    "candle": "candlelight",
    "lantern": "lantern light",
}
"""Words that say how a scene is lit, the first that occurs counts."""
LATER = re.compile(r"\b(later|meanwhile|that evening|that night|the next (day|morning)|years|hours)\b", re.IGNORECASE)
COLOURS = 6
LONGEST_TITLE = 60


def plan_by_rules(beats: Sequence[str], seconds: float | None, title: str = "", most: float = LONGEST_SHOT) -> Plan:
    """Plan a film of these beats.

    Args:
        beats: a paragraph's sentences (see `sentences`) or a script's prompts, in order.
        seconds: playing time; ``None``: 9 s a beat.
        title: the film's title; by default the first beat's beginning.
        most: seconds of the clip model's longest clip.

    Raises:
        UserError: there are no beats, or more scenes than a plan may have.
    """
    beats = [beat.strip() for beat in beats if beat.strip()]
    if not beats:
        raise UserError("the idea is empty; say in a sentence or more what the film shows")
    total = 9.0 * len(beats) if seconds is None else seconds
    texts = share_out(beats, scene_count(total, most))
    scenes: list[Scene] = []
    bank = empty_bank()
    analyst, index = Analyst(), TextIndex(sentence_encoder().embed)
    here = ""
    for number, (text, length) in enumerate(zip(texts, scene_seconds(total, len(texts), most), strict=True), start=1):
        bank, entities = _read(analyst, index, bank, number, text)
        seen = cast.in_picture(entities)
        there = place(text) or here
        same_place = bool(here) and same(there, here)
        repeated = number > 1 and text == texts[number - 2]
        transition: Transition = "continuation" if repeated else "cut"
        if number > 1 and not repeated and LATER.search(text):
            transition = "crossfade"
        scenes.append(
            Scene(
                seconds=length,
                text=text,
                characters=[str(entity["global_id"]) for entity in seen],
                environment=there,
                lighting=next((light for word, light in TIMES.items() if word in text.lower()), ""),
                camera=_camera(new_place=not same_place, goes_on=repeated, several=len(seen) > 1),
                transition=transition,
            )
        )
        here = there
    names = _names(bank)
    for scene in scenes:
        scene.characters = [names[key] for key in scene.characters]
    return Plan(
        title=title or _title(beats[0]),
        style="",
        palette=_palette(beats),
        characters=[
            Character(name=names[key], kind=member["kind"], attributes=member["all_attrs"][:12])
            for key, member in bank["cast"].items()
        ][:24],
        scenes=[
            scene.model_copy(update={"characters": [n for n in scene.characters if n in list(names.values())[:24]]})
            for scene in scenes
        ],
    )


def sentences(paragraph: str) -> list[str]:
    """Return a paragraph's sentences."""
    return [sentence.strip() for sentence in SENTENCE.split(paragraph) if sentence.strip()]


def share_out(beats: Sequence[str], scenes: int) -> list[str]:
    """Return the text of each of ``scenes`` scenes: several beats in one, or one beat in several, always in order."""
    count = len(beats)
    if count >= scenes:
        return [" ".join(beats[n * count // scenes : (n + 1) * count // scenes]) for n in range(scenes)]
    return [beats[n * count // scenes] for n in range(scenes)]


def place(text: str) -> str:
    """Return where a text takes place ("quiet library"), or nothing if it does not say."""
    words = lexicon()
    for match in WHERE.finditer(text):
        tokens = match[1].split()[:PLACE_WORDS]
        ends = [n for n, token in enumerate(tokens) if words.noun_class(token.lower()) == "place"]
        if ends:
            return " ".join(tokens[: ends[0] + 1]).lower()
    return ""


def same(one: str, other: str) -> bool:
    """Tell whether two places may be one: their nouns, last in the phrase, agree."""
    return one.rsplit(" ", 1)[-1].rstrip("s") == other.rsplit(" ", 1)[-1].rstrip("s")


def _read(
    analyst: Analyst, index: TextIndex, bank: BankState, number: int, text: str
) -> tuple[BankState, list[Entity]]:
    def candidates(phrases: Sequence[str]) -> list[list[Candidate]]:
        found = index.nearest(cast.phrase_rows(bank), phrases, 5)
        return [[Candidate(global_id, similarity) for global_id, similarity in row] for row in found]

    entities = analyst.match(text, analyst.parse(text, bank, candidates).entities, bank, candidates)
    return cast.register(bank, number, text, entities), entities


def _names(bank: BankState) -> dict[str, str]:
    """Return a name of its own for every cast member: its name, with a look or a number where others share it."""
    names: dict[str, str] = {}
    for key, member in bank["cast"].items():
        names[key] = next(name for name in _namings(member) if name not in names.values())
    return names


def _namings(member: CastMember) -> list[str]:
    name: str = member["name"]
    looks: list[str] = member["all_attrs"]
    return [name, *(f"{look} {name}" for look in looks), *(f"{name} {n}" for n in range(2, 30))]


def _camera(*, new_place: bool, goes_on: bool, several: bool) -> Camera:
    """Show a new place first, then people; go nearer while a scene goes on."""
    if goes_on:
        return Camera(angle="close-up", movement="slow push in")
    if new_place:
        return Camera(angle="wide shot", movement="slow pan")
    return Camera(angle="two shot" if several else "medium shot", movement="static")


def _palette(beats: Sequence[str]) -> list[str]:
    words = re.findall(r"[a-z]+", " ".join(beats).lower())
    table = lexicon().listed["adjectives"]
    return list(dict.fromkeys(word for word in words if table.get(word) == "colour"))[:COLOURS]


def _title(beat: str) -> str:
    if len(beat) <= LONGEST_TITLE:
        return beat.rstrip(".。")
    return beat[:LONGEST_TITLE].rsplit(" ", 1)[0].rstrip(",;: ") + " …"
