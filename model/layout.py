"""Where each frame of the attention context stands in time: sink, memory, local, current.

Every part has slots of its own, so the current chunk's position never changes and a stream has no length limit. Parts
that are not full keep to the right (local) or to the left (sink, memory) of their slots. A model may take further
memory frames than its usual ones; these stand before the sink, so that nothing else moves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContextLayout:
    """How many latent frames each part of the context holds."""

    sink: int = 3
    memory: int = 3
    local: int = 6
    chunk: int = 3
    spare: int = 0
    """Memory frames that there may be beyond ``memory``."""

    @property
    def slots(self) -> int:
        """Memory frames at most."""
        return self.memory + self.spare

    @property
    def whole(self) -> int:
        """Frames of a context that is full, the chunk that is being generated included."""
        return self.sink + self.slots + self.local + self.chunk

    def positions(self, sink: int, memory: int, local: int) -> list[float]:
        """Return the time positions of ``sink``, ``memory`` and ``local`` frames that are there, in this order."""
        first_local = self.sink + self.memory + self.local - local
        return [
            *map(float, range(sink)),
            *(float(self.sink + i) if i < self.memory else float(self.memory - 1 - i) for i in range(memory)),
            *(float(first_local + i) for i in range(local)),
        ]

    def current(self) -> list[float]:
        """Return the time positions of the chunk that is being generated."""
        start = self.sink + self.memory + self.local
        return [float(start + i) for i in range(self.chunk)]
