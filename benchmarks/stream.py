"""How fast a Wan stream runs, part by part, and how much memory it takes: ``python -m memreel.benchmarks.stream``.

Chunks are generated as in a run: the window full, memory frames from the bank in every slot, evicted chunks scored and
kept. With ``--random-weights`` no file is needed: weights are drawn in the real sizes, and a text's states are random.
The arithmetic limit is the multiplications of a chunk's passes over the speed of a large matrix product, measured on
the same device in the same process.

``--matrix`` measures every combination of precision, speed, codec and window, a JSON line each; ``--table FILE`` turns
such lines into the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from memreel.benchmarks.streambench.limit import limit
from memreel.benchmarks.streambench.matrix import cells
from memreel.benchmarks.streambench.measure import measure
from memreel.benchmarks.streambench.table import put_into, read_lines, table
from memreel.benchmarks.streambench.weights import random_model
from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.errors import MemreelError, UserError
from memreel.model.clock import on_gpu
from memreel.model.wan.model import WanModel


def run(
    config: RunConfig, *, random_weights: bool, small: bool, chunks: int, profile: Path | None = None
) -> dict[str, Any]:
    """Measure one configuration and return the report."""
    import memreel.model

    if config.model.wan is None:
        raise UserError("--preset: this measures Wan presets, such as wan-1.3b")
    began = time.perf_counter()
    model = random_model(config.model, small=small) if random_weights else memreel.model.load(config.model)
    if not isinstance(model, WanModel):
        raise UserError(f"model.name: '{model.name}' is no Wan model")
    loaded = time.perf_counter() - began
    found = measure(model, config, chunks, profile)
    bound = limit(model)
    share = bound["milliseconds"] / found["milliseconds"]["transformer"]["median"]
    name = torch.cuda.get_device_name(model.device) if on_gpu(model.device) else ""
    return {
        "device": name or f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "random_weights": random_weights,
        "size": [model.spec.width, model.spec.height],
        "settings": config.model.wan.model_dump(mode="json", exclude={"checkpoint", "lora", "tiny", "entry"}),
        "memory_store": config.memory.store,
        "attention": {"kernel": model.attention.name, "milliseconds": model.attention.milliseconds},
        "load_seconds": round(loaded, 2),
        "chunks": chunks,
        **found,
        "limit": {**bound, "share": round(share, 4)},
    }


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--preset", default="wan-1.3b", help="preset or YAML file")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    made.add_argument("--random-weights", action="store_true", help="draw the weights: no file is needed")
    made.add_argument("--small", action="store_true", help="with --random-weights: two narrow blocks, to try it out")
    for name in ("precision", "codec", "speed", "attention"):
        made.add_argument(f"--{name}", help=f"sets model.wan.{name}")
    made.add_argument("--chunks", type=int, default=20, help="steady chunks that are measured")
    made.add_argument("--profile", type=Path, metavar="FILE", help="write which kernels a chunk's time goes to")
    made.add_argument("--json", action="store_true", help="print the report as one JSON object on the last line alone")
    made.add_argument("--matrix", action="store_true", help="measure every combination, a JSON line each")
    made.add_argument("--budget", type=float, default=3600.0, metavar="S", help="seconds for the whole matrix")
    made.add_argument("--cap", type=float, default=600.0, metavar="S", help="seconds for one of its combinations")
    made.add_argument("--table", type=Path, metavar="FILE", help="print the JSON lines in a file as a markdown table")
    made.add_argument("--into", type=Path, metavar="PAGE", help="with --table: put it into this page instead")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parser().parse_args(arguments)
    short = [f"model.wan.{n}={v}" for n in ("precision", "codec", "speed", "attention") if (v := getattr(args, n))]
    try:
        if args.table is not None:
            text = table(read_lines(args.table))
            if args.into is None:
                print(text, end="")
            else:
                put_into(args.into, text)
            return 0
        config = load_config(args.preset, [*short, *args.set])
        if args.matrix:
            return _matrix(args, short)
        given = {"random_weights": args.random_weights, "small": args.small, "profile": args.profile}
        report = run(config, chunks=max(1, args.chunks), **given)
    except MemreelError as error:
        print(f"stream: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(report) if args.json else json.dumps(report, indent=2))
    return 0


def _matrix(args: argparse.Namespace, short: Sequence[str]) -> int:
    """Print a line for each combination; the status is 1 if any failed."""
    shared = ["--preset", args.preset, "--chunks", str(args.chunks)]
    shared += [f"--{name.replace('_', '-')}" for name in ("random_weights", "small") if getattr(args, name)]
    shared += [part for setting in (*args.set, *short) for part in ("--set", setting)]
    failed = False
    for report in cells(shared, args.budget, args.cap):
        print(json.dumps(report), flush=True)
        failed |= "error" in report
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
