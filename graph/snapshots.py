"""Snapshots of a run's stream, under ``stream/snapshots``: what makes it short to go on with a long video.

A snapshot is a folder named after the chunks finished by then, whole or absent: the stream's state, and hard links to
the tensors of all memory frames that the bank had, since a chunk made after it may have attended to one that the bank
has dropped by now. All of it carries checksums; the newest `KEPT` stay. The log of latents is the truth and a snapshot
a short cut: if one cannot be written, or is damaged, an event says so, and an earlier one or the whole log does.

The stream's state is copied to host memory at once and written by a thread of its own, for which the next one waits.
A stream that needs no snapshots has none.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from memreel.errors import MemreelError, StoreError
from memreel.memory.frames import FrameStore
from memreel.model.protocol import Chunk, Log, Snapshot, SnapshotStream, Stream
from memreel.output.durable import part_of, put_in_place, read_tensors, share, write_tensors
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder

KEPT = 2
"""Snapshots of a run that stay: the newest, and one to fall back on."""
STATE = "stream.safetensors"
"""The stream's state in a snapshot, beside the memory frames' files."""


def snapshots_of(folder: RunFolder) -> dict[int, Path]:
    """Return the run's snapshots by the chunks finished by then, the earliest first."""
    found = folder.snapshots.iterdir() if folder.snapshots.is_dir() else ()
    return {int(path.name): path for path in sorted(found) if path.name.isdigit()}


def files_of(snapshot: Path) -> list[Path]:
    """Return the files of a snapshot, its stream's state, which has to be there, first."""
    return [snapshot / STATE, *sorted(path for path in snapshot.glob("*.safetensors") if path.name != STATE)]


class Snapshots:
    """Takes the snapshots of one stream, and restores it from them."""

    def __init__(self, folder: RunFolder, stream: Stream) -> None:
        """Serve a stream, which may be one that needs none; no thread is begun before one is needed."""
        self._folder, self._stream = folder, stream
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._faults: deque[Event] = deque()

    def take(self, frames: Iterable[str]) -> None:
        """Take a snapshot, if it is time for one; ``frames`` are the ids of all memory frames that there are."""
        stream = self._stream
        if not isinstance(stream, SnapshotStream) or not stream.snapshot_every or stream.index % stream.snapshot_every:
            return
        self.settle()
        path = self._folder.snapshots / f"{stream.index:06d}"
        part = part_of(path)
        try:
            if path.exists():  # of the same moment, by a process that was killed then
                _remove(path)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name in frames:  # now: the bank deletes what it drops
                file = f"{name}.safetensors"
                share(self._folder.stream / "memory" / file, part / file)
        except (StoreError, OSError) as error:
            self._lost(part, stream.index, error)
            return
        self._thread = self._thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._writing = self._thread.submit(self._write, part, path, stream.snapshot())

    def restore(self, log: Log, index: int) -> Chunk | None:
        """Restore the stream from the newest usable snapshot and the log since; those of a later moment are removed.

        Returns:
            What `Stream.restore` does.

        Raises:
            StoreError: latents are damaged or lost, or a snapshot cannot be removed; the message names the file.
        """
        stream, there = self._stream, snapshots_of(self._folder)
        if not isinstance(stream, SnapshotStream):
            return stream.restore(log, index)
        for late in [number for number in there if number > index]:
            _remove(there.pop(late))
        unusable: list[int] = []
        for number in [number for number in reversed(there) if number < index]:
            try:
                chunk = stream.restore(log, index, self._read(number, there[number]))
                break
            except MemreelError as error:
                self._faults.append(_fault(number, f"not gone on from: {error}"))
                unusable.append(number)
        else:
            chunk = stream.restore(log, index)
        for number in unusable:  # now that it is clear that they, and not the latents, were damaged
            _remove(there[number])
        return chunk

    def faults(self) -> Iterator[Event]:
        """Give, once, an event for each snapshot that was not written or not usable."""
        while self._faults:
            yield self._faults.popleft()

    def settle(self) -> None:
        """Wait until what was taken is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let what is under way end, and let go of the thread."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _write(self, part: Path, path: Path, snapshot: Snapshot) -> None:
        try:
            write_tensors(part / STATE, snapshot.tensors, {"index": snapshot.index, "stream": snapshot.facts})
            put_in_place(part, path)
            for old in list(snapshots_of(self._folder).values())[:-KEPT]:
                _remove(old)
        except (StoreError, OSError) as error:
            self._lost(part, snapshot.index, error)

    def _lost(self, part: Path, index: int, error: Exception) -> None:
        shutil.rmtree(part, ignore_errors=True)  # gives back what room it took
        self._faults.append(_fault(index, f"not written: {error}"))

    def _read(self, index: int, path: Path) -> Snapshot:
        tensors, facts = read_tensors(path / STATE)
        if facts.get("index") != index or "stream" not in facts:
            raise StoreError(f"{path / STATE} is damaged: it is after {facts.get('index')} chunks, not {index}")
        return Snapshot(index, tensors, facts["stream"], FrameStore(path, self._folder.frames).get)


def _fault(index: int, fault: str) -> Event:
    return {"type": "snapshot", "index": index, "fault": fault}


def _remove(path: Path) -> None:
    """Delete a snapshot, so that a killed process leaves it whole or not at all."""
    gone = part_of(path)
    try:
        shutil.rmtree(gone, ignore_errors=True)
        path.replace(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise StoreError(f"cannot delete {path}: {error.strerror or error}") from error
