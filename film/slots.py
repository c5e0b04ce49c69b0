"""The slot allocator: which of the bank's frames a clip model is shown, when it takes only a few pictures.

One best frame for each entity of the scene first, in the order of the scene; spare slots go to the lead. A frame that
shows several of them takes one slot for all. Two entities never share a picture while each has one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from memreel.film.memory import clause
from memreel.memory.records import BankState, CastMember, Frame


def allocate(
    best: Callable[[int], Sequence[Frame]], entities: Sequence[int], slots: int, lead: int | None = None
) -> list[Frame]:
    """Choose at most ``slots`` frames.

    Args:
        best: an entity's frames, best first.
        entities: the scene's global IDs, the most important first.
        slots: how many pictures the clip model takes.
        lead: who gets the spare slots; by default the first entity that has a frame.

    Returns:
        The frames, those of the entities first, then the lead's others.
    """
    chosen: dict[str, Frame] = {}
    shown: set[int] = set()
    for global_id in entities:
        frames = best(global_id)
        if not frames or len(chosen) >= slots:
            continue
        own = next((frame for frame in frames if frame["frame_id"] not in chosen), None)
        if own is None:  # its only picture is there already, for somebody else
            continue
        if global_id in shown and len(entities) > slots:
            continue  # others need the slot more
        chosen[own["frame_id"]] = own
        shown.update(own["associated_entities"])
    leads = [lead] if lead is not None else [i for i in entities if best(i)][:1]
    for global_id in leads:
        for frame in best(global_id):
            if len(chosen) >= slots:
                break
            chosen.setdefault(frame["frame_id"], frame)
    return list(chosen.values())


def tag_of(member: CastMember, taken: Sequence[str] = ()) -> str:
    """Return a cast member's name as a provider's reference tag: 3 to 16 letters, digits or underscores, unique."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", member["name"]).strip("_")[:12]
    stem = plain if len(plain) >= 3 and plain[0].isalpha() else f"ref{plain}_{member['global_id']}"[:12]
    return next(tag for tag in (stem, *(f"{stem}_{n}" for n in range(2, 99))) if tag not in taken)


def caption_of(bank: BankState, frame: Frame) -> str:
    """Return in words what a frame shows: the text it was made under, or who is in it for a picture that was given."""
    record = bank["prompts"].get(str(frame["prompt_id"]))
    if frame["prompt_id"] and record is not None:
        return record["text"]
    shown = [bank["cast"][str(i)] for i in frame["associated_entities"] if str(i) in bank["cast"]]
    return " ".join(clause(member["name"], member["all_attrs"]) for member in shown)
