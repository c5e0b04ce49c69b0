"""Nearest texts by meaning: a FAISS index over unit sentence embeddings, keyed by an integer.

The index holds nothing of its own: it is handed the rows (key, text) at every search and rebuilds itself only when they
changed, embedding only texts that were not among the rows before. So the truth stays in the bank's state, a forked or
resumed state needs no index file, and asking again costs one search. Several threads may ask. It knows nothing of casts
or prompts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Turns texts into unit vectors ``[texts, width]``."""


@dataclass(frozen=True)
class Candidate:
    """A cast member that a phrase may mean, with the cosine similarity of the closest wording of it."""

    global_id: int
    similarity: float


class TextIndex:
    """FAISS over (key, text) rows by inner product; a key may have several rows and counts by its closest one."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._rows: tuple[tuple[int, str], ...] = ()
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}
        self._index: Any = None
        self._lock = threading.Lock()
        self.builds = 0
        """How often the index was built: once for each new set of rows."""

    def nearest(self, rows: Sequence[tuple[int, str]], queries: Sequence[str], k: int) -> list[list[tuple[int, float]]]:
        """Return for each query the ``k`` most similar keys as (key, cosine similarity), best first."""
        if not rows or not queries or k < 1:
            return [[] for _ in queries]
        with self._lock:
            if tuple(rows) != self._rows:
                self._rebuild(tuple(rows))
            index = self._index
        vectors = np.ascontiguousarray(self._embed(queries), dtype=np.float32)
        similarities, keys = index.search(vectors, len(rows))
        return [_best_of_each(keys[i], similarities[i])[:k] for i in range(len(queries))]

    def _rebuild(self, rows: tuple[tuple[int, str], ...]) -> None:
        import faiss

        texts = list(dict.fromkeys(text for _, text in rows))
        fresh = [text for text in texts if text not in self._vectors]
        known = self._vectors | (dict(zip(fresh, self._embed(fresh), strict=True)) if fresh else {})
        self._vectors = {text: known[text] for text in texts}
        matrix = np.stack([self._vectors[text] for _, text in rows]).astype(np.float32)
        index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(matrix.shape[1]))
        index.add_with_ids(matrix, np.array([key for key, _ in rows], dtype=np.int64))
        self._index, self._rows = index, rows
        self.builds += 1


def _best_of_each(keys: npt.NDArray[np.int64], similarities: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
    best: dict[int, float] = {}
    for key, similarity in zip(keys.tolist(), similarities.tolist(), strict=True):
        best.setdefault(key, min(1.0, max(-1.0, similarity)))  # FAISS hands them out best first
    return list(best.items())
