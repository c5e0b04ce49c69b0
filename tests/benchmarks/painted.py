"""A video model that paints what the schedule says, as far as it can know it, and makes mistakes on demand.

It knows how somebody looks from the text (all attribute words are in it), from memory frames, from the first chunk and
from the last two: a latent frame holds the looks that it shows, one channel an attribute. A chunk is one still picture,
that of its last moment. Whom it does not know it paints in another look. So a strategy that brings the right frames
back gets everybody right, and one that does not gets those who return wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from memreel.benchmarks.recallbench.scripts import BenchScript, looks
from memreel.model.protocol import Chunk, EvictedChunk, MemoryFrame, VideoSpec
from memreel.world import palette
from memreel.world.draw import PARAMS, pad_tables, paint
from memreel.world.places import backgrounds
from memreel.world.sentences import head
from memreel.world.shapes import Look, table
from memreel.world.stories import Exit, Spot, Story

KEYS, PARTS = 8, 5
"""Beings and numbers a being in a latent: seen, hair, top, hat, colour."""
TABLES = {"hair": list(palette.HAIR), "top": list(palette.TOP), "hat": list(palette.HAT)}


def colours(kind: str) -> list[str]:
    if kind in palette.ANIMALS:
        return list(palette.FUR)
    return list(palette.TOP if kind == palette.ROBOT else palette.THING)


def values(kind: str, name: str) -> list[str]:
    return colours(kind) if name == "colour" else TABLES[name]


def strange(look: Look) -> Look:
    """Return a look that is another in every attribute."""
    changed = {}
    for name, value in looks(look).items():
        known = values(look.kind, name)
        changed[name] = known[(known.index(value) + 1) % len(known)]
    return replace(look, **changed)


@dataclass
class Faults:
    """What goes wrong, besides not knowing somebody."""

    swap: bool = False
    """Two people stand in each other's looks."""
    clone: bool = False
    """A stranger's place is taken by one more of the first person."""
    drop: bool = False
    """People who are back are not there."""
    other: bool = False
    """Whom it does not know it paints as another member of the cast."""
    restless: bool = False
    """People look another way in every second chunk."""
    flicker: float = 0.0
    """Brightness of noise from picture to picture."""
    shift: float = 0.0
    """Pixels by which everybody stands beside the schedule."""


class PaintedModel:
    """Paints one script after the other; ``open`` takes the script whose number is in the seed."""

    name = "painted"
    spec = VideoSpec(192, 112, 16, KEYS * PARTS, 1, 1)
    memory_slots = 3
    scorers = ("even", "layer-4", "name", "attributes")
    device = "cpu"

    def fingerprint(self) -> str:
        return "painted"

    def __init__(self, scripts: Sequence[BenchScript], faults: Faults | None = None) -> None:
        self.scripts, self.faults = scripts, faults or Faults()
        self.texts: list[str] = []

    def open(self, seed: int) -> PaintedStream:
        return PaintedStream(self)

    def score(self, evicted: EvictedChunk, phrases: Sequence[str], scorer: str | None = None) -> torch.Tensor:
        story = next(s.story for s in self.scripts if s.number == int(evicted.queries[0]))
        seen = evicted.latents[:, ::PARTS, 0, 0]
        columns = []
        for phrase in phrases:
            named = [key for key, being in story.beings.items() if head(being).casefold() in phrase.casefold()]
            columns.append(seen[:, named].mean(1) * 0.9 if named else torch.full((len(seen),), 0.05))
        return torch.stack(columns, 1)


class PaintedStream:
    """One video: follows the prompts, counts the chunks of each."""

    def __init__(self, model: PaintedModel) -> None:
        self.model, self.index = model, 0
        self._scene = self._chunk = -1
        self._script: BenchScript | None = None
        self._text = ""
        self._sink: EvictedChunk | None = None
        self._local: list[EvictedChunk] = []

    def set_prompt(self, text: str) -> None:
        if self._script is None:
            found = [s for s in self.model.scripts if text.startswith(s.prompts[0])]
            self._script = found[0]
        self._scene, self._chunk, self._text = self._scene + 1, -1, text
        assert text.startswith(self._script.prompts[self._scene])
        self.model.texts.append(text)

    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        assert self._script is not None
        assert len(memory) <= self.model.memory_slots
        self._chunk += 1
        story, scene = self._script.story, self._scene
        known = self._known(memory)
        painted = {key: self._look(key, known.get(key)) for key in story.beings}
        held = self._staged(painted)
        times = [(self._chunk * 12 + 4 * i + 3) / 16 for i in range(3)]
        rows = torch.from_numpy(pad_tables([table(held.rows(scene, times[-1]) or [[0.0] * PARAMS])], 80))
        drawn, _ = paint(rows, backgrounds()[palette.PLACES.index(story.scenes[scene].place)][None])
        pictures = (drawn.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().to(torch.uint8).numpy().repeat(12, 0)
        if self.model.faults.flicker:
            noise = np.where(np.arange(12) % 2, 1, -1) * 255 * self.model.faults.flicker
            pictures = (pictures + noise[:, None, None, None]).clip(0, 255).astype(np.uint8)
        latents = torch.stack([self._latent(painted, held.visible(scene, t)) for t in times])
        keys = torch.zeros(1, 3, 1, 1, 2)
        done = EvictedChunk(self.index, latents, keys, keys, torch.tensor([self._script.number]), pictures[3::4])
        self._sink = self._sink or done
        self._local.append(done)
        evicted = self._local.pop(0) if len(self._local) > 2 else None
        self.index += 1
        return Chunk(done.index, latents, lambda: pictures, evicted, [frame.frame_id for frame in memory])

    def finalize(self) -> None:
        self._local.clear()

    def _known(self, memory: Sequence[MemoryFrame]) -> dict[int, Look]:
        """Return the looks that the context shows, the nearest frames last."""
        assert self._script is not None
        frames = [*(self._sink.latents if self._sink else ()), *(frame.latent for frame in memory)]
        frames += [latent for chunk in self._local for latent in chunk.latents]
        out: dict[int, Look] = {}
        for latent in frames:
            numbers = latent.reshape(KEYS, PARTS).round().int().tolist()
            for key, being in self._script.story.beings.items():
                if numbers[key][0]:
                    names = ("hair", "top", "hat", "colour")
                    parts = {n: v for n, v in zip(names, numbers[key][1:], strict=True) if n in looks(being.look)}
                    out[key] = replace(being.look, **{n: values(being.look.kind, n)[v] for n, v in parts.items()})
        return out

    def _look(self, key: int, known: Look | None) -> Look:
        assert self._script is not None
        being, faults = self._script.story.beings[key], self.model.faults
        if all(word in self._text for word in being.words.values()) and head(being).casefold() in self._text.casefold():
            known = being.look
        if known is None and faults.other and being.look.kind in palette.PEOPLE:
            others = [b.look for k, b in self._script.story.beings.items() if k != key and b.look.hair]
            known = replace(others[0], kind=being.look.kind)
        look = known or strange(being.look)
        return strange(look) if faults.restless and self._chunk % 2 else look

    def _staged(self, painted: dict[int, Look]) -> Story:
        """Return the story as it is painted: looks as known, mistakes made."""
        assert self._script is not None
        faults, story = self.model.faults, self._script.story
        beings = {key: replace(being, look=painted[key]) for key, being in story.beings.items()}
        scenes = list(story.scenes)
        now = scenes[self._scene]
        spots = [replace(spot, x=spot.x + faults.shift, start=spot.start + faults.shift) for spot in now.spots]
        exits: list[Exit] = list(now.exits)
        people = [spot for spot in spots if story.beings[spot.key].look.kind in palette.PEOPLE]
        if faults.swap and len(people) > 1:
            one, two = people[:2]
            one.key, two.key = two.key, one.key
        if faults.clone and people and len(spots) == 1:
            x = 40.0 if people[0].x > 96 else 150.0
            spots.append(Spot(people[0].key, x, x))
        if faults.drop:
            met = {key for scene in scenes[: self._scene] for key in scene.present()}
            spots = [spot for spot in spots if spot.key not in met or now.mentions.get(spot.key)]
        scenes[self._scene] = replace(now, spots=spots, exits=exits)
        return Story(beings, scenes)

    def _latent(self, painted: dict[int, Look], seen: set[int]) -> torch.Tensor:
        out = torch.zeros(KEYS, PARTS)
        for key in seen:
            look = painted[key]
            kind = look.kind
            numbers = {n: values(kind, n).index(v) for n, v in looks(look).items()}
            out[key] = torch.tensor([1, *(numbers.get(n, 0) for n in ("hair", "top", "hat", "colour"))])
        return out.reshape(KEYS * PARTS, 1, 1)
