"""A short video of the embedded model, made once and looked at by several tests."""

from __future__ import annotations

from dataclasses import dataclass

from memreel.model.protocol import Chunk, MemoryFrame
from memreel.model.sketch.model import SketchModel

MIA = "Mia, a woman with red hair and a blue sweater, walks into the library."
TOM = "Tom, a man with black hair, waits in the park."


@dataclass(frozen=True)
class Film:
    """Six chunks under two prompts; from the fourth on, frames of evicted chunks are handed in as memory."""

    seed: int
    texts: list[str]
    memory: list[list[MemoryFrame]]
    chunks: list[Chunk]


def shoot(sketch: SketchModel, seed: int = 3) -> Film:
    """Generate four chunks of Mia, then two of Tom."""
    made = Film(seed, [MIA] * 4 + [TOM] * 2, [], [])
    stream = sketch.open(seed)
    memory: list[MemoryFrame] = []
    for index, text in enumerate(made.texts):
        if index in (0, 4):
            stream.set_prompt(text)
        made.memory.append(list(memory))
        chunk = stream.generate(memory)
        made.chunks.append(chunk)
        if chunk.evicted is not None:
            frame = index % 3
            memory = [*memory, chunk.evicted.frame(frame, f"p1_c{chunk.evicted.index + 1}_f{frame}")][-3:]
    stream.finalize()
    return made
