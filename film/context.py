"""What a film sends along as it grows, kept bounded: older pictures and texts count less, and shrink.

After FramePack (Zhang and Agrawala, 2025): the share of what is older falls geometrically. A picture of age *a*, in
segments, has the weight λ^-a; it is sent at that scale and that JPEG quality, never below `LEAST_SCALE` and
`LEAST_QUALITY`, and at most `MOST_FRAMES` pictures are kept at all. Of old segments' texts only what the cast
remembers is left. So what goes out with a request has a limit that does not depend on how long the film already is.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from memreel.errors import StoreError
from memreel.memory.records import CastMember
from memreel.output.durable import write_whole

DECAY = 2.0
MOST_FRAMES = 100
LEAST_SCALE = 0.25
LEAST_QUALITY = 10
NEWEST_TEXTS = 1
"""Segments whose text is kept word for word."""
LONGEST_CONTEXT = 4000
"""Characters of text that a context may have."""


@dataclass(frozen=True)
class Past:
    """A picture of an earlier segment: the file it lies in, the segment it is of, its number in a video."""

    path: Path
    segment: int
    number: int = 0


@dataclass(frozen=True)
class Weighed:
    """A picture with what it counts: 1 for the newest segment's, falling with age."""

    past: Past
    weight: float


def weight(age: int, decay: float = DECAY) -> float:
    """Return λ^-age; a picture of the segment just made has age 0."""
    return float(decay ** -max(0, age))


def compress(frames: Sequence[Past], now: int, decay: float = DECAY, most: int = MOST_FRAMES) -> list[Weighed]:
    """Return the newest ``most`` pictures with their weights, newest first; ``now`` is the newest segment."""
    newest = sorted(frames, key=lambda past: past.segment, reverse=True)[:most]
    return [Weighed(past, weight(now - past.segment, decay)) for past in newest]


def shrunk(path: Path, counts: float) -> bytes:
    """Return a picture as a JPEG whose size and quality go with what it counts.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise StoreError(f"cannot read the picture {path}: {error}") from error
    scale = min(1.0, max(LEAST_SCALE, counts))
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=max(LEAST_QUALITY, min(95, round(100 * counts))))
    return buffer.getvalue()


def shrink_to(path: Path, counts: float, folder: Path) -> Path:
    """Write the shrunk picture into ``folder`` and return its path; a full-weight one is returned as it is.

    Raises:
        StoreError: it cannot be read or written.
    """
    if counts >= 1:
        return path
    there = folder / f"{path.stem}_{max(LEAST_QUALITY, round(100 * counts))}.jpg"
    if not there.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(there, shrunk(path, counts))
    return there


def story_so_far(texts: Sequence[str], cast: Mapping[str, CastMember]) -> str:
    """Return the film's text so far: the newest segments word for word, of the older ones who is who."""
    old, new = texts[:-NEWEST_TEXTS], texts[-NEWEST_TEXTS:]
    facts = [
        f"{member['name']}: {', '.join(member['all_attrs'])}." if member["all_attrs"] else f"{member['name']}."
        for member in cast.values()
    ]
    story = " ".join([*(facts if old else []), *new])
    return story[-LONGEST_CONTEXT:]
