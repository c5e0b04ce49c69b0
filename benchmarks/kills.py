"""Is anything lost when a run is killed? SIGKILL at random moments, and a comparison with the run that was not.

``python -m memreel.benchmarks.kills --count 25`` kills ``memreel run`` so often, always continuing with the same
command, and compares every file of each video that comes of it, byte for byte, with those of an uninterrupted run. Each
kill comes a few chunks after the command, and some part of a chunk's time later; one in five comes while the command
still loads. So the moments are spread over all a run does, however fast the machine is: loading, reading prompts,
rendering, remembering, the database, the last files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memreel.output.run_folder import RunFolder

PROMPTS = (
    "Mia, a woman with red hair and a blue sweater, walks into the library with a red notebook.",
    "Mia picks up the notebook and walks out.",
    "Rain falls on the empty street.",
    "Tom, a man with black hair and a white shirt, waits in the park.",
    "Mia meets Tom in the park.",
)
"""Shown twice, so that the first ones are long behind at the end."""
TIMED = ("seconds", "session_id", "pictures_per_second", "ratio", "read_in", "waited")
"""Keys of events that no two runs have in common."""


def lasting(folder: RunFolder) -> dict[str, Any]:
    """Return what must not depend on interruptions: every file's bytes, and the log without its timings."""
    timed = {folder.events, folder.run, folder.report, folder.checksums, folder.lock}
    files = {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and path not in timed and not path.name.startswith(folder.checkpoints.name)
    }
    events = [{key: value for key, value in event.items() if key not in TIMED} for event in folder.read_events()]
    return {"files": files, "events": events}


def differing(folder: RunFolder, other: RunFolder) -> list[str]:
    """Name the files in which two runs differ."""
    one, two = lasting(folder), lasting(other)
    names = one["files"].keys() | two["files"].keys()
    differ = sorted(name for name in names if one["files"].get(name) != two["files"].get(name))
    return differ + (["events.jsonl"] if one["events"] != two["events"] else [])


def run(script: Path, out: Path, strike: tuple[int, float] | None) -> int:
    """Start or continue the run; return its exit status, -9 if it was killed.

    It is killed so many seconds after so many further chunks; with none, after the command was given.
    """
    command = [sys.executable, "-m", "memreel.cli", "run", str(script), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    log = RunFolder(out / script.stem).events
    begun = _chunks(log)
    with subprocess.Popen(
        [*command, "--set", "chunks_per_prompt=1"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        if strike is not None:
            further, seconds = strike
            while further and process.poll() is None and _chunks(log) - begun < further:
                time.sleep(0.02)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()  # nothing, if it has ended
        _, said = process.communicate()
    if process.returncode not in (0, -9):
        raise SystemExit(f"the run failed with status {process.returncode}: {said.decode()}")
    return process.returncode


def _chunks(log: Path) -> int:
    return log.read_bytes().count(b'"type": "chunk"') if log.exists() else 0


def moment(draw: random.Random, loading: float, chunk: float) -> tuple[int, float]:
    """Return when to kill: after how many further chunks, and how many seconds later."""
    if draw.random() < 0.2:
        return 0, draw.uniform(0.1, loading)
    return draw.randint(1, 4), draw.uniform(0, chunk)


def main() -> int:
    """Run the benchmark; exit 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    options = parser.parse_args()
    draw, kills, videos = random.Random(options.seed), 0, 0
    lost: list[str] = []
    work = Path(tempfile.mkdtemp(prefix="memreel-kills-"))
    try:
        script = work / "film.jsonl"
        script.write_text(json.dumps({"prompts": [*PROMPTS, *PROMPTS]}))
        began = time.monotonic()
        run(script, work / "whole", None)
        whole = RunFolder(work / "whole" / "film")
        made_in = whole.read_json(whole.run)
        rendering = made_in["elapsed_seconds"] - made_in["seconds"]["load"]
        loading, chunk = time.monotonic() - began - rendering, rendering / made_in["chunks"]
        while kills < options.count or not videos:
            videos += 1
            made = RunFolder(work / f"killed-{videos}" / "film")
            while kills < options.count and not made.complete():
                if run(script, made.path.parent, moment(draw, loading, chunk)) != 0:
                    kills += 1
                    print(f"kill {kills}: video {videos}, {_chunks(made.events)} chunks", flush=True)
            if not made.complete():
                run(script, made.path.parent, None)
            lost += [f"{made.path.parent.name}/{name}" for name in differing(made, whole)]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{kills} kills, {videos} videos; {'differing: ' + ', '.join(lost) if lost else 'nothing lost'}")
    if options.json:
        print(json.dumps({"kills": kills, "videos": videos, "differing": lost}))
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
