"""What tests of clips ask for, how little patience they have, and what they hear of it."""

from __future__ import annotations

from typing import Any

from memreel.film.clips.patience import Patience
from memreel.film.clips.protocol import ClipRequest

QUICK = Patience(pause=0.005, poll=0.005, deadline=5.0, cool=0.15, request=5.0, longest_pause=2.0)
WISH = ClipRequest(key="s01a1", prompt="Nora walks along the quay at dusk.", seconds=4, seed=7)
ONE = 0.48
"""Dollars that `WISH` costs at Runway."""


class Log(list[dict[str, Any]]):
    """The events of a test."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self if event["type"] == kind]
