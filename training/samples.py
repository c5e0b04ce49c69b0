"""Training samples: a chunk to be generated, with the sink, memory and local frames that it may attend to.

A sample is a moment of a story as a stream would meet it: which frames lie in its attention context, what each of them
shows and under which prompt it was made. Workers describe samples as shape tables and texts; painting and encoding
happen on the training device. All samples of a batch share a layout (how many frames of each part), so that attention
needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from memreel.model.minilm import SentenceEncoder
from memreel.model.sketch.text import MAX_TOKENS
from memreel.world import palette
from memreel.world.draw import PARAMS
from memreel.world.shapes import table
from memreel.world.stories import Story, make_story

CHUNK = 3
FPS = 16
SHAPES = 80
Layouts = tuple[tuple[tuple[int, int, int], float], ...]
LAYOUTS: Layouts = (
    ((3, 3, 6), 0.58),
    ((3, 6, 6), 0.08),
    ((3, 5, 6), 0.04),
    ((3, 2, 6), 0.05),
    ((3, 1, 6), 0.05),
    ((3, 0, 6), 0.06),
    ((3, 0, 3), 0.03),
    ((3, 0, 0), 0.04),
    ((0, 0, 0), 0.07),
)
"""(sink, memory, local) frames and how often each occurs."""


@dataclass(frozen=True)
class Emphasis:
    """What samples are about: shares of targets that are returns, of crowded stories, of texts that are enriched."""

    returns: float = 0.58
    crowded: float = 0.0
    enriched: float = 0.5


EMPHASES = {"everything": Emphasis(), "crowds": Emphasis(returns=0.75, crowded=0.7, enriched=0.2)}
"""By name; ``crowds`` is for telling several people of one frame apart by their names."""


@dataclass(frozen=True)
class Moment:
    """A latent frame of a story: its scene, its chunk in the scene and its place in the chunk."""

    scene: int
    chunk: int
    frame: int

    def times(self) -> list[float]:
        """Return the seconds, from the scene's start, of the frame's four pictures."""
        first = (self.chunk * CHUNK + self.frame) * 4
        return [(first + i) / FPS for i in range(4)]


@dataclass
class Sample:
    """A target chunk with its context; ``reentry`` holds who comes back unseen in sink and local, named only."""

    story: Story
    context: list[Moment]
    target: list[Moment]
    enriched: bool
    described: set[int]
    reentry: set[int]

    def text(self, scene: int) -> str:
        """Return the text that governs a scene in this sample."""
        found = self.story.scenes[scene]
        return found.enriched if self.enriched else found.text


def chunk_frames(scene: int, chunk: int) -> list[Moment]:
    """Return the three frames of a chunk."""
    return [Moment(scene, chunk, f) for f in range(CHUNK)]


class Timeline:
    """A story cut into chunks: ``order`` lists (scene, chunk) over the video."""

    def __init__(self, random: Random, story: Story, chunks: tuple[int, int] = (6, 14)) -> None:
        self.story = story
        self.lengths = [random.randint(*chunks) for _ in story.scenes]
        self.order = [(s, c) for s, n in enumerate(self.lengths) for c in range(n)]

    def visible(self, scene: int, chunk: int) -> set[int]:
        """Return who is wholly in the picture in the middle of a chunk."""
        return self.story.visible(scene, (chunk + 0.5) * CHUNK * 4 / FPS)


def _returns(line: Timeline, crowded: bool) -> list[int]:
    """Return the scenes to which somebody comes back by name only, unseen in the scene before and the first chunk.

    Of a ``crowded`` story: those to which a person comes back who is not alone there.
    """
    story = line.story
    out: list[int] = []
    met: set[int] = set()
    hidden = line.visible(0, 0)
    for s, scene in enumerate(story.scenes):
        near = hidden | (set(story.scenes[s - 1].present()) if s else set())
        back = [k for k, told in scene.mentions.items() if k in met and not told and k not in near]
        back = [k for k in back if k in scene.present()]
        if crowded:
            back = [k for k in back if len(scene.spots) > 1 and story.beings[k].look.kind in palette.PEOPLE]
        if s and back:
            out.append(s)
        met |= set(scene.mentions)
    return out


def _pick_target(
    random: Random, line: Timeline, local: int, sink: int, roll: float, returns: float, crowded: bool
) -> int | None:
    """Choose the target chunk: returns, half as many other scene starts, the rest anywhere; None: no return."""
    if sink == 0:
        return 0
    if local < 6:
        return 1 + local // CHUNK
    if roll < returns:
        back = _returns(line, crowded)
        if not back:
            return None
        s = random.choice(back)
        chunk = 0 if line.story.scenes[s].cut else random.choice((0, 0, 1) if crowded else (0, 1, 1, 2))
        chunk = random.choice((0, 0, 0, 0, 0, 1)) if chunk == 0 else chunk
        return max(3, line.order.index((s, min(chunk, line.lengths[s] - 1))))
    if roll < returns + (1 - returns) / 2.1:
        s = random.randrange(1, len(line.lengths))
        return max(3, line.order.index((s, min(random.choice((0, 0, 1, 2, 3)), line.lengths[s] - 1))))
    return random.randrange(3, len(line.order))


def _recall(random: Random, line: Timeline, index: int, count: int) -> list[Moment]:
    """Choose memory frames as a bank would: each entity of the prompt covered, described and alone preferred."""
    story = line.story
    scene = line.order[index][0]
    past = line.order[1 : max(1, index - 2)]
    anything = [Moment(s, c, random.randrange(CHUNK)) for s, c in past]
    if not anything or random.random() < 0.06:
        return [random.choice(anything) if anything else Moment(0, 0, i) for i in range(count)]
    now = story.scenes[scene]
    wanted = list(now.mentions) + [e.key for e in now.exits if e.told]
    random.shuffle(wanted)
    chosen: list[Moment] = []
    for _ in range(2 if count <= 3 else 3):
        for key in wanted:
            options = [
                (s, c)
                for s, c in past
                if (key in story.scenes[s].present() and s != scene) or (s == scene and random.random() < 0.3)
            ]
            random.shuffle(options)
            options.sort(
                key=lambda o: (
                    (1.0 if story.scenes[o[0]].mentions.get(key, False) else 0.0)
                    - 0.3 * len(story.scenes[o[0]].present())
                    + random.random() * 0.9
                ),
                reverse=True,
            )
            for s, c in options[:6]:
                if key in line.visible(s, c) and Moment(s, c, 1) not in chosen:
                    chosen.append(Moment(s, c, random.randrange(CHUNK)))
                    break
            if len(chosen) >= count:
                break
    while len(chosen) < count:
        chosen.append(random.choice(anything))
    chosen = chosen[:count]
    random.shuffle(chosen)
    return chosen


def make_sample(
    random: Random,
    layout: tuple[int, int, int],
    held_out: palette.HeldOut = "nothing",
    enriched: bool | None = None,
    emphasis: Emphasis = EMPHASES["everything"],
) -> Sample:
    """Invent a story and pick a chunk of it with the context of the given layout.

    Args:
        random: where chance comes from.
        layout: (sink, memory, local) frames.
        held_out: which words are ones that training never uses.
        enriched: whether texts are enriched, if chance is not to say.
        emphasis: what chance prefers.
    """
    sink, memory, local = layout
    roll = random.random()
    crowded = emphasis.crowded > 0 and random.random() < emphasis.crowded
    index: int | None = None
    while index is None:
        story = make_story(random, scenes=random.choice((4, 5, 6)), held_out=held_out, crowded=crowded)
        line = Timeline(random, story)
        index = _pick_target(random, line, local, sink, roll, emphasis.returns, crowded)
    scene, chunk = line.order[index]
    context: list[Moment] = []
    if sink:
        context += chunk_frames(*line.order[0])
    remembered = _recall(random, line, index, memory) if memory else []
    context += remembered
    for back in range(local // CHUNK, 0, -1):
        context += chunk_frames(*line.order[index - back])
    now = story.scenes[scene]
    near: set[int] = set()
    for moment in context[:sink] + context[sink + memory :]:
        near |= {e.key for e in story.scenes[moment.scene].exits}
        near |= {e.holds for e in story.scenes[moment.scene].exits if e.holds is not None}
        for t in moment.times():
            near |= story.visible(moment.scene, t, margin=-30)
    met = {k for s in story.scenes[:scene] for k in s.mentions}
    present = set(now.present())
    return Sample(
        story,
        context,
        chunk_frames(scene, chunk),
        random.random() < emphasis.enriched if enriched is None else enriched,
        described={k for k in present if now.mentions.get(k) and k not in met and k not in near},
        reentry={k for k in present if not now.mentions.get(k, True) and k not in near and k in met},
    )


def collate_texts(samples: list[Sample], encoder: SentenceEncoder) -> dict[str, torch.Tensor]:
    """Describe the prompts of a batch: tokens of the distinct ones, and which of them each frame has (``owner``).

    Few shapes occur, so that work on them can be recorded and replayed: tokens are padded to a multiple of 32, and the
    first text is repeated until their number is a multiple of two thirds of the samples'.
    """
    texts: dict[str, int] = {}
    owner = [[texts.setdefault(s.text(m.scene), len(texts)) for m in s.context + s.target] for s in samples]
    distinct = list(texts)
    ids, mask = encoder.tokenize(distinct + distinct[:1] * (-len(distinct) % -(-2 * len(samples) // 3)), MAX_TOKENS)
    extra = -ids.shape[1] % 32
    return {
        "owner": torch.tensor(owner),
        "ids": torch.nn.functional.pad(ids, (0, extra)),
        "mask": torch.nn.functional.pad(mask, (0, extra)),
    }


def collate(samples: list[Sample], encoder: SentenceEncoder) -> dict[str, torch.Tensor]:
    """Describe a batch as tensors: shape tables and places of every picture, and its prompts (`collate_texts`)."""
    tables: list[npt.NDArray[np.float32]] = []
    places: list[int] = []
    for sample in samples:
        for moment in sample.context + sample.target:
            for t in moment.times():
                tables.append(table(sample.story.rows(moment.scene, t)[:SHAPES]))
                places.append(palette.PLACES.index(sample.story.scenes[moment.scene].place))
    most = -(-max(len(t) for t in tables) // 8) * 8
    packed = np.zeros((len(tables), most, PARAMS), dtype=np.float16)
    packed[:, :, 2:4] = 1.0
    for i, rows in enumerate(tables):
        if len(rows):
            packed[i, : len(rows)] = rows
    drawn = {"tables": torch.from_numpy(packed), "places": torch.tensor(places)}
    return drawn | collate_texts(samples, encoder)


class Batches(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
    """An endless stream of batches, seeded by (seed, worker); only tokenises, so it needs no weights."""

    def __init__(
        self,
        batch: int,
        seed: int,
        tokenizer: Any,
        layouts: Layouts = LAYOUTS,
        emphasis: Emphasis = EMPHASES["everything"],
    ) -> None:
        self.batch, self.seed, self.tokenizer, self.layouts, self.emphasis = batch, seed, tokenizer, layouts, emphasis

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = torch.utils.data.get_worker_info()
        random = Random(self.seed * 1009 + (info.id if info else 0))
        torch.set_num_threads(1)
        encoder = SentenceEncoder.without_weights(self.tokenizer)
        while True:
            layout = random.choices([k for k, _ in self.layouts], [w for _, w in self.layouts])[0]
            samples = [make_sample(random, layout, emphasis=self.emphasis) for _ in range(self.batch)]
            yield collate(samples, encoder)
