"""How fast a Wan stream runs, part by part, and how much memory it takes: ``python -m memreel.benchmarks.stream``.

Chunks are generated as in a run: the window full, memory frames from the bank in every slot, evicted chunks scored and
kept. With ``--random-weights`` no file is needed: weights are drawn in the real sizes, and a text's states are random.
The arithmetic limit is the multiplications of a chunk's passes over the speed of a large matrix product, measured on
the same device in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from memreel.configs import load_config
from memreel.configs.schema import ModelConfig, RunConfig, WanConfig
from memreel.errors import MemreelError, UserError
from memreel.model.fp8 import rounded
from memreel.model.transformer import TransformerConfig, VideoTransformer
from memreel.model.wan.model import WanModel
from memreel.model.wan.text import MAX_TOKENS, WanText
from memreel.model.wan.tiny import TinyDecoder
from memreel.model.wan.vae import NEEDS_EXTRA, Codec, WanVae

if TYPE_CHECKING:
    from memreel.memory.bank import Bank
    from memreel.memory.records import BankState

REAL = TransformerConfig(1536, 12, 30, 8960, 256, 4096)
SMALL = TransformerConfig(256, 2, 2, 512, 64, 32)
PROMPT = "Mia, a young woman with red hair and a green coat, walks through the old library."
PARTS = ("context", "denoise", "clean", "decode", "bank")


class RandomText:
    """Stands for the text encoder: states of the usual size, which depend on the text."""

    def __init__(self, width: int, device: str) -> None:
        self._width, self._device = width, device

    def states(self, text: str) -> torch.Tensor:
        """Return ``[tokens, width]``, a token a word and one more."""
        draw = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return torch.randn(len(text.split()) + 1, self._width, generator=draw).to(self._device)

    def require_short(self, text: str) -> None:
        """Accept any text."""


def random_model(config: ModelConfig, *, small: bool) -> WanModel:
    """Return a model of random weights, in the sizes of the 1.3B family or very small ones."""
    wan, device = config.wan or WanConfig(), _device(config.device)
    dtype = torch.float32 if wan.precision == "fp32" else torch.bfloat16
    sizes = SMALL if small else REAL
    torch.manual_seed(0)
    with torch.device(device):
        net = VideoTransformer(sizes).to(dtype).eval().requires_grad_(False)
        codec = _random_codec(wan.codec, dtype, small=small)
    text = cast(WanText, RandomText(sizes.text_dim, device))
    return WanModel(wan, net, text, codec, device)


def _random_codec(name: str, dtype: torch.dtype, *, small: bool) -> Codec:
    if name == "tiny":
        widths = (16, 12, 8, 8) if small else (256, 128, 64, 64)
        return TinyDecoder(widths).to(dtype).eval().requires_grad_(False)
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise UserError(f"{NEEDS_EXTRA}, or measure with --codec tiny") from error
    return WanVae(AutoencoderKLWan(**({"base_dim": 8} if small else {})).to(dtype).eval().requires_grad_(False))


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one pass over a chunk, times two: of linear layers, and of attention."""

    linear: float
    attention: float


def work(sizes: TransformerConfig, tokens: int, attended: int) -> Work:
    """Count a pass over ``tokens`` that attends to ``attended`` tokens, its own included, and to the text."""
    dim = sizes.dim
    linear = 2.0 * tokens * (6 * dim * dim + 2 * dim * sizes.ffn_dim)
    attention = 4.0 * tokens * (attended + MAX_TOKENS) * dim
    return Work(linear * sizes.layers, attention * sizes.layers)


def product_speed(device: str, dtype: torch.dtype, *, eight_bits: bool = False) -> float:
    """Return the operations a second of a large matrix product, the median of a few."""
    size = 8192 if device.startswith("cuda") else 512
    a = torch.randn(size, size, device=device, dtype=dtype)
    rows, scale = rounded(a)

    def product() -> None:
        if eight_bits:
            torch._scaled_mm(rows, rows.t(), scale, scale.t().contiguous(), out_dtype=dtype, use_fast_accum=True)
        else:
            torch.mm(a, a)

    return 2.0 * size**3 / statistics.median(_timed(product, device) for _ in range(12))


def _timed(call: Callable[[], object], device: str) -> float:
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


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


def measure(model: WanModel, config: RunConfig, chunks: int) -> dict[str, Any]:
    """Run a stream until it is steady and then ``chunks`` more; return milliseconds, pictures a second and memory."""
    began = time.perf_counter()
    stream, layout = model.open(0), model.layout
    if model.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(model.device)
    stream.set_prompt(PROMPT)
    steady = layout.local // layout.chunk + layout.memory + 3
    spent: list[dict[str, float]] = []
    first = 0.0
    with tempfile.TemporaryDirectory() as folder:
        bank, state = _bank(model, config, Path(folder))
        for index in range(steady + chunks):
            start = time.perf_counter()
            memory = bank.frames(state)
            looked = time.perf_counter()
            chunk = stream.generate(memory)
            made = time.perf_counter()
            if chunk.evicted is not None:
                state, _ = bank.admit(state, chunk.evicted, 1, chunk.evicted.index + 1, 1)
            ended = time.perf_counter()
            first = first or ended - began
            if index >= steady:
                bank_s = looked - start + ended - made
                spent.append({**chunk.seconds, "bank": bank_s, "end_to_end": ended - start})
    for each in spent:
        each["transformer"] = each["denoise"] + each["clean"]
    names = (*PARTS, "transformer", "end_to_end")
    figures = {name: _spread([1000 * each[name] for each in spent]) for name in names}
    rates = {
        name: round(1000 * model.spec.chunk_pictures / max(row["median"], 1e-6), 2) for name, row in figures.items()
    }
    cuda = model.device.startswith("cuda")
    return {
        "milliseconds": figures,
        "pictures_per_second": rates,
        "first_chunk_seconds": round(first, 2),
        "memory_frames": len(chunk.attended),
        "peak_device_gb": round(torch.cuda.max_memory_allocated(model.device) / 1e9, 2) if cuda else None,
        "peak_host_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.percentile(np.asarray(values), [10, 50, 90])
    return {"median": round(float(middle), 3), "p10": round(float(low), 3), "p90": round(float(high), 3)}


def limit(model: WanModel) -> dict[str, Any]:
    """Return a steady chunk's arithmetic, and how long it takes at the speed of large matrix products."""
    layout, tokens = model.layout, model.grid[0] * model.grid[1]
    attended = layout.sink + layout.memory + layout.local + layout.chunk
    each = work(model.net.config, layout.chunk * tokens, attended * tokens)
    passes = len(model.config.steps) + 1
    plain = product_speed(model.device, model.dtype)
    eight = model.config.precision == "fp8" and model.device.startswith("cuda")
    linear = product_speed(model.device, model.dtype, eight_bits=True) if eight else plain
    milliseconds = 1000 * passes * (each.linear / linear + each.attention / plain)
    return {
        "frames_attended": attended,
        "passes": passes,
        "teraflop": round(passes * (each.linear + each.attention) / 1e12, 3),
        "product_tflops": round(plain / 1e12, 1),
        "linear_product_tflops": round(linear / 1e12, 1),
        "milliseconds": round(milliseconds, 2),
    }


def run(config: RunConfig, *, random_weights: bool, small: bool, chunks: int) -> dict[str, Any]:
    """Measure one configuration and return the report."""
    import memreel.model

    if config.model.wan is None:
        raise UserError("--preset: this measures Wan presets, such as wan-1.3b")
    began = time.perf_counter()
    model = random_model(config.model, small=small) if random_weights else memreel.model.load(config.model)
    if not isinstance(model, WanModel):
        raise UserError(f"model.name: '{model.name}' is no Wan model")
    loaded = time.perf_counter() - began
    bound = limit(model)
    found = measure(model, config, chunks)
    share = bound["milliseconds"] / found["milliseconds"]["transformer"]["median"]
    cuda = model.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(model.device) if cuda else f"{platform.machine()}, {os.cpu_count()} cores",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="wan-1.3b", help="preset or YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    parser.add_argument("--random-weights", action="store_true", help="draw the weights: no file is needed")
    parser.add_argument("--small", action="store_true", help="with --random-weights: two narrow blocks, to try it out")
    for name in ("precision", "codec", "speed", "attention"):
        parser.add_argument(f"--{name}", help=f"sets model.wan.{name}")
    parser.add_argument("--chunks", type=int, default=20, help="steady chunks that are measured")
    parser.add_argument(
        "--json", action="store_true", help="print the report as one JSON object on the last line alone"
    )
    args = parser.parse_args(arguments)
    short = [f"model.wan.{n}={v}" for n in ("precision", "codec", "speed", "attention") if (v := getattr(args, n))]
    try:
        config = load_config(args.preset, [*short, *args.set])
        report = run(config, random_weights=args.random_weights, small=args.small, chunks=max(1, args.chunks))
    except MemreelError as error:
        print(f"stream: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(report) if args.json else json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
