"""From a scene to a clip request: its words, its pictures, its place in the film.

A cut gets reference pictures from the bank, a continuation the last picture that the film shows of the segment before;
a model that can do both gets both. Older pictures are shrunk on the way out (`memreel.film.context`), but not those of
somebody who came out wrong. Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from memreel.configs.schema import RunConfig
from memreel.film.clips.protocol import Capabilities, ClipRequest, Reference
from memreel.film.context import shrink_to, weight
from memreel.film.joining import shown
from memreel.film.memory import FilmMemory, png
from memreel.film.pictures import Kept
from memreel.film.plan import Plan, Scene
from memreel.film.prompting import tell
from memreel.film.slots import allocate, caption_of, tag_of
from memreel.film.state import Due, FilmState
from memreel.memory.cast import in_picture
from memreel.memory.records import BankState, Entity, Frame
from memreel.output.durable import write_whole

FPS = 16
"""Pictures a second in which the overlap of a cross-fade is counted."""
RETAKE = 7919
"""What a retake adds to the seed."""


def first_take(scene: int) -> Due:
    """Return the first take of a scene, to be made."""
    return {"scene": scene, "take": 1, "stressed": [], "text": ""}


class Shooting:
    """Makes the requests of one film."""

    def __init__(
        self, config: RunConfig, able: Capabilities, memory: FilmMemory, pictures: Kept, folder: Path, *, leaves: bool
    ) -> None:
        """Make requests for a model that is ``able`` to do so much.

        ``folder`` is the film's, ``pictures`` are those of its clips; ``leaves`` says whether pictures leave this
        machine, and older ones are shrunk then.
        """
        self._config, self._able, self._memory, self._leaves = config, able, memory, leaves
        self._pictures, self._folder, self._sent = pictures, folder, folder / "sent"

    def request(self, state: FilmState, plan: Plan, due: Due) -> tuple[ClipRequest, list[str]]:
        """Return the request of a take that is due, and the ids of the frames that go with it.

        Raises:
            StoreError: a picture cannot be read or written.
        """
        number, bank = due["scene"], state["bank"]
        scene = plan.scenes[number - 1]
        entities = bank["prompts"][str(number)]["entities"]
        before = next((shot for shot in state["shots"] if shot["scene"] == number - 1), None)
        first = None
        if scene.transition == "continuation" and before is not None and self._able.first_frame:
            first = self._sent / f"{before['key']}_last.png"
            self._sent.mkdir(exist_ok=True)
            path = self._folder / before["path"]
            last = shown(self._pictures.facts(path), plan.scenes[number - 2].seconds, before["repeats"])[-1]
            write_whole(first, png(self._pictures.get(path, [last])[last]))
        frames = self._frames(bank, entities, due["stressed"])
        if first is not None and not self._able.references_with_first_frame:
            frames = []
        request = replace(
            self._wish(plan, scene, number, entities, bank, due),
            first_frame=first,
            references=self._references(bank, frames, number, due["stressed"]),
            after=before["key"] if before is not None else "",
        )
        return request, [frame["frame_id"] for frame in frames]

    def sketched(self, state: FilmState, plan: Plan, number: int) -> ClipRequest:
        """Return about what a scene's request will be, before anything is shot: for estimates and refusals."""
        scene, bank = plan.scenes[number - 1], state["bank"]
        named = {member["name"].casefold(): member for member in bank["cast"].values()}
        entities: list[Entity] = [
            {"entity": m["name"], "kind": m["kind"], "attrs": [], "global_id": m["global_id"]}
            for name in scene.characters
            if (m := named.get(name.casefold())) is not None
        ]
        wish = self._wish(plan, scene, number, entities, bank, first_take(number))
        if scene.transition == "continuation" and self._leaves and self._able.first_frame:
            return replace(wish, first_frame=self._stand_in())
        references = self._references(bank, self._frames(bank, entities, []), number, [])
        before = {name for earlier in plan.scenes[: number - 1] for name in earlier.characters}
        known = [entity for entity in entities if entity["entity"] in before]
        if not references and self._leaves and known and self._able.references:  # by then the bank will have some
            references = (Reference(self._stand_in(), "somebody", known[0]["entity"]),)
        return replace(wish, references=references)

    def _stand_in(self) -> Path:
        """Return a picture that stands for one that is still to be made."""
        path = self._sent / "stand_in.png"
        if not path.is_file():
            self._sent.mkdir(parents=True, exist_ok=True)
            write_whole(path, png(np.zeros((9, 16, 3), dtype=np.uint8)))
        return path

    def sent_bytes(self, request: ClipRequest) -> int:
        """Return the size of all pictures that go with a request."""
        files = [r.path for r in request.references] + [p for p in (request.first_frame, request.last_frame) if p]
        return sum(path.stat().st_size for path in files)

    def _wish(
        self, plan: Plan, scene: Scene, number: int, entities: Sequence[Entity], bank: BankState, due: Due
    ) -> ClipRequest:
        if due["text"]:
            scene = scene.model_copy(update={"text": due["text"]})
        telling = tell(plan, scene, entities, bank["cast"], self._able.prompt_units, due["stressed"])
        following = plan.scenes[number] if number < len(plan.scenes) else None
        fades = following is not None and following.transition == "crossfade"
        return ClipRequest(
            key=f"s{number:02d}a{due['take']}",
            prompt=telling.full,
            plain=telling.plain,
            seconds=self._seconds(scene, self._config.film.overlap / FPS if fades else 0.0),
            seed=(self._config.seed + RETAKE * (due["take"] - 1)) % 2**31,
            ratio=plan.ratio,
            quality=self._config.film.quality,
            style=plan.style,
        )

    def _seconds(self, scene: Scene, fade: float) -> float:
        """Return how much is asked for: what fades out comes on top, as far as the model's longest clip has room."""
        longest = self._able.seconds[1]
        return round(scene.seconds if scene.seconds > longest else min(scene.seconds + fade, longest), 3)

    def _frames(self, bank: BankState, entities: Sequence[Entity], stressed: Sequence[int]) -> list[Frame]:
        """Return the bank's frames for a scene; those whose looks came out wrong come first and get the spare slots."""
        ids = [entity["global_id"] for entity in in_picture(entities)]
        ids.sort(key=lambda global_id: global_id not in stressed)
        return allocate(lambda global_id: self._memory.best(bank, global_id), ids, self._able.references)

    def _references(
        self, bank: BankState, frames: Sequence[Frame], number: int, stressed: Sequence[int]
    ) -> tuple[Reference, ...]:
        references: list[Reference] = []
        for frame in frames:
            age = number - 1 - frame["prompt_id"] if frame["prompt_id"] else 0  # what the user gave does not age
            if set(stressed) & set(frame["associated_entities"]):
                age = 0
            counts = weight(age, self._config.film.decay) if self._leaves else 1.0
            path = shrink_to(self._memory.path(frame["frame_id"]), counts, self._sent)
            shown = [bank["cast"][str(i)] for i in frame["associated_entities"] if str(i) in bank["cast"]]
            tags = [reference.tag for reference in references]
            tag = tag_of(shown[0], tags) if shown else f"scene_{len(references) + 1}"
            references.append(Reference(path, tag, caption_of(bank, frame), frame["frame_id"]))
        return tuple(references)
