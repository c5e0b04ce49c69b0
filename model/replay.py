"""Replays a device's work as CUDA graphs, one for each set of input shapes.

A network is thousands of short kernels; issuing them one by one can take the host longer than the device needs to run
them. The first calls with new shapes run plainly (and compile what is to be compiled, and let libraries choose their
kernels), a later one is recorded, and from then on a call is a copy of the inputs and one launch. What cannot be
recorded goes on plainly, with a warning.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from memreel.model.clock import on_gpu

Tensors = dict[str, torch.Tensor]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Recording:
    """A recorded graph, the tensors that it reads and what it leaves behind."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    result: Any


class Replayed:
    """Runs work on a dictionary of device tensors, from a recording where there is one.

    Work must not look at values on the host, must draw no random numbers and must read nothing that changes between
    calls but its inputs and tensors that are written in place, such as parameters.
    """

    def __init__(self, device: str, *, enabled: bool = True) -> None:
        """Start without recordings; on the CPU, or if not ``enabled``, there will be none."""
        self.records = enabled and on_gpu(device)
        self.met: Counter[Hashable] = Counter()
        self.recorded: dict[Hashable, Recording] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.records else None

    def __call__(
        self, work: Callable[[Tensors], Result], inputs: Tensors, *, key: Hashable = None, plainly: int = 1
    ) -> Result:
        """Return what ``work`` returns for ``inputs``; tensors in it are good until the next call.

        Args:
            work: what is run.
            inputs: what it reads; tensors of the same shapes share a recording.
            key: whatever else tells one recording from another.
            plainly: how many calls run before one is recorded.
        """
        if not self.records:
            return work(inputs)
        key = (key, *((name, value.shape, value.dtype) for name, value in inputs.items()))
        if (found := self.recorded.get(key)) is None:
            self.met[key] += 1
            if self.met[key] <= plainly or (found := self._record(work, inputs)) is None:
                return work(inputs)
            self.recorded[key] = found
        for name, value in inputs.items():
            found.inputs[name].copy_(value)
        found.graph.replay()
        result: Result = found.result
        return result

    def _record(self, work: Callable[[Tensors], Any], inputs: Tensors) -> Recording | None:
        own = {name: value.clone() for name, value in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread is forbidden to touch the device: those that load data, write videos or talk go on.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                result = work(own)
        except RuntimeError as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"the device's work could not be recorded and runs plainly, slower: {reason}", stacklevel=3)
            self.records = False
            return None
        return Recording(graph, own, result)
