"""Pictures of clips that are looked at more than once, kept for the moment: whole, then as JPEG, then not at all.

Asking costs a decoding only when the picture is not there. The store is bounded, and it is one of the things that a
film lets go of when memory runs short (`memreel.film.relief`). It knows no scenes.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from memreel.errors import StoreError
from memreel.model.protocol import Pictures
from memreel.output.pictures import VideoFacts, video_facts
from memreel.output.video import read_pictures

HELD = 256
"""Pictures that are held at most."""
QUALITY = 90
Place = tuple[Path, int]


class Kept:
    """Decoded pictures by file and number; files never change under their name."""

    def __init__(self, held: int = HELD) -> None:
        """Begin empty."""
        self._held: OrderedDict[Place, Pictures | bytes] = OrderedDict()
        self._facts: dict[Path, VideoFacts] = {}
        self._most = held
        self._lock = threading.Lock()

    def facts(self, path: Path) -> VideoFacts:
        """Return size, rate and length of a clip.

        Raises:
            StoreError: it is not a video.
        """
        if path not in self._facts:
            self._facts[path] = video_facts(path)
        return self._facts[path]

    def get(self, path: Path, numbers: Iterable[int]) -> dict[int, Pictures]:
        """Return a clip's pictures by number, those past its end left out.

        Raises:
            StoreError: the file is missing or not a video.
        """
        wanted = sorted(set(numbers))
        with self._lock:
            found = {n: self._held[path, n] for n in wanted if (path, n) in self._held}
        missing = [n for n in wanted if n not in found]
        fresh = read_pictures(path, missing) if missing else {}
        self._hold({(path, n): picture for n, picture in fresh.items()})
        whole = {n: picture if isinstance(picture, np.ndarray) else _opened(picture) for n, picture in found.items()}
        return dict(sorted((whole | fresh).items()))

    @property
    def held_bytes(self) -> int:
        """Memory that the pictures take."""
        with self._lock:
            return sum(one.nbytes if isinstance(one, np.ndarray) else len(one) for one in self._held.values())

    def compress(self) -> None:
        """Keep the pictures as JPEG."""
        with self._lock:
            for place, picture in self._held.items():
                if isinstance(picture, np.ndarray):
                    self._held[place] = _jpeg(picture)

    def offload(self) -> None:
        """Let go of all pictures: the clips on the disk have them."""
        with self._lock:
            self._held.clear()

    def _hold(self, fresh: dict[Place, Pictures]) -> None:
        with self._lock:
            self._held.update(fresh)
            while len(self._held) > self._most:
                self._held.popitem(last=False)


def _jpeg(picture: Pictures) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _opened(content: bytes) -> Pictures:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise StoreError(f"a picture in memory is damaged: {error}") from error
