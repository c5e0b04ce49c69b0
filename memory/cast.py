"""The cast: registers a prompt's entities under their global IDs, and decides what each member is called.

Attributes and surface forms are appended without repeats and never lost. The module takes the IDs as given: who is the
same as whom was decided before (see `memreel.agent`). It knows nothing of frames or of embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from memreel.errors import UserError
from memreel.memory.records import BankState, CastMember, Entity, Frame, Instance, PromptRecord, phrase

# fmt: off
DETERMINERS = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "your", "our",
    "another", "some", "one", "each", "both", "two", "three",
})
PRONOUNS = frozenset({
    "he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs",
    "himself", "herself", "itself", "themselves", "who",
})
NAME_PARTICLES = frozenset({
    "de", "da", "del", "della", "der", "van", "von", "la", "le", "el", "al", "bin", "ibn", "of", "the", "y",
})
# fmt: on


def register(bank: BankState, prompt_id: int, text: str, entities: Sequence[Entity]) -> BankState:
    """Return ``bank`` with a prompt and its entities; registering a prompt again replaces how it worded them.

    Raises:
        UserError: a global ID is below 1, or two entities of the prompt share one.
    """
    _check_ids(prompt_id, entities)
    record: PromptRecord = {
        "text": text,
        "entities": [{**entity, "attrs": list(entity["attrs"])} for entity in entities],
        "memory": [],
    }
    prompts = {**bank["prompts"], str(prompt_id): record}
    cast = dict(bank["cast"])
    for entity in entities:
        key = str(entity["global_id"])
        cast[key] = _with_appearance(cast.get(key), prompt_id, entity, prompts)
    return {**bank, "cast": cast, "prompts": prompts}


def in_picture(entities: Sequence[Entity]) -> list[Entity]:
    """Return those of a prompt's entities that are to be seen: all but who is only mentioned."""
    return [entity for entity in entities if entity.get("presence") != "mentioned"]


def portrayed(bank: BankState, prompt_id: int) -> list[Entity]:
    """Return whom a prompt's frames may be kept as: those to be seen but for who walks out of it as they came.

    Most of such a prompt is made after they have gone, and what was kept under earlier prompts shows them better. Who
    leaves under the first prompt that speaks of them, or is described while leaving, has no better frames.
    """
    shown = in_picture(bank["prompts"][str(prompt_id)]["entities"])
    return [
        entity
        for entity in shown
        if not leaves(entity)
        or entity["attrs"]
        or all(one["prompt_id"] >= prompt_id for one in bank["cast"][str(entity["global_id"])]["instances"])
    ]


def leaves(entity: Entity) -> bool:
    """Tell whether a prompt ends without an entity that it shows."""
    return entity.get("presence") == "leaves"


def reassign(bank: BankState, prompt_id: int, global_id: int, really: int | None) -> BankState:
    """Return ``bank`` with one of a prompt's entities under another ID: ``really``, or the next free one.

    The prompt's words about it, and the frames made under the prompt, go with it; a member that appears nowhere else
    then leaves the cast.

    Raises:
        UserError: the prompt has no such entity, has the other one as well, or the two are of different kinds.
    """
    record = bank["prompts"][str(prompt_id)]
    entity = next((one for one in record["entities"] if one["global_id"] == global_id), None)
    if entity is None:
        known = ", ".join(f"{one['global_id']} ({one['entity']})" for one in record["entities"]) or "nobody"
        raise UserError(f"prompt {prompt_id} does not speak of global ID {global_id}; it speaks of {known}")
    if really is not None:
        if str(really) not in bank["cast"]:
            raise UserError(f"there is no cast member {really}; known: {', '.join(bank['cast'])}")
        if bank["cast"][str(really)]["kind"] != entity["kind"]:
            raise UserError(f"'{entity['entity']}' is of kind {entity['kind']}, cast member {really} is not")
    new = really if really is not None else max(map(int, bank["cast"])) + 1
    entities: list[Entity] = [{**one, "global_id": new} if one is entity else one for one in record["entities"]]
    _check_ids(prompt_id, entities)
    old = bank["cast"][str(global_id)]
    instances = [instance for instance in old["instances"] if instance["prompt_id"] != prompt_id]
    cast = {key: member for key, member in bank["cast"].items() if key != str(global_id) or instances}
    if instances:
        cast[str(global_id)] = {
            **old,
            "name": best_name((one["entity"], _text_of(bank["prompts"], one["prompt_id"])) for one in instances),
            "all_entities": _appended([], [one["entity"] for one in instances]),
            "all_attrs": _appended([], [attr for one in instances for attr in one["attrs"]]),
            "instances": instances,
        }
    after = register({**bank, "cast": cast}, prompt_id, record["text"], entities)
    after["prompts"][str(prompt_id)]["memory"] = record["memory"]
    moved = {
        name: _as(frame, global_id, new) if frame["prompt_id"] == prompt_id else frame
        for name, frame in bank["frames"].items()
    }
    return {**after, "frames": moved}


def corrected(bank: BankState, global_id: int, attrs: Sequence[str]) -> BankState:
    """Return ``bank`` with a member's attributes as they were seen; what each prompt said of it stays on record."""
    member = bank["cast"][str(global_id)]
    return {**bank, "cast": {**bank["cast"], str(global_id): {**member, "all_attrs": _appended([], attrs)}}}


def phrase_rows(bank: BankState) -> list[tuple[int, str]]:
    """Return (global ID, text) for every way the cast has been worded: the rows of the cast's index.

    A member has one row for its name with all attributes and one for each wording of its own, so that it is found both
    by who it is and by how a prompt once put it.
    """
    rows: list[tuple[int, str]] = []
    for member in bank["cast"].values():
        wordings = [phrase(member), *(_worded(instance) for instance in member["instances"])]
        rows += [(member["global_id"], wording) for wording in dict.fromkeys(wordings)]
    return rows


def best_name(wordings: Iterable[tuple[str, str]]) -> str:
    """Return what to call a member, given its (surface form, prompt text) pairs in order of appearance.

    A proper name beats a description, a description beats a pronoun, and among equals the first stays. A leading
    article or possessive is left out: "the red notebook" is called "red notebook".
    """
    ranked = [(_rank(surface, text), -order, surface) for order, (surface, text) in enumerate(wordings)]
    return _bare(max(ranked)[2])


def _check_ids(prompt_id: int, entities: Sequence[Entity]) -> None:
    seen: dict[int, str] = {}
    for entity in entities:
        number = entity["global_id"]
        if number < 1:
            raise UserError(f"prompt {prompt_id}: '{entity['entity']}' has global ID {number}; IDs count from 1")
        if number in seen:
            raise UserError(
                f"prompt {prompt_id} gives global ID {number} to both '{seen[number]}' and '{entity['entity']}': "
                "give each entity of a prompt an ID of its own"
            )
        seen[number] = entity["entity"]


def _with_appearance(
    member: CastMember | None, prompt_id: int, entity: Entity, prompts: dict[str, PromptRecord]
) -> CastMember:
    instance: Instance = {"prompt_id": prompt_id, "entity": entity["entity"], "attrs": list(entity["attrs"])}
    if member is None:
        member = {
            "global_id": entity["global_id"],
            "kind": entity["kind"],
            "name": entity["entity"],
            "all_entities": [],
            "all_attrs": [],
            "instances": [],
        }
    instances = [*(known for known in member["instances"] if known["prompt_id"] != prompt_id), instance]
    wordings = [(known["entity"], _text_of(prompts, known["prompt_id"])) for known in instances]
    return {
        **member,
        "name": best_name(wordings),
        "all_entities": _appended(member["all_entities"], [entity["entity"]]),
        "all_attrs": _appended(member["all_attrs"], entity["attrs"]),
        "instances": instances,
    }


def _text_of(prompts: Mapping[str, PromptRecord], prompt_id: int) -> str:
    return prompts[str(prompt_id)]["text"] if str(prompt_id) in prompts else ""


def _as(frame: Frame, old: int, new: int) -> Frame:
    """Return a frame in which what was scored as ``old`` is ``new``."""
    scores = {(str(new) if key == str(old) else key): score for key, score in frame["entity_scores"].items()}
    shown = [new if one == old else one for one in frame["associated_entities"]]
    return {**frame, "entity_scores": scores, "associated_entities": shown}


def _appended(known: Sequence[str], new: Sequence[str]) -> list[str]:
    """Append what is not there yet; case, spaces and a leading article make no difference."""
    kept: dict[str, str] = {}
    for text in [*known, *new]:
        key = _bare(" ".join(text.split())).casefold()
        if key:
            kept.setdefault(key, text)
    return list(kept.values())


def _worded(instance: Instance) -> str:
    return ", ".join([instance["entity"], *instance["attrs"]])


def _bare(surface: str) -> str:
    """Strip leading determiners, but never down to nothing."""
    words = surface.split()
    while len(words) > 1 and words[0].casefold() in DETERMINERS:
        words = words[1:]
    return " ".join(words)


def _rank(surface: str, text: str) -> int:
    """2 for a proper name, 1 for a description, 0 for a pronoun."""
    if surface.strip().casefold() in PRONOUNS:
        return 0
    return 2 if _is_proper_name(surface, text) else 1


def _is_proper_name(surface: str, text: str) -> bool:
    """Tell a name by its capitals, unless the prompt writes the same words in lower case as well."""
    words = re.findall(r"[^\W_]+(?:['’.-][^\W_]+)*", surface)
    if not words or words[0].casefold() in DETERMINERS or not words[0][0].isupper():
        return False
    if not all(word[0].isupper() or word in NAME_PARTICLES for word in words):
        return False
    return re.search(rf"\b{re.escape(surface.strip().lower())}\b", text) is None
