"""Measures one stream: chunks as a run makes them, each part on the device's own clock.

The window is full and memory frames from a bank stand in every slot; evicted chunks are scored and kept. The pictures
of a chunk are taken while the next one is made, as a run takes them.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from memreel.configs.schema import RunConfig
from memreel.model.clock import mark, on_gpu, reach, seconds
from memreel.model.protocol import Chunk
from memreel.model.wan.making import passed
from memreel.model.wan.model import WanModel
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.memory.bank import Bank
    from memreel.memory.records import BankState

PROMPT = "Mia, a young woman with red hair and a green coat, walks through the old library."
PARTS = ("context", "denoise", "clean", "decode", "bank")
TRACED = 2
"""Steady chunks that a profile looks at."""


def _bank(model: WanModel, config: RunConfig, folder: Path) -> tuple[Bank, BankState]:
    """Return a bank that knows one prompt with two entities."""
    from memreel.memory.bank import Bank
    from memreel.memory.frames import FrameStore
    from memreel.memory.records import Entity

    def embed(texts: Sequence[str]) -> Any:
        return np.ones((len(texts), 4), np.float32) / 2

    bank = Bank(config.memory, model, FrameStore(folder / "tensors", folder / "frames"), embed, 0)
    entities: list[Entity] = [
        {"entity": "Mia", "kind": "character", "attrs": ["red hair", "green coat"], "global_id": 1},
        {"entity": "library", "kind": "object", "attrs": ["old"], "global_id": 2},
    ]
    empty: BankState = {"cast": {}, "frames": {}, "prompts": {}, "memory": []}
    return bank, bank.register(empty, 1, PROMPT, entities)


class Loop:
    """A stream and its bank: each `turn` is a chunk."""

    def __init__(self, model: WanModel, config: RunConfig, folder: Path) -> None:
        """Open a stream under a prompt; the bank keeps its frames in ``folder``."""
        self.stream = model.open(0)
        self.stream.set_prompt(PROMPT)
        self.bank, self.state = _bank(model, config, folder)
        self.newest: Chunk | None = None

    def turn(self) -> tuple[Chunk, dict[str, float]]:
        """Make a chunk, take the pictures of the one before it, and let the bank look at what was evicted."""
        start = time.perf_counter()
        memory = self.bank.frames(self.state)
        looked = time.perf_counter()
        chunk, before = self.stream.generate(memory), self.newest
        made = time.perf_counter()
        if before is not None:
            _ = before.pictures
        taken = time.perf_counter()
        if chunk.evicted is not None:
            self.state, _ = self.bank.admit(self.state, chunk.evicted, 1, chunk.evicted.index + 1, 1)
        ended = time.perf_counter()
        self.newest = chunk
        return chunk, {"bank": looked - start + ended - taken, "pictures": taken - made, "end_to_end": ended - start}

    @on_model_thread
    @torch.inference_mode()
    def passes_alone(self) -> float:
        """Return the seconds of the next chunk's passes with nothing else on the device; the stream does not move."""
        model = self.stream.model
        batch = passed(model, [self.stream.order(self.bank.frames(self.state))], mark(model.device))
        _, laid, _, ended = batch.marks
        reach(ended)
        return seconds(laid, ended)


def measure(model: WanModel, config: RunConfig, chunks: int, profile: Path | None = None) -> dict[str, Any]:
    """Run a stream until it is steady and then ``chunks`` more; return milliseconds, pictures a second and memory.

    Args:
        model: whose stream.
        config: of the bank.
        chunks: how many are timed.
        profile: where to write which kernels take how long, over a few more chunks.
    """
    cuda = on_gpu(model.device)
    if cuda:
        torch.cuda.reset_peak_memory_stats(model.device)
    # Window and slots are full by then, and what is recorded has been: once as often as the context grew.
    steady = model.layout.local // model.layout.chunk + model.layout.slots + 4
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        loop = Loop(model, config, Path(folder))
        first, _ = loop.turn()
        _ = first.pictures
        started = time.perf_counter()
        for _ in range(steady - 1):
            loop.turn()
        warm = time.perf_counter()
        turns: list[tuple[dict[str, float], ...]] = []
        for _ in range(chunks):
            chunk, parts = loop.turn()
            turns.append((chunk.seconds, chunk.later, parts))  # the chunk itself holds what left the window
        attended = len(chunk.attended)
        _ = chunk.pictures
        alone = [loop.passes_alone() for _ in range(chunks)]
        if profile is not None:
            profile.write_text(traced(loop, device=model.device))
    spent = [{**seconds, **later, **parts} for seconds, later, parts in turns]
    for each, by_itself in zip(spent, alone, strict=True):
        each |= {"beside": each["denoise"] + each["clean"], "transformer": by_itself}
    named = (*PARTS, "pictures", "beside", "transformer", "end_to_end")
    figures = {name: _spread([1000 * each[name] for each in spent]) for name in named}
    rates = {
        name: round(1000 * model.spec.chunk_pictures / max(row["median"], 1e-6), 2) for name, row in figures.items()
    }
    return {
        "milliseconds": figures,
        "pictures_per_second": rates,
        "first_chunk_seconds": round(started - began, 2),
        "steady_after_seconds": round(warm - began, 2),
        "recorded": len(model.passes.replayed.recorded),
        "memory_frames": attended,
        "peak_device_gb": round(torch.cuda.max_memory_allocated(model.device) / 1e9, 2) if cuda else None,
        "reserved_device_gb": round(torch.cuda.max_memory_reserved(model.device) / 1e9, 2) if cuda else None,
        "peak_host_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


@on_model_thread
def traced(loop: Loop, device: str, rows: int = 25) -> str:
    """Return a table of what a chunk's time on the device (or the CPU) goes to, kernel by kernel."""
    from torch.profiler import ProfilerActivity, profile

    cuda = on_gpu(device)
    activities = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as found:
        for _ in range(TRACED):
            loop.turn()
        if cuda:
            torch.cuda.synchronize(device)
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -float(getattr(event, key)))
    whole = sum(float(getattr(event, key)) for event in events) or 1.0
    lines = ["| ms a chunk | share | calls | kernel |", "|---:|---:|---:|---|"]
    for event in events[:rows]:
        taken = float(getattr(event, key))
        name = event.key.replace("|", "/")[:100]
        lines.append(f"| {taken / 1000 / TRACED:.2f} | {taken / whole:.1%} | {event.count / TRACED:.0f} | {name} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.percentile(np.asarray(values), [10, 50, 90])
    return {"median": round(float(middle), 3), "p10": round(float(low), 3), "p90": round(float(high), 3)}
