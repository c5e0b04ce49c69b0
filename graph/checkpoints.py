"""The checkpoints of a run folder: LangGraph's SQLite saver, which forgets what nobody goes back to.

Kept are the state after every chunk, where a fork can begin, and the last few whatever they are; states between the
nodes of a chunk or of a prompt go, and so do the writes that led to them. So a long video's database grows by one small
state a chunk. Every state and write is packed and carries a checksum, as SQLite's pages do not.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from memreel.errors import StoreError

NEWEST, AT_A_TIME = 4, 16
"""How many checkpoints are kept whatever they are, and how many are forgotten in one go."""
CIPHER = "zlib-sha256"


class RunSaver(SqliteSaver):
    """Keeps the state after every chunk and the newest ones."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what LangGraph's saver takes."""
        super().__init__(*args, **options)
        self._recent: deque[tuple[str, str, str, bool]] = deque()

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint; every now and then forget those that have become old."""
        kept = super().put(config, checkpoint, metadata, new_versions)
        place = kept["configurable"]
        lasting = _ends_a_chunk(checkpoint["channel_values"])
        self._recent.append((place["thread_id"], place["checkpoint_ns"], place["checkpoint_id"], lasting))
        if len(self._recent) >= NEWEST + AT_A_TIME:
            self._forget([self._recent.popleft() for _ in range(AT_A_TIME)])
        return kept

    def _forget(self, old: list[tuple[str, str, str, bool]]) -> None:
        where = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        with self.cursor() as cursor:
            cursor.executemany(f"DELETE FROM writes {where}", [place[:3] for place in old])
            cursor.executemany(f"DELETE FROM checkpoints {where}", [place[:3] for place in old if not place[3]])


def _ends_a_chunk(values: dict[str, Any]) -> bool:
    """Tell whether a state is one after `update_memory`: a chunk is finished, and the bank has looked at it."""
    return bool(values.get("chunk_id")) and "branch:to:update_memory" not in values


class Seal:
    """Packs what is stored and ends it with its checksum; to LangGraph a cipher, where it lets bytes be changed."""

    def __init__(self, path: Path) -> None:
        """Seal what lies in the database at ``path``."""
        self._path = path

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Return ``plaintext``, packed, with its checksum."""
        packed = zlib.compress(plaintext)
        return CIPHER, packed + hashlib.sha256(packed).digest()

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            StoreError: it is not what was stored; the message names the database.
        """
        packed, seal = ciphertext[:-32], ciphertext[-32:]
        if ciphername != CIPHER or hashlib.sha256(packed).digest() != seal:
            raise StoreError(f"{self._path} is damaged: the checksum of a state in it does not match")
        return zlib.decompress(packed)


@contextmanager
def checkpoints(path: Path) -> Iterator[RunSaver]:
    """Open the database at ``path``, making it if need be.

    Raises:
        StoreError: it cannot be read or written, in the block too: it is damaged, or the disk is full.
    """
    try:
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            yield RunSaver(connection, serde=EncryptedSerializer(Seal(path)))
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
