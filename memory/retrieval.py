"""Retrieval: which memory frames a prompt starts with.

Strategies by the name that ``memory.retrieval`` takes. `identity` follows the global IDs, `semantic` the most similar
earlier prompt; `recency`, `first` and `random` look neither at who is asked for nor at the text, and are there to be
compared with; `none` hands nothing back. A strategy is a function of the bank's state, of the run's seed and of one
question it may ask, which earlier prompts are most similar; it never sees tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from memreel.memory.ranking import (
    SINK_INDEX,
    Taste,
    belongs,
    coming_ids,
    compete,
    relevance,
    showing,
    wanted_ids,
    worth,
)
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
    seed: int = 0
    """The run's seed, for a strategy that draws."""


Compete = Callable[[BankState, Frame, int, int, Taste], list[str]]
"""(bank, newcomer, prompt, slots, taste) to the memory that the next chunk attends to."""


@dataclass(frozen=True)
class Retrieval:
    """A strategy: the frames that a prompt starts with, and what becomes of them when a frame is evicted under it."""

    choose: Callable[[Request], list[str]]
    compete: Compete = compete


def by_identity(request: Request) -> list[str]:
    """Frames of the prompt's global IDs, everyone before anyone twice.

    While there are slots for all entities, each gets the frame that is worth most for it alone: one that seems to show
    two may show only one of two look-alikes. Slots to spare go first to those whom the window does not show. In a
    crowd, with fewer slots than entities, the frame that covers most of those still open comes first. If no frame shows
    any of them, the most similar earlier prompt stands in, without frames that show somebody who is not wanted.
    """
    bank, taste = request.bank, request.taste
    ids, coming = set(wanted_ids(bank, request.prompt_id)), coming_ids(bank, request.prompt_id)
    shown = {frame["frame_id"]: frame for number in ids for frame in showing(bank, number, taste)}
    if not shown:
        others = {entity["global_id"] for entity in bank["prompts"][str(request.prompt_id)]["entities"]} - ids
        near = {key: one for key, one in bank["frames"].items() if others.isdisjoint(one["associated_entities"])}
        return by_similar_prompt(replace(request, bank={**bank, "frames": near}))
    pool = list(shown.values())
    chosen: list[str] = []
    still_open = set(ids)
    while pool and len(chosen) < request.slots:
        if not any(still_open.intersection(frame["associated_entities"]) for frame in pool):
            still_open = set(ids)
        if len(ids) > request.slots:
            best = max(pool, key=lambda frame: _rank(bank, frame, still_open, taste))
            still_open = still_open.difference(best["associated_entities"])
        else:
            pairs = [
                (one in coming, worth(bank, frame, one, taste), frame["index"], i, one)
                for i, frame in enumerate(pool)
                for one in still_open
            ]
            *_, place, served = max(pairs)
            best = pool[place]
            still_open.remove(served)
        pool.remove(best)
        chosen.append(best["frame_id"])
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


def by_recency(request: Request) -> list[str]:
    """The newest frames of the archive, oldest of them first."""
    return [frame["frame_id"] for frame in _in_time(request.bank)[-request.slots :]] if request.slots else []


def by_birth(request: Request) -> list[str]:
    """The first frames of the video that are not in the sink anyway."""
    return [frame["frame_id"] for frame in _in_time(request.bank) if frame["index"] != SINK_INDEX][: request.slots]


def at_random(request: Request) -> list[str]:
    """Frames of the archive, each equally likely: a function of the seed, the prompt and what is kept."""
    kept = [frame["frame_id"] for frame in _in_time(request.bank)]
    drawn = np.random.default_rng((request.seed, request.prompt_id)).permutation(len(kept))[: request.slots]
    return [kept[i] for i in drawn.tolist()]


def shut_out(bank: BankState, newcomer: Frame, prompt_id: int, slots: int, taste: Taste) -> list[str]:
    """Leave the memory as it is."""
    del newcomer, prompt_id, slots, taste
    return list(bank["memory"])


def fill(bank: BankState, newcomer: Frame, prompt_id: int, slots: int, taste: Taste) -> list[str]:
    """Give the newcomer a free slot, if there is one."""
    del prompt_id, taste
    memory = list(bank["memory"])
    return memory if newcomer["frame_id"] in memory or len(memory) >= slots else [*memory, newcomer["frame_id"]]


def move_on(bank: BankState, newcomer: Frame, prompt_id: int, slots: int, taste: Taste) -> list[str]:
    """Let the newest frame push out the oldest."""
    del prompt_id, taste
    memory = [name for name in bank["memory"] if name != newcomer["frame_id"]]
    return [*memory, newcomer["frame_id"]][-slots:] if slots else []


RETRIEVALS: Mapping[str, Retrieval] = {
    "identity": Retrieval(by_identity),
    "semantic": Retrieval(by_similar_prompt),
    "recency": Retrieval(by_recency, move_on),
    "first": Retrieval(by_birth, fill),
    "random": Retrieval(at_random, fill),
    "none": Retrieval(nothing, shut_out),
}
"""Strategies by the name that ``memory.retrieval`` takes."""


def _rank(bank: BankState, frame: Frame, ids: set[int], taste: Taste) -> tuple[int, float, int]:
    covered = len(ids.intersection(frame["associated_entities"]))
    return covered, relevance(bank, frame, ids, taste), frame["index"]


def _in_time(bank: BankState) -> list[Frame]:
    return sorted(bank["frames"].values(), key=lambda frame: (frame["index"], frame["frame"]))
