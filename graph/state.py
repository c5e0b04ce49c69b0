"""The graph's state: where a video stands, who is in it and what it remembers, as small JSON.

It is the truth for cast, memory frames and position, so LangGraph's checkpoints are the video's checkpoints. Tensors,
pictures and per-chunk records never stand here: latents and memory frames lie in the run folder, the chunks' records in
its event log. Nor do prompts that are long behind: they are in that log too (see `memreel.graph.journal`). So a state
grows with who and what is new in the story, never with the length of the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from memreel.agent.reading import ChatCall, ParsedEntity
from memreel.errors import StoreError
from memreel.memory.records import BankState, Entity, empty_bank


class ChunkRef(TypedDict):
    """A chunk of the local window: its number in the video, the prompt it was made under, its number there."""

    index: int
    prompt_id: int
    chunk_id: int


class ReadingRecord(TypedDict):
    """How the current prompt was read: by whom, in how many seconds, how many of them the video had to wait."""

    by: str
    seconds: float
    waited: float
    place: NotRequired[str]
    notes: list[str]
    calls: list[ChatCall]


class CheckRecord(TypedDict):
    """A look at an entity's memory frame, of chunk ``index``: under way or done, and how well it shows it (0..1)."""

    frame: str
    index: int
    done: bool
    score: float | None


class ToolCall(TypedDict):
    """A tool call of the director's; ``wrong`` says why it cannot be carried out."""

    id: str
    name: str
    args: dict[str, Any]
    wrong: NotRequired[str]


class Exchange(TypedDict):
    """A reply of the director's: what it said, what it called, and the results by the calls' ids."""

    said: str
    calls: list[ToolCall]
    results: dict[str, str]


class Order(TypedDict):
    """Chunks that the director has ordered: by which call ("" for none), and how many the video had then."""

    id: str
    begun: int


class DirectorRecord(TypedDict):
    """The director's part of the state: what it has spent, its last exchanges, what is still to be carried out.

    ``calls`` counts chat requests, ``chunks`` those rendered on its orders, ``seconds`` the time waited for answers,
    ``fruitless`` the replies in a row that led nowhere. ``unlogged`` is an event to be logged once the log was cut.
    """

    calls: int
    chunks: int
    seconds: float
    fruitless: int
    exchanges: list[Exchange]
    pending: list[ToolCall]
    order: Order | None
    goto: Literal["direct", "generate_chunk", "merge_video"]
    unlogged: dict[str, Any]


class MemreelInput(TypedDict):
    """What a caller gives: the prompts in order, and the name of the run folder if it should not be derived.

    A ``live`` stream may begin with no prompts, and waits for more when it has shown them.
    """

    prompts: Annotated[
        list[str],
        Field(
            description="The script: one text for each scene of about ten seconds, in order. Describe people and "
            "things where they first appear; call them by name from then on."
        ),
    ]
    video_id: NotRequired[
        Annotated[str, Field(description="Name of the run folder: letters, digits, hyphens; derived if left out.")]
    ]
    live: NotRequired[
        Annotated[bool, Field(description="Wait for further prompts when those given were shown, instead of ending.")]
    ]


class PushRecord(TypedDict):
    """When a prompt was pushed: by the clock, in seconds, and by the chunks that were finished then."""

    at: float
    index: int


class MemreelState(TypedDict, total=False):
    """The state between two nodes; a key is absent until the node that sets it has run.

    Attributes:
        prompts: the script, as the user wrote it, without its ``earlier`` first prompts.
        earlier: how many of the script's prompts are long behind and lie, like the bank's records of them, in the log.
        video_id: name of the run folder inside the context's ``out``.
        session_id: the open session (stream, writer) in this process that the position below refers to.
        prompt_id: number of the current prompt, from 1; 0 before the first.
        chunk_id: chunks of the current prompt that are finished, each with its latents in the run folder.
        chunks: chunks that the current prompt is to have.
        index: chunks of the video that are finished.
        reading: how the current prompt was read.
        parsed: the current prompt's entities as read, before they have global IDs.
        entities: the current prompt's entities with global IDs.
        text: what the video model is given for the current prompt (enriched).
        bank: cast, memory frames' records, prompts, and the frames that the next chunk attends to.
        window: the chunks in the model's local window, oldest first.
        attended: ids of the memory frames that the last chunk attended to.
        evicted: the chunk that the last one pushed out of the window and the bank has not looked at yet, or ``None``.
        logged: lines of the run's event log that this state accounts for.
        log: checksum of those lines: a state belongs to the run that wrote them and to none that branched off.
        live: whether the stream waits for prompts instead of ending.
        taken: lines of its inbox that are part of ``prompts`` by now.
        pushed: for prompts that came in by push and have no chunk yet, by number, when they were pushed.
        checks: looks at entities' pictures by global ID (``verify.attributes``).
        director: the director's record where a chat model steers (``agent.profile``), else ``None``.
        video: path of the finished video.
    """

    prompts: list[str]
    earlier: int
    video_id: str
    session_id: str
    prompt_id: int
    chunk_id: int
    chunks: int
    index: int
    reading: ReadingRecord
    parsed: list[ParsedEntity]
    entities: list[Entity]
    text: str
    bank: BankState
    window: list[ChunkRef]
    attended: list[str]
    evicted: ChunkRef | None
    logged: int
    log: str
    live: bool
    taken: int
    pushed: dict[str, PushRecord]
    checks: dict[str, CheckRecord]
    director: DirectorRecord | None
    video: str


def before_first_prompt(
    video_id: str, prompts: Sequence[str], session_id: str, directed: bool, live: bool = False
) -> MemreelState:
    """Return the state of a video before its first prompt and event; ``directed`` if a director is to steer."""
    director: DirectorRecord = {
        "calls": 0,
        "chunks": 0,
        "seconds": 0.0,
        "fruitless": 0,
        "exchanges": [],
        "pending": [],
        "order": None,
        "goto": "direct",
        "unlogged": {},
    }
    return {
        "prompts": list(prompts),
        "earlier": 0,
        "video_id": video_id,
        "session_id": session_id,
        "prompt_id": 0,
        "chunk_id": 0,
        "chunks": 0,
        "index": 0,
        "bank": empty_bank(),
        "reading": {"by": "", "seconds": 0.0, "waited": 0.0, "notes": [], "calls": []},
        "parsed": [],
        "entities": [],
        "text": "",
        "window": [],
        "attended": [],
        "evicted": None,
        "logged": 0,
        "log": "",
        "live": live,
        "taken": 0,
        "pushed": {},
        "checks": {},
        "director": director if directed else None,
        "video": "",
    }


def script_length(state: MemreelState) -> int:
    """Return how many prompts the script has so far."""
    return state["earlier"] + len(state["prompts"])


def prompt_at(state: MemreelState, number: int) -> str:
    """Return the script's prompt ``number``, from 1, which is not one of the ``earlier`` ones."""
    return state["prompts"][number - 1 - state["earlier"]]


def slid(window: Sequence[ChunkRef], made: ChunkRef, left: int | None) -> tuple[list[ChunkRef], ChunkRef | None]:
    """Return the window after a chunk was made, and the chunk that left it for that, by index ``left``, if one did.

    Raises:
        StoreError: the chunk that left was not in the window.
    """
    chunks = [*window, made]
    if left is None:
        return chunks, None
    evicted = next((chunk for chunk in chunks if chunk["index"] == left), None)
    if evicted is None:
        raise StoreError(f"chunk {left} left the window, but the state does not have it there")
    chunks.remove(evicted)
    return chunks, evicted
