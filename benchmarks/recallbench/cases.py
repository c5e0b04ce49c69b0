"""From pictures to cases: every being in every prompt, what it should look like and what it was seen to look like.

`Watcher` looks at the pictures while a film is made and gives a `Take`: plain records, one line of JSON each, from
which all figures are made. A case's look is the commonest of each attribute over the pictures in which everybody has
arrived, so that one picture misread decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from memreel.agent.reading import Reading
from memreel.benchmarks.recallbench.crops import Album
from memreel.benchmarks.recallbench.film import Film
from memreel.benchmarks.recallbench.judges import NOBODY, Judge, WorldReader
from memreel.benchmarks.recallbench.scripts import BenchScript, looks
from memreel.benchmarks.recallbench.sight import Glance
from memreel.model.protocol import Chunk, VideoSpec
from memreel.world import palette
from memreel.world.draw import WIDTH
from memreel.world.stories import pose_at

Part = Literal["first", "return", "known"]
Looks = dict[str, str]
SEEN = 30.0
"""Half the width, in pixels, of what may still be seen of somebody at the picture's edge."""
STILL = 0.001
"""Added to differences of pictures in 0..1, so that two still ones count as smooth."""


@dataclass(frozen=True)
class Case:
    """One being in one prompt.

    ``part``: "first" (described), "return" (named only, and neither in the first chunk nor in the last two: nothing but
    text and memory can tell its look) or "known". ``shown`` is None if it is mostly not to be seen. ``steady`` is the
    share of neighbouring readings that agree; ``covered`` whether the prompt began with a memory frame that shows it;
    ``matched`` whether it got the ID of its first mention (None: its wording was not found). ``follows``: it looks as
    in the memory that was lent. ``found``, ``likeness``, ``own`` and ``chance`` are what its crops say
    (`memreel.benchmarks.recallbench.crops.Sightings`), None without.
    """

    prompt_id: int
    key: int
    person: bool
    part: Part
    gap: int
    figures: int
    truth: Looks
    shown: Looks | None
    another: bool
    steady: float | None
    covered: bool
    matched: bool | None
    follows: bool | None
    found: float | None = None
    likeness: float | None = None
    own: bool | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Segment:
    """One prompt: shares of its readings with somebody twice, with strangers, with people in each other's places.

    ``flicker`` is the mean second difference of its pictures in 0..1; ``smooth`` the usual step between pictures
    around the switch to it, divided by the step at the switch (at most 1; None at a cut). ``subject`` and ``text`` are
    subject consistency and CLIPScore, None without an encoder, or one that does not read.
    """

    prompt_id: int
    twice: float
    strangers: float
    swapped: float | None
    flicker: float
    smooth: float | None
    subject: float | None = None
    text: float | None = None


@dataclass(frozen=True)
class Read:
    """How a take's prompts were read: how many by whom, and what chat requests cost."""

    by: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Read:
        """Sum up readings."""
        calls = [call for reading in readings for call in reading.calls]
        return cls(
            dict(Counter(reading.read_by for reading in readings)),
            len(calls),
            sum(call["input_tokens"] + call["output_tokens"] for call in calls),
            round(sum(call["seconds"] for call in calls), 3),
        )


@dataclass(frozen=True)
class Take:
    """One script under one variant.

    ``weights`` is the video model's fingerprint, ``judged`` whether looks were read, ``read`` how its prompts were.
    """

    script: int
    archetype: str
    variant: str
    cases: list[Case]
    segments: list[Segment]
    seconds: float
    weights: str
    judged: bool = True
    read: Read = Read()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Take:
        """Return the take that ``dataclasses.asdict`` wrote."""
        parts = {"cases": [Case(**c) for c in value["cases"]], "segments": [Segment(**s) for s in value["segments"]]}
        return cls(**{**value, **parts, "read": Read(**value.get("read", {}))})


class Watcher:
    """Looks at a film's chunks as they come."""

    def __init__(
        self, script: BenchScript, spec: VideoSpec, chunks: int, judge: Judge | None = None, album: Album | None = None
    ) -> None:
        """Watch a film of ``script``; ``judge`` reads its pictures, the drawn world's reader if not given.

        ``album`` gets crops of them.
        """
        self._judge, self._album = judge or WorldReader(), album
        self._script, self._story, self._chunks = script, script.story, chunks
        self._seconds, self._fps = spec.chunk_seconds, spec.fps
        self._glances: dict[int, list[Glance]] = {}
        self._bends: dict[int, list[float]] = {}
        self._steps: dict[int, list[float]] = {}
        self._jumps: dict[int, float] = {}
        self._last: npt.NDArray[np.float32] | None = None

    def __call__(self, prompt_id: int, chunk_id: int, chunk: Chunk) -> None:
        """Look at a chunk: measure how it moves, read its last picture if everybody has arrived."""
        pictures = chunk.pictures[:, ::2, ::2].astype(np.float32) / 255.0  # every fourth pixel tells of motion as well
        steps = np.abs(np.diff(pictures, axis=0)).mean((1, 2, 3)).tolist()
        bends = np.abs(np.diff(pictures, n=2, axis=0)).mean((1, 2, 3)).tolist()
        self._steps.setdefault(prompt_id, []).extend(steps)
        self._bends.setdefault(prompt_id, []).extend(bends)
        if self._last is not None and chunk_id == 1:
            self._jumps[prompt_id] = float(np.abs(pictures[0] - self._last).mean())
        self._last = pictures[-1]
        t = chunk_id * self._seconds - 1 / self._fps
        if self._album is not None:
            self._album.keep(chunk.pictures[-1], prompt_id)
        if t >= self._story.settled(prompt_id - 1) or chunk_id == self._chunks:
            glance = self._judge.look(chunk.pictures[-1], self._story, prompt_id - 1, t)
            self._glances.setdefault(prompt_id, []).append(glance)
            if self._album is not None:
                self._album.look(chunk.pictures[-1], prompt_id, t)

    def take(self, variant: str, film: Film, seconds: float, weights: str, donor: BenchScript | None = None) -> Take:
        """Return everything seen; ``donor`` is the script whose memory was lent."""
        cases = [case for number in self._glances for case in self._cases(number, film, donor)]
        segments = [self._segment(number) for number in self._glances]
        return Take(
            self._script.number,
            self._script.archetype,
            variant,
            cases,
            segments,
            round(seconds, 3),
            weights,
            self._judge.name != NOBODY,
            Read.of(film.readings),
        )

    def _cases(self, number: int, film: Film, donor: BenchScript | None) -> list[Case]:
        story, glances = self._story, self._glances[number]
        scene = story.scenes[number - 1]
        figures = sum(not story.beings[spot.key].is_object for spot in scene.spots)
        out = []
        for key in scene.present():
            readings = [glance.shown[key] for glance in glances if key in glance.shown]
            if not readings:
                continue
            truth, shown = looks(story.beings[key].look), commonest(readings)
            person = story.beings[key].look.kind in palette.PEOPLE
            lent = None if donor is None or key not in donor.story.beings else looks(donor.story.beings[key].look)
            ids = {n: who[key] for n, who in film.who.items() if key in who}
            part, gap = self.part(number, key)
            out.append(
                Case(
                    number,
                    key,
                    person,
                    part,
                    gap,
                    figures,
                    truth,
                    shown,
                    person and shown is not None and shown != truth and shown in self._other_people(key),
                    _agreement(readings),
                    key in film.covered.get(number, ()),
                    ids[number] == ids[min(ids)] if number in ids else None,
                    None if lent is None else shown == lent,
                    **({} if self._album is None else asdict(self._album.sightings(number, key, part == "return"))),
                )
            )
        return out

    def part(self, number: int, key: int) -> tuple[Part, int]:
        """Return which part a being plays in a prompt, and how many prompts it was away."""
        scenes = self._story.scenes
        before = [n for n in range(1, number) if key in scenes[n - 1].present()]
        if not before:
            return "first", 0
        gap = number - 1 - before[-1]
        ends = [(self._chunks - back) * self._seconds for back in (2, 1, 0)]
        moments = [(0, 0.0), (0, self._seconds), *((number - 2, t) for t in ends)]
        near = any(key in self._in_picture(scene, t) for scene, t in moments)
        return ("known" if near or scenes[number - 1].mentions.get(key, True) else "return"), gap

    def _in_picture(self, number: int, t: float) -> set[int]:
        """Return of whom anything may be seen at second ``t`` of a scene."""
        scene, out = self._story.scenes[number], set[int]()
        goals = [(e.key, e.holds, e.start, -40.0 if e.side == "left" else WIDTH + 40.0) for e in scene.exits]
        goals += [(s.key, s.holds, s.start, s.x) for s in scene.spots]
        for key, holds, start, goal in goals:
            if -SEEN < pose_at(start, goal, "stand", 0.0, t).x < WIDTH + SEEN:
                out |= {k for k in (key, holds) if k is not None}
        return out

    def _other_people(self, key: int) -> list[Looks]:
        beings = self._story.beings.values()
        return [looks(b.look) for b in beings if b.key != key and b.look.kind in palette.PEOPLE]

    def _segment(self, number: int) -> Segment:
        glances = self._glances[number]
        swaps = [glance.swapped for glance in glances if glance.swapped is not None]
        smooth = None
        if number in self._jumps and not self._story.scenes[number - 1].cut:
            pictures = 2 * (round(self._seconds * self._fps) - 1)
            usual = float(np.mean(self._steps[number - 1][-pictures:] + self._steps[number][:pictures]))
            smooth = min(1.0, (usual + STILL) / (self._jumps[number] + STILL))
        return Segment(
            number,
            float(np.mean([bool(glance.twice) for glance in glances])),
            float(np.mean([bool(glance.others) for glance in glances])),
            float(np.mean(swaps)) if swaps else None,
            float(np.mean(self._bends[number])),
            smooth,
            None if self._album is None else self._album.consistency(number),
            None if self._album is None else self._album.clip_score(number, self._script.prompts[number - 1]),
        )


def commonest(readings: Sequence[Looks | None]) -> Looks | None:
    """Return the commonest value of each attribute, or None if it was not seen in more than half of the readings."""
    seen = [reading for reading in readings if reading is not None]
    if 2 * len(seen) < len(readings) or not seen:
        return None
    return {name: Counter(reading[name] for reading in seen).most_common(1)[0][0] for name in seen[0]}


def _agreement(readings: Sequence[Looks | None]) -> float | None:
    pairs = [one is not None and one == other for one, other in pairwise(readings)]
    return float(np.mean(pairs)) if pairs else None
