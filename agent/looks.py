"""What it is to look at a picture: who is asked how somebody looks in it, and what comes of that.

A chat model that sees (`memreel.agent.chat_looks`) and the reader of the drawn world (`memreel.world.looker`) do it.
Which frame is looked at, and when, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from memreel.agent.reading import ChatCall
from memreel.memory.records import CastMember
from memreel.model.protocol import Pictures


@dataclass
class Looks:
    """What was seen: ``attrs`` as they are in the picture, or ``None`` if nothing can be said; ``score`` in 0..1.

    The score says how well the picture shows the entity as the cast has it. ``notes`` and ``calls`` are for the record.
    """

    attrs: list[str] | None
    score: float | None
    notes: list[str] = field(default_factory=list)
    calls: list[ChatCall] = field(default_factory=list)


class Looker(Protocol):
    """Looks at pictures. Its method may be called by several threads."""

    name: str

    def look(self, picture: Pictures, member: CastMember, prompt: str) -> Looks:
        """Say how ``member`` looks in ``picture``, uint8 ``[height, width, 3]``, made under ``prompt``."""
