"""Plain Python: take the chunks of a video while it is made, and stop early if you like.

Run it with ``python examples/iterate_chunks.py [FOLDER]``; it needs no key and no GPU.
"""

from __future__ import annotations

import sys

import memreel

PROMPTS = [
    "Mia, a woman with red hair and a blue sweater, walks into the library.",
    "Tom, a man with black hair, waits in the park.",
    "Mia walks back into the library.",
]


def main(out: str = "runs/iterate", config: memreel.RunConfig | str | None = None) -> list[float]:
    """Make the video and return the mean brightness of each chunk, 0..255."""
    brightness = []
    for chunk in memreel.generate(PROMPTS, out=out, config=config):
        brightness.append(float(chunk.pictures.mean()))  # uint8 [12, height, width, 3]
        recalled = ", ".join(chunk.event["memory"]) or "nothing yet"
        print(f"chunk {chunk.event['index']:2}: brightness {brightness[-1]:5.1f}, attends to {recalled}")
    return brightness


if __name__ == "__main__":
    main(*sys.argv[1:2])
