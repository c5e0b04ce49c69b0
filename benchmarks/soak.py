"""How long can a stream go on? Memory, open files, state, checkpoints and time a chunk over thousands of chunks.

``python -m memreel.benchmarks.soak --chunks 2000`` renders one live stream whose prompts come round again and again and
measures on the way. What should stay flat is compared between the run's second quarter and its last. A state grows with
prompts, if with anything: ``--set chunks_per_prompt=3`` brings four times as many of them in the same time.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memreel.configs import load_config
from memreel.graph.checkpoints import Seal
from memreel.graph.stream import LiveStream
from memreel.output.run_folder import RunFolder

PROMPTS = (
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Tom, a man with black hair and a white shirt, waits in the park.",
    "Mia meets Tom in the park.",
    "Rain falls on the empty street.",
    "Noah, a man with brown hair and a green hat, sits on the beach.",
    "Mia picks up the notebook and walks out of the library.",
    "Tom and Noah dance on the beach.",
)
FLAT = {
    "resident_mb": 1.1,
    "open_files": 1.0,
    "cpu_seconds": 1.15,
    "frames": 1.1,
    "state_kb": 1.1,
    "checkpoint_kb": 1.1,
    "database_kb_a_chunk": 1.1,
}
"""By which factor the last quarter may be above the second, for what has to stay flat.

Time is that of the processor, which other programs lengthen less than that of the clock.
"""


def measure(folder: RunFolder, chunk: int) -> dict[str, float]:
    """Return one row of figures after ``chunk`` chunks."""
    database = sqlite3.connect(f"file:{folder.checkpoints}?mode=ro", uri=True)
    try:
        form, state = database.execute(
            "SELECT type, checkpoint FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
        ).fetchone()
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    finally:
        database.close()
    unpacked = Seal(folder.checkpoints).decrypt(form.partition("+")[2], state)
    return {
        "chunk": chunk,
        "resident_mb": round(_resident_mb(), 1),
        "open_files": sum(1 for _ in Path("/dev/fd").iterdir()),
        "state_kb": round(len(unpacked) / 1e3, 2),
        "checkpoint_kb": round(len(state) / 1e3, 2),
        "database_mb": round((pages - free) * size / 1e6, 3),
        "frames": len(list(folder.frames.glob("*.png"))),
        "log_mb": round(folder.events.stat().st_size / 1e6, 3),
    }


def _resident_mb() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def soak(out: Path, chunks: int, every: int, settings: list[str]) -> Iterator[dict[str, float]]:
    """Render so many chunks, yielding a row of figures every ``every`` chunks."""
    config = load_config("sketch", settings)
    with LiveStream(PROMPTS[:1], out, config, video_id="soak") as stream:
        pushed, began, worked, held = 1, time.perf_counter(), time.process_time(), 0.0
        for chunk in stream:
            made = chunk.event["index"] + 1
            if chunk.event["chunk_id"] == 1:
                stream.push(PROMPTS[pushed % len(PROMPTS)])
                pushed += 1
            if made % every == 0:
                clock, work = (time.perf_counter() - began) / every, (time.process_time() - worked) / every
                row = measure(stream.folder, made)
                grown, held = 1e3 * (row["database_mb"] - held) / every, row["database_mb"]
                row |= {"seconds": round(clock, 4), "cpu_seconds": round(work, 4)}
                yield row | {"database_kb_a_chunk": round(grown, 2)}
                began, worked = time.perf_counter(), time.process_time()
            if made >= chunks:
                return


def verdict(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Compare the last quarter of the rows with the second: each figure's growth, and what grew too much."""
    quarter = max(1, len(rows) // 4)
    early, late = rows[quarter : 2 * quarter] or rows[:1], rows[-quarter:]
    growth = {
        key: round(statistics.median(row[key] for row in late) / max(1e-9, statistics.median(r[key] for r in early)), 3)
        for key in rows[0]
        if key != "chunk"
    }
    return {"growth": growth, "grew": [key for key, most in FLAT.items() if growth[key] > most]}


def main() -> int:
    """Run the benchmark; exit 1 if something grew that must stay flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--every", type=int, default=50, help="chunks between two measurements")
    parser.add_argument("--out", type=Path, help="where to render; a temporary folder if not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    options = parser.parse_args()
    if options.chunks < 4 * options.every:
        parser.error("--chunks must be at least four times --every")
    out = options.out or Path(tempfile.mkdtemp(prefix="memreel-soak-"))
    rows: list[dict[str, float]] = []
    try:
        for row in soak(out, options.chunks, options.every, options.settings):
            if not rows:
                print("  ".join(row))
            rows.append(row)
            print("  ".join(f"{value:>{len(key)}}" for key, value in row.items()), flush=True)
    finally:
        if options.out is None:
            shutil.rmtree(out, ignore_errors=True)
    result = {"chunks": options.chunks, "rows": rows, **verdict(rows)}
    print(f"grew: {', '.join(result['grew']) or 'nothing that must stay flat'}; factors {result['growth']}")
    if options.json:
        print(json.dumps(result))
    return 1 if result["grew"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
