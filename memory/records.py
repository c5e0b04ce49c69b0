"""The plain records of the bank: what the graph's state, the JSON files and the report all speak of.

Every record is a `TypedDict` of JSON values, so it lives in LangGraph's state and in a checkpoint as it is. Global IDs
are integers from 1 inside a record; where they key a mapping they are strings, as in JSON. Tensors and pictures never
stand here: they lie in the run folder under a frame's id (see `memreel.memory.frames`).
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from memreel.configs.schema import Words

Kind = Literal["character", "object"]
Presence = Literal["present", "enters", "leaves", "mentioned"]
"""How somebody is in a prompt's picture; who is only ``mentioned`` ("he thinks of Mia") is not to be seen in it."""
Pronoun = Literal["he", "she", "it"]


class Entity(TypedDict):
    """One entity of one prompt, as the agent read it: surface form, visual attributes, global ID.

    ``presence`` is "present" where it is left out; ``pronoun`` is the one that the prompt has for it most often, if
    any.
    """

    entity: str
    kind: Kind
    attrs: list[str]
    global_id: int
    presence: NotRequired[Presence]
    pronoun: NotRequired[Pronoun]


class Instance(TypedDict):
    """One appearance of a cast member in a prompt, as it was worded there."""

    prompt_id: int
    entity: str
    attrs: list[str]


class CastMember(TypedDict):
    """A character or an object under its global ID; attributes are appended, never lost."""

    global_id: int
    kind: Kind
    name: str
    all_entities: list[str]
    all_attrs: list[str]
    instances: list[Instance]


class Frame(TypedDict):
    """A memory frame: one latent frame of an evicted chunk, with a score for each entity of its prompt.

    ``frame_id`` is ``p{prompt_id}_c{chunk_id}_f{frame}`` (prompt and chunk from 1, frame from 0); ``index`` is the
    chunk's number over the whole video; ``associated_entities`` are the IDs that the scores say are visible in it;
    ``score`` is their mean score there, or the prompt text's own score in a frame that shows none of them.
    """

    frame_id: str
    frame_path: str
    prompt_id: int
    chunk_id: int
    frame: int
    index: int
    score: float
    entity_scores: dict[str, float]
    associated_entities: list[int]


class PromptRecord(TypedDict):
    """What the bank keeps of a prompt: its text, its entities, the memory frames it ended with (if still kept)."""

    text: str
    entities: list[Entity]
    memory: list[str]


class BankState(TypedDict):
    """Everything the bank knows, as JSON: part of the graph's state and its only truth.

    ``memory`` lists the frame ids that the next chunk will attend to, at most the configured number.
    """

    cast: dict[str, CastMember]
    frames: dict[str, Frame]
    prompts: dict[str, PromptRecord]
    memory: list[str]


def empty_bank() -> BankState:
    """Return the bank of a video that has not begun."""
    return {"cast": {}, "frames": {}, "prompts": {}, "memory": []}


def frame_id(prompt_id: int, chunk_id: int, frame: int) -> str:
    """Return the id of latent frame ``frame`` (from 0) of a chunk (from 1) of a prompt (from 1)."""
    return f"p{prompt_id}_c{chunk_id}_f{frame}"


def phrase(member: CastMember, words: Words = "all") -> str:
    """Return "name, attribute, attribute …": the text a cast member is scored and embedded by, or a part of it.

    Without attributes there is always the name.
    """
    attributes = [] if words == "name" else member["all_attrs"]
    return ", ".join(attributes if words == "attributes" and attributes else [member["name"], *attributes])
