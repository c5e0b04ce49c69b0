"""The event log's wire format: what one line of ``events.jsonl`` may say.

The same objects go to LangGraph's custom stream, so a live display and a report read one language. This module knows
nothing of who emits events or where they are kept.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from memreel.memory.records import Entity


class RunEvent(TypedDict):
    """First line: what is about to be made."""

    type: Literal["run"]
    video_id: NotRequired[str]
    prompts: NotRequired[list[str]]
    chunks_per_prompt: NotRequired[int]


class PromptEvent(TypedDict):
    """A prompt has been read: who is in it, the text for the video model, the memory it starts with.

    ``prompt`` is the user's text, ``text`` the enriched one; ``seconds`` the time reading and retrieval took.
    """

    type: Literal["prompt"]
    prompt_id: int
    prompt: str
    text: str
    entities: list[Entity]
    memory: list[str]
    reader: str
    seconds: float | dict[str, float]


class ChunkEvent(TypedDict):
    """A chunk is done: what it attended to, what left the window, what the bank kept of that, and what it cost.

    ``evicted`` is the index of the chunk that left; ``memory`` the frame ids attended, ``memory_next`` those of the
    next chunk; ``kept_scores`` the kept frame's score per global ID. ``seconds`` are per stage.
    """

    type: Literal["chunk"]
    index: int
    prompt_id: int
    chunk_id: int
    evicted: int | None
    kept_frame: str | None
    memory: list[str]
    memory_next: NotRequired[list[str]]
    kept_scores: NotRequired[dict[str, float]]
    seconds: dict[str, float]


class DoneEvent(TypedDict):
    """Last line: the run ended; ``status`` says how."""

    type: Literal["done"]
    status: NotRequired[str]


Event = dict[str, Any]
"""Any event as read from the log; its ``type`` says which of the above it is. Unknown types are to be passed over."""
