"""Looks at takes: scores them against the film so far, and takes the pictures of the chosen ones into the bank.

Pictures of a take are those that the film shows of it, at its scene's key frames: what a clip has before or beyond them
is nobody's business. The critic decides nothing: what becomes of a score is the production's, how it comes about
`memreel.film.consistency`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memreel.configs.schema import FilmConfig
from memreel.errors import StoreError
from memreel.film.consistency import LAST_FRAMES, Against, Weights, judge
from memreel.film.context import Past, compress, story_so_far
from memreel.film.joining import shown
from memreel.film.memory import FilmMemory, Moment
from memreel.film.pictures import Kept
from memreel.film.plan import CHUNK_SECONDS, Plan, Scene
from memreel.film.planner import same
from memreel.film.sight import Eye, Wanted
from memreel.film.state import Take
from memreel.memory.cast import in_picture
from memreel.memory.records import BankState, phrase
from memreel.model.protocol import Pictures


class Critic:
    """The eye of one film, and what it compares."""

    def __init__(self, config: FilmConfig, folder: Path, memory: FilmMemory, eye: Eye, pictures: Kept) -> None:
        """Look through ``eye`` at the takes in the film's ``folder``."""
        self.eye = eye
        self._config, self._folder, self._memory, self._pictures = config, folder, memory, pictures

    def judged(self, plan: Plan, bank: BankState, shots: Sequence[Take], take: Take) -> Take:
        """Return a take with its score; ``shots`` are the takes chosen so far.

        Raises:
            StoreError: its file is gone or damaged.
        """
        film = self._config
        pictures, _ = self._key_pictures(plan, take)
        against = self._against(plan, bank, shots, take)
        score = judge(pictures, against, self.eye, Weights(film.spatial, film.temporal, film.character))
        return {**take, "score": score}

    def admitted(self, plan: Plan, bank: BankState, take: Take) -> BankState:
        """Take a shot's key frames into the bank; a frame that shows wrong looks counts for less.

        Raises:
            StoreError: its file is gone or damaged, or a picture cannot be written.
        """
        number = take["scene"]
        pictures, times = self._key_pictures(plan, take)
        start = round(sum(scene.seconds for scene in plan.scenes[: number - 1]) / CHUNK_SECONDS)
        wanted = _wanted(bank, number)
        moments = []
        for picture, at in zip(pictures, times, strict=True):
            seen = self.eye.look(picture, wanted)
            chunk = int(at / CHUNK_SECONDS)
            worth = {
                key: sight.visible * (1.0 if sight.likeness is None else sight.likeness) for key, sight in seen.items()
            }
            frame = int(at % CHUNK_SECONDS / (CHUNK_SECONDS / 3))
            moments.append(Moment(picture, chunk + 1, frame, start + chunk, worth))
        return self._memory.admit(self._memory.used(bank, number, take["references"]), number, moments)

    def _against(self, plan: Plan, bank: BankState, shots: Sequence[Take], take: Take) -> Against:
        number = take["scene"]
        scene, entities = plan.scenes[number - 1], in_picture(bank["prompts"][str(number)]["entities"])
        known: dict[int, Pictures] = {}
        for entity in entities:
            frames = [f for f in self._memory.best(bank, entity["global_id"]) if f["prompt_id"] != number]
            if frames:
                known[entity["global_id"]] = self._memory.picture(frames[0]["frame_id"])
        before = next((shot for shot in shots if shot["scene"] == number - 1), None)
        joined = before is not None and (
            scene.transition == "continuation" or _in_one_place(plan.scenes[number - 2], scene)
        )
        return Against(
            wanted=_wanted(bank, number),
            known=known,
            before=self._last_pictures(plan, before) if before is not None and joined else (),
            setting=self._setting(plan, shots, scene, number),
            story=story_so_far([one.text for one in plan.scenes[: number - 1]], bank["cast"]),
        )

    def _setting(self, plan: Plan, shots: Sequence[Take], scene: Scene, number: int) -> list[tuple[Pictures, float]]:
        """Return the anchors of earlier scenes in the same place, each with what it counts."""
        past = [
            Past(self._folder / shot["path"], shot["scene"], picture)
            for shot in shots
            if shot["scene"] < number and _in_one_place(earlier := plan.scenes[shot["scene"] - 1], scene)
            for picture in self._numbers(shot, earlier, {frame.at for frame in earlier.key_frames if frame.anchor})
        ]
        weighed = compress(past, number, self._config.decay, self._config.context_frames)
        return [(self._pictures.get(w.past.path, [w.past.number])[w.past.number], w.weight) for w in weighed]

    def _numbers(self, take: Take, scene: Scene, times: set[float]) -> dict[int, float]:
        """Return the numbers of a take's pictures at these moments of its scene, each with its moment."""
        facts = self._pictures.facts(self._folder / take["path"])
        played = shown(facts, scene.seconds, take["repeats"])
        return {played[n]: at for at in sorted(times) if (n := round(at * facts.fps)) < len(played)}

    def _key_pictures(self, plan: Plan, take: Take) -> tuple[list[Pictures], list[float]]:
        """Return the pictures of a take at its scene's key frames, the first picture always among them."""
        scene, path = plan.scenes[take["scene"] - 1], self._folder / take["path"]
        numbers = self._numbers(take, scene, {0.0, *(frame.at for frame in scene.key_frames)})
        found = self._pictures.get(path, numbers)
        if not found:
            raise StoreError(f"{path} has no picture; delete it, and the same command makes it again")
        return [found[n] for n in sorted(found)], [numbers[n] for n in sorted(found)]

    def _last_pictures(self, plan: Plan, take: Take) -> list[Pictures]:
        path = self._folder / take["path"]
        played = shown(self._pictures.facts(path), plan.scenes[take["scene"] - 1].seconds, take["repeats"])
        return list(self._pictures.get(path, played[-LAST_FRAMES:]).values())


def _wanted(bank: BankState, number: int) -> dict[int, Wanted]:
    members = [bank["cast"][str(e["global_id"])] for e in in_picture(bank["prompts"][str(number)]["entities"])]
    return {m["global_id"]: Wanted(phrase(m), m["name"], tuple(m["all_attrs"])) for m in members}


def _in_one_place(one: Scene, other: Scene) -> bool:
    return bool(one.environment and other.environment) and same(one.environment, other.environment)
