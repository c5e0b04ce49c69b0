"""Recordings as a CPU can have them, for what is replayed on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

from memreel.model.replay import Recording, Replayed, Tensors


class Rerun(Replayed):
    """Replaying runs the recorded work again, as it was then, in place."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.records, self.replays = True, 0

    def _record(self, work: Callable[[Tensors], object], inputs: Tensors) -> Recording:
        own = {name: value.clone() for name, value in inputs.items()}
        result = work(own)

        def replay() -> None:
            self.replays += 1
            again = work(own)
            if isinstance(result, torch.Tensor):
                assert isinstance(again, torch.Tensor)
                result.copy_(again)

        return Recording(type("Graph", (), {"replay": staticmethod(replay)})(), own, result)
