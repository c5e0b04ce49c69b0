"""What a memory frame is worth: for one entity, for a prompt, for the archive.

The worth of a frame for an entity is its score, raised a little where it carries identity best (the entity is alone in
it; the prompt that made it described the entity) and lowered where it adds nothing (the video's first chunk is in the
sink, which every chunk attends to). These are factors near 1, so they decide between frames with near-equal scores and
not against a plainly better one. A blind scoring strategy says nothing about a picture: its scores count as they are.

On top of it: `relevance` for a prompt, `compete` for a slot of its memory, `unwanted` for what the archive lets go.
Everything here is a function of the bank's state; nothing touches tensors or files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from memreel.configs.schema import MemoryConfig
from memreel.memory.cast import in_picture, leaves
from memreel.memory.records import BankState, Frame

SINK_INDEX = 0
"""The chunk that the sink holds: the video's first."""


@dataclass(frozen=True)
class Taste:
    """Factors on a score: ``1 + alone`` and ``1 + described`` where they apply, ``1 - sink`` in the sink's chunk.

    A score of at least ``presence`` shows an entity plainly; below it a frame is indexed on weak evidence.
    """

    alone: float = 0.0
    described: float = 0.0
    sink: float = 0.0
    presence: float = 0.0

    @classmethod
    def of(cls, config: MemoryConfig, sees: bool) -> Taste:
        """Return the configured taste, or none at all for a strategy that does not see the picture."""
        if not sees:
            return cls()
        return cls(config.prefer_alone, config.prefer_described, config.sink_discount, config.presence)


def wanted_ids(bank: BankState, prompt_id: int) -> list[int]:
    """Return the global IDs that a prompt wants memory frames of: its entities' but for those only mentioned.

    Who is on the way out is still in the window, so slots go to those who stay or come, if there are any.
    """
    shown = in_picture(bank["prompts"][str(prompt_id)]["entities"])
    return [entity["global_id"] for entity in [one for one in shown if not leaves(one)] or shown]


def coming_ids(bank: BankState, prompt_id: int) -> set[int]:
    """Return those of the wanted whom the prompt before did not end with: the window does not show them."""
    before = bank["prompts"].get(str(prompt_id - 1), {"entities": []})["entities"]
    there = {entity["global_id"] for entity in in_picture(before) if not leaves(entity)}
    return set(wanted_ids(bank, prompt_id)) - there


def belongs(bank: BankState, frame: Frame, prompt_id: int) -> bool:
    """Tell whether a prompt made ``frame`` or wants an entity that the frame shows."""
    return frame["prompt_id"] == prompt_id or not _shown([frame]).isdisjoint(wanted_ids(bank, prompt_id))


def worth(bank: BankState, frame: Frame, global_id: int, taste: Taste) -> float:
    """Return what ``frame`` is worth for an entity it is indexed under; 0 for any other."""
    if global_id not in frame["associated_entities"]:
        return 0.0
    alone = len(frame["associated_entities"]) == 1
    born_under = bank["prompts"][str(frame["prompt_id"])]["entities"]
    described = any(entity["global_id"] == global_id and entity["attrs"] for entity in born_under)
    return (
        _score(frame, global_id)
        * (1 + taste.alone * alone)
        * (1 + taste.described * described)
        * (1 - taste.sink * (frame["index"] == SINK_INDEX))
    )


def showing(bank: BankState, global_id: int, taste: Taste) -> list[Frame]:
    """Return the frames that show an entity plainly, or those indexed under it on weak evidence if there is none."""
    own = [frame for frame in bank["frames"].values() if global_id in frame["associated_entities"]]
    return [frame for frame in own if _score(frame, global_id) >= taste.presence] or own


def relevance(bank: BankState, frame: Frame, ids: Collection[int], taste: Taste) -> float:
    """Return the mean worth over ``ids``: the share of them that the frame covers times its worth for those."""
    return sum(worth(bank, frame, global_id, taste) for global_id in ids) / len(ids) if ids else 0.0


def compete(bank: BankState, newcomer: Frame, prompt_id: int, slots: int, taste: Taste) -> list[str]:
    """Return the current prompt's memory after ``newcomer`` asked for a slot.

    A frame born under another prompt competes only if it shows an entity of this one. Free slots are filled first; then
    the worst of all leaves: first a frame without which every entity stays covered, then one that neither this prompt
    made nor shows its entities, then the least relevant, then the lowest score; the newcomer yields to its equals. It
    takes over the slot that it wins, so that the frames which stay keep their positions in the context.
    """
    memory = list(bank["memory"])
    ids = set(wanted_ids(bank, prompt_id))
    if slots < 1 or newcomer["frame_id"] in memory or not belongs(bank, newcomer, prompt_id):
        return memory
    if len(memory) < slots:
        return [*memory, newcomer["frame_id"]]
    rivals = [newcomer, *(bank["frames"][frame_id] for frame_id in memory)]

    def standing(frame: Frame) -> tuple[int, bool, float, float]:
        others = _shown(other for other in rivals if other is not frame)
        only_cover = len((set(frame["associated_entities"]) & ids) - others)
        return only_cover, belongs(bank, frame, prompt_id), relevance(bank, frame, ids, taste), frame["score"]

    worst = min(rivals, key=standing)["frame_id"]
    return [newcomer["frame_id"] if frame_id == worst else frame_id for frame_id in memory]


def unwanted(bank: BankState, config: MemoryConfig, taste: Taste) -> set[str]:
    """Return the frames that nobody wants any more.

    Each entity wants its ``frames_per_entity`` best, and once one frame plainly shows it, none on weak evidence. Each
    prompt wants as many of the frames that show nobody, newest prompts first and ``scenery_frames`` in all. The memory
    wants what is in it. A frame stays while one of them wants it, so the archive holds at most ``frames_per_entity``
    times the cast plus scenery plus memory, however long the video.
    """
    wanted = set(bank["memory"])
    for member in bank["cast"].values():
        global_id = member["global_id"]
        own = [
            (worth(bank, frame, global_id, taste), frame["index"], frame["frame_id"])
            for frame in showing(bank, global_id, taste)
        ]
        wanted |= {name for _, _, name in sorted(own, reverse=True)[: config.frames_per_entity]}
    wanted |= _wanted_scenery(bank["frames"].values(), config)
    return set(bank["frames"]) - wanted


def plainest(bank: BankState, global_id: int, presence: float) -> Frame | None:
    """Return the frame that shows an entity best, if one plainly does: with a score of at least ``presence``."""
    shown = [frame for frame in bank["frames"].values() if global_id in frame["associated_entities"]]
    plain = [frame for frame in shown if _score(frame, global_id) >= presence]
    return max(plain, key=lambda frame: (_score(frame, global_id), frame["index"]), default=None)


def blended(bank: BankState, name: str, global_id: int, score: float, weight: float) -> BankState:
    """Return ``bank`` with ``weight`` of another ``score`` in what a frame is worth for an entity."""
    frame = bank["frames"].get(name)
    if frame is None or not weight or str(global_id) not in frame["entity_scores"]:
        return bank
    mixed = round((1 - weight) * frame["entity_scores"][str(global_id)] + weight * score, 6)
    scores = {**frame["entity_scores"], str(global_id): mixed}
    after: Frame = {**frame, "entity_scores": scores}
    after["score"] = sum(_score(after, one) for one in frame["associated_entities"]) / max(
        1, len(frame["associated_entities"])
    )
    return {**bank, "frames": {**bank["frames"], name: after}}


def _wanted_scenery(frames: Iterable[Frame], config: MemoryConfig) -> set[str]:
    by_prompt: dict[int, list[Frame]] = {}
    for frame in frames:
        if not frame["associated_entities"]:
            by_prompt.setdefault(frame["prompt_id"], []).append(frame)
    kept: list[str] = []
    for prompt_id in sorted(by_prompt, reverse=True):
        best = sorted(by_prompt[prompt_id], key=lambda frame: (frame["score"], frame["index"]), reverse=True)
        kept += [frame["frame_id"] for frame in best[: config.frames_per_entity]]
    return set(kept[: config.scenery_frames])


def _score(frame: Frame, global_id: int) -> float:
    """Return an entity's score; one that was put into an edited state without a score counts by the frame's own."""
    return frame["entity_scores"].get(str(global_id), frame["score"])


def _shown(frames: Iterable[Frame]) -> set[int]:
    return {global_id for frame in frames for global_id in frame["associated_entities"]}
