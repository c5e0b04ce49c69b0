"""Replays the device's work of a training step as CUDA graphs, one for each set of input shapes.

A step of a small network is thousands of short kernels; issuing them one by one takes the host several times as long as
the device needs to run them. The first call with new shapes runs plainly (and compiles what is to be compiled), the
second is recorded, and from then on a call is a copy of the inputs and one launch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

Tensors = dict[str, torch.Tensor]
Recorded = tuple["torch.cuda.CUDAGraph", Tensors, torch.Tensor]


class Replayed:
    """Runs ``function`` of a dictionary of device tensors, which returns one tensor and may write gradients.

    The function must not look at values on the host, must draw no random numbers and must read nothing that changes
    between calls but its inputs and tensors that are written in place, such as parameters.
    """

    def __init__(self, function: Callable[[Tensors], torch.Tensor], device: str) -> None:
        """Wrap a function; on the CPU it is called as it is."""
        self.function = function
        self.records = device != "cpu"
        self.met: set[tuple[torch.Size, ...]] = set()
        self.recorded: dict[tuple[torch.Size, ...], Recorded] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.records else None

    def __call__(self, inputs: Tensors) -> torch.Tensor:
        """Return the function's result for ``inputs``."""
        shapes = tuple(value.shape for value in inputs.values())
        if not self.records or shapes not in self.met:
            self.met.add(shapes)
            return self.function(inputs)
        if shapes not in self.recorded:
            try:
                self.recorded[shapes] = self._record(inputs)
            except RuntimeError as error:
                warnings.warn(f"steps could not be recorded and will be slow: {error}", stacklevel=2)
                self.records = False
                return self.function(inputs)
        graph, own, result = self.recorded[shapes]
        for name, value in inputs.items():
            own[name].copy_(value)
        graph.replay()
        return result.clone()

    def _record(self, inputs: Tensors) -> Recorded:
        own = {name: value.clone() for name, value in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        # Only this thread is forbidden to touch the device: those of the data loader and of NCCL go on.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            result = self.function(own)
        return graph, own, result
