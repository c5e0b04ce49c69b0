"""How soon does a pushed prompt show? From the push to the first chunk under it, in chunks and in milliseconds.

``python -m memreel.benchmarks.push --count 20`` pushes into one live stream, by turns: for *now* at a random moment
while a chunk is made, and for *next* while the stream waits. A chunk is shown when it is logged and leaves the
iterator; ``chunks`` says how many others are shown between the push and it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memreel.benchmarks.soak import PROMPTS
from memreel.configs import load_config
from memreel.graph.stream import LiveStream

CHUNKS = 4
"""Chunks of a prompt, if none comes for now."""


def pushes(out: Path, count: int, seed: int, settings: list[str]) -> Iterator[dict[str, Any]]:
    """Push so many prompts each way; yield how long each took, and what a chunk takes by itself."""
    config = load_config("sketch", [*settings, f"chunks_per_prompt={CHUNKS}"])
    draw, done, way, usual = random.Random(seed), 0, "", 1.0
    with LiveStream(PROMPTS[:1], out, config, video_id="push") as stream:
        before = time.perf_counter()
        for rendered in stream.events():
            event, after = rendered.event, time.perf_counter()
            if event["type"] == "waiting" and not way:
                way = "next, waiting"
                stream.push(PROMPTS[done % len(PROMPTS)])
            if event["type"] != "chunk":
                continue
            if "pushed" in event and way:
                yield {"way": way, **event["pushed"], "chunk": usual}
                way, done = "", done + 1
                if done >= 2 * count:
                    return
            elif event["chunk_id"] == 2:
                usual = after - before
                if not way and done % 2 == 0:  # else the prompt goes to its end
                    way = "now, rendering"
                    text = PROMPTS[done % len(PROMPTS)]
                    threading.Timer(draw.uniform(0, usual), stream.push, [text, "now"]).start()
            before = time.perf_counter()


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="pushes each way")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    options = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="memreel-push-"))
    try:
        rows = list(pushes(out, options.count, options.seed, options.settings))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    result: dict[str, Any] = {"chunk_ms": round(1e3 * statistics.median(row["chunk"] for row in rows))}
    for way in sorted({row["way"] for row in rows}):
        chunks, times = zip(*((row["chunks"], 1e3 * row["seconds"]) for row in rows if row["way"] == way), strict=True)
        result[way] = {
            "count": len(times),
            "chunks": [min(chunks), statistics.median(chunks), max(chunks)],
            "ms": [round(min(times)), round(statistics.median(times)), round(max(times))],
        }
        print(f"{way}: shown {chunks[0] if len(set(chunks)) == 1 else result[way]['chunks']} chunks later, ", end="")
        print(f"after {result[way]['ms'][1]} ms ({result[way]['ms'][0]} to {result[way]['ms'][2]})")
    print(f"a chunk takes {result['chunk_ms']} ms")
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
