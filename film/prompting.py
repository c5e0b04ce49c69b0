"""What a scene's clip model is told: the scene's own words, its place, everybody's looks, and how it is filmed.

Two texts: the plain one says only what happens, where and who looks how; the full one adds camera, light, style and
colours. What does not fit into a model's limit is left out from the end, the least important first; the scene itself
is never cut. The module knows no clip model, only its limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from memreel.agent.enrich import enrich
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import is_identity
from memreel.film.memory import clause
from memreel.film.plan import Plan, Scene
from memreel.film.planner import place, same
from memreel.memory.records import CastMember, Entity


@dataclass(frozen=True)
class Telling:
    """A scene in words: for models that know only what happens, and in full; ``left_out`` did not fit."""

    plain: str
    full: str
    left_out: tuple[str, ...] = ()


def tell(
    plan: Plan,
    scene: Scene,
    entities: Sequence[Entity],
    cast: Mapping[str, CastMember],
    limit: int,
    stressed: Collection[int] = (),
) -> Telling:
    """Put a scene into words.

    Args:
        plan: the film's plan.
        scene: one of its scenes.
        entities: who is in it.
        cast: everybody, by global ID.
        limit: what the full text may have, in UTF-16 code units.
        stressed: global IDs whose looks are stated whatever the scene says, because they came out wrong.
    """
    happens = _placed(scene)
    plain = enrich(happens, entities, cast)
    for entity in entities:
        if entity["global_id"] in stressed:
            plain = _stated(plain, entity, cast[str(entity["global_id"])])
    full, left_out = plain, []
    for direction in directions(plan, scene):
        longer = f"{full} {direction}"
        if units(longer) <= limit:
            full = longer
        else:
            left_out.append(direction)
    return Telling(plain, full, tuple(left_out))


def directions(plan: Plan, scene: Scene) -> list[str]:
    """Return how a scene is filmed, a sentence each, the most important first."""
    shows = [f"at {frame.at:g} s {frame.shows.rstrip('.')}" for frame in scene.key_frames if frame.shows]
    told = [
        ("Style", plan.style),
        ("Camera", ", ".join(part for part in (scene.camera.angle, scene.camera.movement) if part)),
        ("Light", scene.lighting),
        ("Moments", "; ".join(shows)),
        ("Colours", ", ".join(plan.palette)),
    ]
    return [f"{label}: {text.rstrip('.')}." for label, text in told if text]


def units(text: str) -> int:
    """Return a text's length as providers count it, in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def _placed(scene: Scene) -> str:
    """Return the scene's text, beginning with its place where it does not say it."""
    text = scene.text
    there = place(text)
    if not scene.environment or (there and same(there, scene.environment)) or scene.environment.lower() in text.lower():
        return text
    where = scene.environment
    if where.split()[0].lower() not in ("a", "an", "the", "in", "on", "at"):
        where = f"the {where}"
    if where.split()[0].lower() not in ("in", "on", "at"):
        where = f"{_preposition(where)} {where}"
    first, _, rest = text.partition(" ")
    keeps = first[:1].isupper() and first.lower() not in ("a", "an", "the", "she", "he", "they", "it", "then")
    return f"{where[0].upper()}{where[1:]}, {first if keeps else first.lower()} {rest}".strip()


def _preposition(where: str) -> str:
    surfaces = ("beach", "street", "rooftop", "roof", "mountain", "mountains", "bridge", "stage", "island", "road")
    return "on" if where.rsplit(" ", 1)[-1].lower() in (*surfaces, "mountainside", "pier", "platform") else "in"


def _stated(text: str, entity: Entity, member: CastMember) -> str:
    """Add all of somebody's looks, unless that clause is there already."""
    words = lexicon()
    looks = [look for look in member["all_attrs"] if not is_identity(look, words, member["kind"])]
    said = clause(entity["entity"][:1].upper() + entity["entity"][1:], looks)
    return text if not looks or said in text else f"{text} {said}"
