"""The bank of a film: the same cast, frames and ranking as a stream's, over pictures.

A scene is a prompt of the bank, by number; prompt 0 is what was given before the first scene, the plan's characters and
the user's reference pictures. A memory frame is a picture of a finished segment, whoever made it; its scores say how
visible each entity is, by whatever eye the film has. As in `memreel.memory.bank`, the state is the truth and every
function returns another one. Nothing here knows of clip models or of LangGraph.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from memreel.agent.reading import ParsedEntity, PromptReader
from memreel.configs.schema import MemoryConfig
from memreel.errors import StoreError
from memreel.film.plan import Plan, Scene
from memreel.memory import cast, ranking
from memreel.memory.index import Candidate, Embed, TextIndex
from memreel.memory.records import BankState, Entity, Frame, PromptRecord, frame_id
from memreel.memory.scoring import present
from memreel.model.protocol import Pictures
from memreel.output.durable import write_whole

PROLOGUE = 0
"""The number of the prompt that stands for what was given before the first scene."""


@dataclass(frozen=True)
class Moment:
    """A picture of a segment on its way into the bank.

    ``chunk_id`` (from 1) and ``frame`` are its place in its scene, ``index`` its chunk's number over the film;
    ``scores`` say how visible each entity of the scene is in it, 0..1 by global ID.
    """

    picture: Pictures
    chunk_id: int
    frame: int
    index: int
    scores: Mapping[int, float]


class FilmMemory:
    """Cast and pictures of one film; the pictures lie in ``frames`` by id."""

    def __init__(self, config: MemoryConfig, frames: Path, embed: Embed, *, sees: bool) -> None:
        """Use the configured bounds and taste; ``sees`` says whether scores come from looking at the picture."""
        self.config, self.folder, self._sees = config, frames, sees
        taste = ranking.Taste.of(config, sees)
        self.taste = ranking.Taste(taste.alone, taste.described, 0.0, taste.presence)  # a film's clips have no sink
        self._index = TextIndex(embed)

    def candidates(self, bank: BankState, phrases: Sequence[str]) -> list[list[Candidate]]:
        """Return for each phrase the cast members that it most likely means."""
        found = self._index.nearest(cast.phrase_rows(bank), phrases, 5)
        return [[Candidate(global_id, similarity) for global_id, similarity in row] for row in found]

    def open(self, bank: BankState, plan: Plan) -> BankState:
        """Enter the plan's characters into the cast, under global IDs in their order."""
        entities: list[Entity] = [
            {
                "entity": character.name,
                "kind": character.kind,
                "attrs": list(character.attributes),
                "global_id": number,
            }
            for number, character in enumerate(plan.characters, start=1)
        ]
        text = " ".join(
            f"{c.name}: {', '.join(c.attributes)}." if c.attributes else f"{c.name}." for c in plan.characters
        )
        return cast.register(bank, PROLOGUE, text or plan.title, entities)

    def given(self, bank: BankState, pictures: Sequence[Pictures], shown: Sequence[Sequence[int]]) -> BankState:
        """Take the user's reference pictures in; ``shown`` has for each the global IDs of those that it shows.

        Raises:
            StoreError: a picture cannot be written.
        """
        moments = [
            Moment(picture, number, 0, -1, dict.fromkeys(who, 1.0))
            for number, (picture, who) in enumerate(zip(pictures, shown, strict=True), start=1)
        ]
        return self.admit(bank, PROLOGUE, moments) if moments else bank

    def read(self, bank: BankState, number: int, scene: Scene, reader: PromptReader) -> tuple[BankState, list[Entity]]:
        """Read a scene's text, give its entities their IDs, add the plan's that the text leaves unnamed."""

        def near(phrases: Sequence[str]) -> list[list[Candidate]]:
            return self.candidates(bank, phrases)

        named = {bank["cast"][key]["name"].casefold(): int(key) for key in bank["cast"]}
        planned = {name: named[name.casefold()] for name in scene.characters if name.casefold() in named}
        parsed = [_claimed(entity, planned, bank) for entity in reader.parse(scene.text, bank, near).entities]
        entities = [
            _in_it(one) if one["global_id"] in planned.values() else one
            for one in reader.match(scene.text, _once(parsed), bank, near)
        ]
        there = {entity["global_id"] for entity in entities}
        for name, global_id in planned.items():
            if global_id not in there:
                member = bank["cast"][str(global_id)]
                entities.append({"entity": name, "kind": member["kind"], "attrs": [], "global_id": global_id})
        return cast.register(bank, number, scene.text, entities), entities

    def admit(self, bank: BankState, number: int, moments: Sequence[Moment]) -> BankState:
        """Take a finished segment's pictures in; what nobody wants any more is let go, its file deleted.

        Raises:
            StoreError: a picture cannot be written.
        """
        frames = dict(bank["frames"])
        pictures: dict[str, Pictures] = {}
        for moment in moments:
            seen = present(moment.scores, self.config) if self._sees else list(moment.scores)
            name = frame_id(number, moment.chunk_id, moment.frame)
            pictures[name] = moment.picture
            frames[name] = _record(name, number, moment, seen)
        state: BankState = {**bank, "frames": frames, "memory": []}
        gone = ranking.unwanted(state, self.config, self.taste)
        for name in pictures.keys() - gone:
            write_whole(self.path(name), png(pictures[name]))
        for name in gone:
            self.path(name).unlink(missing_ok=True)
        kept = {name: frame for name, frame in frames.items() if name not in gone}
        prompts: dict[str, PromptRecord] = {
            key: {**record, "memory": [name for name in record["memory"] if name in kept]}
            for key, record in bank["prompts"].items()
        }
        return {**bank, "frames": kept, "prompts": prompts, "memory": []}

    def used(self, bank: BankState, number: int, names: Sequence[str]) -> BankState:
        """Record the frames that a scene was given."""
        record: PromptRecord = {**bank["prompts"][str(number)], "memory": list(names)}
        return {**bank, "prompts": {**bank["prompts"], str(number): record}, "memory": list(names)}

    def path(self, name: str) -> Path:
        """Return where a frame's picture lies."""
        return self.folder / f"{name}.png"

    def picture(self, name: str) -> Pictures:
        """Return a frame's picture.

        Raises:
            StoreError: it is gone or damaged.
        """
        try:
            with Image.open(self.path(name)) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise StoreError(f"cannot read {self.path(name)}: {error}; start over with --force") from error

    def best(self, bank: BankState, global_id: int) -> list[Frame]:
        """Return an entity's frames, the one that shows it best first."""
        own = ranking.showing(bank, global_id, self.taste)
        return sorted(own, key=lambda f: (-ranking.worth(bank, f, global_id, self.taste), f["index"], f["frame_id"]))


def clause(name: str, looks: Sequence[str]) -> str:
    """Return "Name: look, look.", the form in which looks are put back into a prompt."""
    return f"{name}: {', '.join(looks)}." if looks else f"{name}."


def _claimed(entity: ParsedEntity, planned: Mapping[str, int], bank: BankState) -> ParsedEntity:
    """Let an entity that the plan lists for the scene be that one, though its text introduces it as new."""
    if entity["same_as"] is not None:
        return entity
    words = entity["entity"].casefold().split()
    for name, global_id in planned.items():
        other = name.casefold().split()
        unseen = all(instance["prompt_id"] == PROLOGUE for instance in bank["cast"][str(global_id)]["instances"])
        if words == other or (unseen and words and words[-1] == other[-1]):
            return {**entity, "same_as": global_id, "new": False}
    return entity


def _in_it(entity: Entity) -> Entity:
    """Let somebody whom the plan lists for the scene be seen in it, though its text only mentions them."""
    return {**entity, "presence": "present"} if entity.get("presence") == "mentioned" else entity


def _once(parsed: Sequence[ParsedEntity]) -> list[ParsedEntity]:
    """Let each global ID be claimed once: the second one of it is somebody else, for matching to decide."""
    taken: set[int] = set()
    out: list[ParsedEntity] = []
    for entity in parsed:
        same = entity["same_as"]
        out.append({**entity, "same_as": None} if same in taken else entity)
        if same is not None:
            taken.add(same)
    return out


def _record(name: str, number: int, moment: Moment, seen: Sequence[int]) -> Frame:
    shown = [moment.scores[i] for i in seen]
    return {
        "frame_id": name,
        "frame_path": f"frames/{name}.png",
        "prompt_id": number,
        "chunk_id": moment.chunk_id,
        "frame": moment.frame,
        "index": moment.index,
        "score": round(float(np.mean(shown)), 6) if shown else 0.0,
        "entity_scores": {str(i): round(float(score), 6) for i, score in moment.scores.items()},
        "associated_entities": list(seen),
    }


def png(picture: Pictures) -> bytes:
    """Return a picture as a PNG file's content."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()
