"""Where each frame of the attention context stands in time: sink, memory, local, current.

Every part has slots of its own, so the current chunk's position never changes and a stream has no length limit. Parts
that are not full keep to the right (local) or to the left (sink, memory) of their slots.
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

    def positions(self, sink: int, memory: int, local: int) -> list[float]:
        """Return the time positions of ``sink``, ``memory`` and ``local`` frames that are there, in this order."""
        first_local = self.sink + self.memory + self.local - local
        return [
            *map(float, range(sink)),
            *(float(self.sink + i) for i in range(memory)),
            *(float(first_local + i) for i in range(local)),
        ]

    def current(self) -> list[float]:
        """Return the time positions of the chunk that is being generated."""
        start = self.sink + self.memory + self.local
        return [float(start + i) for i in range(self.chunk)]
