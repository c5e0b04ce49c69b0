"""Times the parts of a training step: ``python -m memreel.training.timing --weights DIR [--batch 96] [--kernels]``.

Prints milliseconds a step for waiting, painting, encoding, texts, noise, learning, averaging and optimisers, over steps
of the full context after a few that compile and record. Also starts under torchrun; then the first process prints.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch

from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.training.device import compile_pieces, join
from memreel.training.sketch import Trainer


class Stopwatch:
    """Adds up the time between marks: the device's own on a GPU, the host's elsewhere."""

    def __init__(self, device: str) -> None:
        self.gpu = device != "cpu"
        self.marks: list[tuple[str, torch.cuda.Event | float]] = []

    def mark(self, part: str) -> None:
        """Say that ``part`` ends here."""
        if self.gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append((part, event))
        else:
            self.marks.append((part, time.perf_counter() * 1000))

    def totals(self) -> dict[str, float]:
        """Return the milliseconds of each part so far."""
        if self.gpu:
            torch.cuda.synchronize()
        out: dict[str, float] = defaultdict(float)
        for (_, before), (part, after) in zip(self.marks, self.marks[1:], strict=False):
            if isinstance(before, float) or isinstance(after, float):
                assert isinstance(before, float)
                assert isinstance(after, float)
                out[part] += after - before
            else:
                out[part] += before.elapsed_time(after)
        return dict(out)


def measure(trainer: Trainer, steps: int, warm: int, kernels: bool = False) -> dict[str, float]:
    """Return the milliseconds of each part of a step, and of the whole on the host's clock (``step``)."""
    batches = trainer.batches(((((3, 3, 6)), 1.0),))
    for _ in range(warm):
        trainer.update(next(batches))
    watch = Stopwatch(trainer.here.device)
    trainer.mark = watch.mark
    watch.mark("start")
    if watch.gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        batch = next(batches)
        watch.mark("wait")
        trainer.update(batch)
    parts = {name: total / steps for name, total in watch.totals().items()}
    parts["step"] = (time.perf_counter() - started) * 1000 / steps
    if kernels:
        from torch.profiler import profile

        with profile() as seen:
            trainer.update(next(batches))
        sort = "self_device_time_total" if watch.gpu else "self_cpu_time_total"
        print(seen.key_averages().table(sort_by=sort, row_limit=40, max_name_column_width=80))
    return parts


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder that holds codec.safetensors")
    parser.add_argument("--encoder", type=Path, default=None, help="folder of the sentence encoder, if not packaged")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", type=int, default=4, help="steps before, which compile")
    parser.add_argument("--kernels", action="store_true", help="also print the kernels that took longest")
    args = parser.parse_args()
    here = join()
    if here.device != "cpu":
        compile_pieces()
    encoder = SentenceEncoder(args.encoder or weights_folder(), here.device)
    trainer = Trainer(here, args.weights, encoder, args.batch, args.workers, 1)
    began = time.monotonic()
    parts = measure(trainer, args.steps, args.warm, args.kernels)
    if here.first:
        print(
            f"compiled and measured in {time.monotonic() - began:.0f} s; milliseconds a step of {args.batch} samples:"
        )
        for name, value in parts.items():
            print(f"  {name:<10} {value:8.1f}")
        if here.device != "cpu":
            print(f"  GPU memory at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
