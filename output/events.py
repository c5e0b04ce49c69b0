"""The event log's wire format: what a line of ``events.jsonl`` says.

The same objects go to LangGraph's custom stream, so a live display and a report read one language. Readers pass over
types and keys they do not know. ``seconds`` are always by stage. This module knows nothing of who emits events or where
they are kept.
"""

from typing import Any, Literal, NotRequired, TypedDict

from memreel.agent.reading import ChatCall, Scene
from memreel.memory.records import Entity, Instance, PromptRecord


class RunEvent(TypedDict):
    """First line: what is about to be made, by which model and reader, in which size, under which configuration.

    ``chat_texts`` is the version of what is said to the chat model, if one is asked; ``session_id`` that of the graph's
    states which the folder belongs to. A ``live`` run gets prompts while it runs, besides those it begins with.
    """

    type: Literal["run"]
    video_id: str
    prompts: list[str]
    live: bool
    chunks_per_prompt: int
    chunk_pictures: int
    width: int
    height: int
    fps: int
    model: str
    reader: str
    chat_texts: int | None
    seed: int
    memory_slots: int
    config: dict[str, Any]
    made_with: dict[str, Any]
    session_id: str
    forked: NotRequired[dict[str, Any]]
    seconds: dict[str, float]


class PromptEvent(TypedDict):
    """A prompt has been read: who is in it, the text for the video model, the memory it starts with.

    ``prompt`` is the user's text, ``text`` the enriched one. ``reader`` is who read it, in ``read_in`` seconds, of
    which the video had to wait for ``waited``: a prompt that is known in time is read while the one before it renders.
    ``scene`` is where it plays and who comes, goes or is only mentioned. ``notes`` say what went otherwise than usual,
    ``calls`` what chat requests cost.
    """

    type: Literal["prompt"]
    prompt_id: int
    prompt: str
    text: str
    entities: list[Entity]
    scene: Scene
    memory: list[str]
    reader: str
    read_in: float
    waited: float
    notes: NotRequired[list[str]]
    calls: NotRequired[list[ChatCall]]
    seconds: dict[str, float]


class ChunkEvent(TypedDict):
    """A chunk is done: what it attended to, what left the window, what the bank kept of that, and what it cost.

    ``evicted`` is the index of the chunk that left; ``memory`` the frame ids attended, ``memory_next`` those of the
    next chunk; ``kept_scores`` the kept frame's score per global ID. The first chunk of a prompt that was pushed into a
    live stream says how long that took, in chunks and seconds.
    """

    type: Literal["chunk"]
    index: int
    prompt_id: int
    chunk_id: int
    evicted: int | None
    kept_frame: str | None
    kept_scores: NotRequired[dict[str, float]]
    pushed: NotRequired[dict[str, float]]
    memory: list[str]
    memory_next: list[str]
    seconds: dict[str, float]


class EarlierEvent(TypedDict):
    """A prompt long behind has left the graph's state, which keeps the newest: its record as it stood there.

    ``instances`` are its appearances in the cast, by global ID. Whoever wants a run's whole bank puts these back.
    """

    type: Literal["earlier"]
    prompt_id: int
    record: PromptRecord
    instances: dict[str, list[Instance]]


class CheckEvent(TypedDict):
    """An entity was looked at in a memory frame: by whom, what was seen (``None``: nothing), how well it shows."""

    type: Literal["check"]
    global_id: int
    frame: str
    by: str
    attrs: list[str] | None
    score: float | None
    notes: list[str]
    calls: list[ChatCall]


class SnapshotEvent(TypedDict):
    """A snapshot of the stream after ``index`` chunks was not written, or could not be gone on from, and why."""

    type: Literal["snapshot"]
    index: int
    fault: str


class DirectorEvent(TypedDict):
    """The director has acted: what it cost, which tools it called, what went otherwise than usual, what is spent."""

    type: Literal["director"]
    calls: NotRequired[list[ChatCall]]
    tools: NotRequired[list[dict[str, str]]]
    notes: NotRequired[list[str]]
    spent: dict[str, float]


class DoneEvent(TypedDict):
    """Last line: how the run ended; a finished one adds its figures, a failed one its error."""

    type: Literal["done"]
    status: str
    error: NotRequired[str]
    video: NotRequired[str]
    chunks: NotRequired[int]
    pictures: NotRequired[int]
    seconds: NotRequired[dict[str, float]]
    pictures_per_second: NotRequired[float | None]
    ratio: NotRequired[float | None]


Event = dict[str, Any]
"""Any event as read from the log; its ``type`` says which of the above it is."""
