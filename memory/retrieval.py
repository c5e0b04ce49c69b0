"""Retrieval: which memory frames a prompt starts with.

Strategies by the name that ``memory.retrieval`` takes. `identity` follows the global IDs, `semantic` the most similar
earlier prompt, `none` hands nothing back. A strategy is a function of the bank's state and of one question it may ask,
which earlier prompts are most similar; it never sees tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from memreel.memory.ranking import Taste, belongs, prompt_ids, relevance, showing
from memreel.memory.records import BankState, Frame


@dataclass(frozen=True)
class Request:
    """What a strategy may look at: the bank, the prompt about to start, how many frames, and similar prompts."""

    bank: BankState
    prompt_id: int
    slots: int
    taste: Taste
    similar: Callable[[], list[int]]
    """Earlier prompts, most similar first; asked only when needed, since it embeds and searches."""


@dataclass(frozen=True)
class Retrieval:
    """A strategy: the frames that a prompt starts with, and whether frames compete for its memory afterwards."""

    choose: Callable[[Request], list[str]]
    competes: bool = True


def by_identity(request: Request) -> list[str]:
    """Frames of the prompt's global IDs: by the share of them covered, then by worth, everyone before anyone twice.

    Each pick is the frame that covers most of the entities still open; once no frame covers another one, all are open
    again. If no frame shows any of them, the most similar earlier prompt stands in.
    """
    bank, taste = request.bank, request.taste
    ids = set(prompt_ids(bank, request.prompt_id))
    shown = {frame["frame_id"]: frame for number in ids for frame in showing(bank, number, taste)}
    if not shown:
        return by_similar_prompt(request)
    pool = list(shown.values())
    chosen: list[str] = []
    still_open = set(ids)
    while pool and len(chosen) < request.slots:
        if not any(still_open.intersection(frame["associated_entities"]) for frame in pool):
            still_open = set(ids)
        best = max(pool, key=lambda frame: _rank(bank, frame, still_open, taste))
        pool.remove(best)
        chosen.append(best["frame_id"])
        still_open = still_open.difference(best["associated_entities"])
    return chosen


def by_similar_prompt(request: Request) -> list[str]:
    """The memory frames of the most similar earlier prompt that has any left, then others that it generated.

    Frames that were only lent to that prompt, neither made by it nor showing its entities, are not lent on.
    """
    bank, frames = request.bank, request.bank["frames"]
    for prompt_id in request.similar():
        listed = [name for name in bank["prompts"][str(prompt_id)]["memory"] if name in frames]
        closing = [name for name in listed if belongs(bank, frames[name], prompt_id)]
        born = [frame for frame in frames.values() if frame["prompt_id"] == prompt_id]
        born.sort(key=lambda frame: (frame["score"], frame["index"]), reverse=True)
        offered = list(dict.fromkeys([*closing, *(frame["frame_id"] for frame in born)]))
        if offered:
            return offered[: request.slots]
    return []


def nothing(request: Request) -> list[str]:
    """No frames: the video model sees only its sink and its newest chunks."""
    del request
    return []


RETRIEVALS: Mapping[str, Retrieval] = {
    "identity": Retrieval(by_identity),
    "semantic": Retrieval(by_similar_prompt),
    "none": Retrieval(nothing, competes=False),
}
"""Strategies by the name that ``memory.retrieval`` takes."""


def _rank(bank: BankState, frame: Frame, ids: set[int], taste: Taste) -> tuple[int, float, int]:
    covered = len(ids.intersection(frame["associated_entities"]))
    return covered, relevance(bank, frame, ids, taste), frame["index"]
