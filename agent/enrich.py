"""Put back into a prompt's text how its entities look, when it names them without saying so.

The video model knows only the text it is given: "Mia walks back into the library." says nothing of red hair. The cast
does, so the text for the video model becomes "… library. Mia: red hair, blue sweater, green hat." The user's own text
stays as it is in the records. Where looks changed, the latest at each place counts (a white coat replaces a blue
one), and what the prompt itself says of an entity is neither repeated nor contradicted. Looks are told in one order,
hair before garments before a hat, and who leaves is described after who stays or comes, so that nobody takes over the
looks of somebody on the way out. Who is only mentioned is not to be seen and gets no clause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memreel.agent.lexicon import Lexicon, lexicon
from memreel.agent.matching import is_identity, place_of
from memreel.memory.cast import in_picture, leaves
from memreel.memory.records import CastMember, Entity

ENDS_OF_SENTENCES = (".", "!", "?", "。", "！", "？", "…", '"', "”")


def enrich(prompt: str, entities: Sequence[Entity], cast: Mapping[str, CastMember]) -> str:
    """Return the prompt with one clause, "Name: attribute, attribute.", per entity that it does not describe.

    Args:
        prompt: the user's text.
        entities: the prompt's entities with their global IDs.
        cast: cast members by global ID as a string.
    """
    text = prompt.rstrip()
    shown = in_picture(entities)
    for entity in sorted(shown, key=leaves):
        member = cast.get(str(entity["global_id"]))
        looks = missing_looks(entity, member) if member is not None else []
        if member is not None and looks:
            stop = "" if not text or text.endswith(ENDS_OF_SENTENCES) else "."
            text = f"{text}{stop} {_called(entity, member)}: {', '.join(looks)}."
    return text


def missing_looks(entity: Entity, member: CastMember) -> list[str]:
    """Return the attributes that the cast knows and the prompt does not say, the latest at each place.

    What somebody is ("young woman") is left out: it is no look that a picture could lose, except when nothing else is
    known.
    """
    words = lexicon()
    latest: dict[str, str] = {}
    for attr in member["all_attrs"]:
        if not is_identity(attr, words, member["kind"]):
            place = place_of(attr, words)
            latest.pop(place, None)
            latest[place] = attr
    said = {place_of(attr, words) for attr in entity["attrs"] if not is_identity(attr, words, member["kind"])}
    looks = sorted((attr for place, attr in latest.items() if place not in said), key=lambda attr: _rank(attr, words))
    if not latest and not entity["attrs"]:
        looks = [attr for attr in member["all_attrs"] if is_identity(attr, words, member["kind"])]
    return looks


def _rank(attr: str, words: Lexicon) -> int:
    """Return where in a clause an attribute stands: what somebody has by nature, then what is worn, a hat last."""
    places = list(words.words["worn_on"])
    place = place_of(attr, words)
    return places.index(place) if place in places else -1


def _called(entity: Entity, member: CastMember) -> str:
    """Return what to call it in the clause: as the prompt does; by its name or noun where that is a pronoun."""
    name = entity["entity"] or member["name"]
    return name[:1].upper() + name[1:]
