"""One video's folder: where each artefact lies, written so that no reader ever sees half of one.

All names inside a run folder are decided here. JSON files are replaced whole (temporary name, then rename); the event
log grows by whole lines; a lock keeps a second process out. This module does not know what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from memreel.errors import StoreError, UserError
from memreel.output.checksums import list_checksums, require_listed
from memreel.output.durable import PART, write_whole
from memreel.output.events import Event
from memreel.output.growing import GrowingPaths


class RunFolder:
    """``DIR/<video id>/``: paths of all artefacts, atomic JSON and the event log."""

    def __init__(self, path: Path) -> None:
        """Name a folder, touching nothing; `create` and `open` are the ways in."""
        self.path = path
        self.video = path / "video.mp4"
        self.memory_bank = path / "memory_bank.json"
        self.llm_agent = path / "llm_agent.json"
        self.report = path / "report.html"
        self.run = path / "run.json"
        self.events = path / "events.jsonl"
        self.checksums = path / "checksums.sha256"
        self.frames = path / "frames"
        self.stream = path / "stream"
        self.snapshots = self.stream / "snapshots"
        self.checkpoints = path / "state.sqlite"
        self.film = GrowingPaths(self.video, path / "live.mp4", self.stream / "video", path / "live.m3u8")
        """The video while it grows; see `memreel.output.growing`."""
        self.forks = path / "forks.jsonl"
        self.inbox = path / "inbox.jsonl"
        self.clips = path / "clips"
        self.sent = path / "sent"
        self.plan = path / "plan.yaml"
        self.lock = path / ".lock"

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make an empty run folder at ``path``; what an earlier run left there is removed.

        Raises:
            UserError: the folder cannot be made or written, or holds something else than a run.
        """
        folder = cls(Path(path))
        folder.require_free()
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.events.touch()  # first, so that the folder is known as a run's whatever happens next
            folder.clear()
            folder.frames.mkdir()
            folder.stream.mkdir()
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {folder.path}: {error.strerror or error}; choose another --out"
            ) from error
        return folder

    def require_free(self) -> None:
        """Check that `create` may take this folder, without creating anything.

        Raises:
            UserError: it cannot be written, or holds something else than a run.
        """
        require_writable(self.path)
        if self.path.is_dir() and not self.exists() and any(path != self.lock for path in self.path.iterdir()):
            raise UserError(f"{self.path} holds files that are no run of memreel's; choose another --out")

    def hold(self) -> BaseFileLock:
        """Take the folder for this process, making it if need be; ``release()`` what is returned.

        One process may hold it several times. A process that dies holds it no longer.

        Raises:
            UserError: another process holds it, it cannot be written, or it holds something else than a run.
        """
        self.require_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.lock, thread_local=False, is_singleton=True)
            lock.acquire(blocking=False)
        except Timeout:
            raise UserError(
                f"{self.path} is in use: another process is making this video; wait for it, or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot write the run folder {self.path}: {error.strerror or error}; choose another --out"
            ) from error
        return lock

    def held(self) -> bool:
        """Tell whether a process, this one or another, holds the folder."""
        lock = FileLock(self.lock, thread_local=False, is_singleton=True)
        if lock.is_locked:
            return True
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the run folder at ``path``.

        Raises:
            UserError: there is none.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise UserError(f"no run folder at {folder.path}: give the folder that `memreel run --out` wrote")
        if not folder.exists():
            raise UserError(f"{folder.path} is not a run folder: it has no {folder.events.name}")
        return folder

    def exists(self) -> bool:
        """Tell whether a run was begun here."""
        return self.events.is_file()

    def finished(self) -> bool:
        """Tell whether the run here went to its end."""
        if not (self.exists() and self.video.is_file()):
            return False
        return any(
            event.get("type") == "done" and event.get("status", "done") == "done" for event in self.read_events()
        )

    def complete(self) -> bool:
        """Tell whether the run here went to its end and everything that it ends with was written."""
        return self.finished() and self.report.is_file() and self.checksums.is_file()

    def seal(self) -> None:
        """Write down the checksums of what the run ended with: the last thing that is done in a run folder.

        Raises:
            StoreError: a file cannot be read, or the disk is full.
        """
        ends = (self.video, self.film.playlist, self.memory_bank, self.llm_agent, self.run, self.events, self.report)
        pictures = sorted(self.frames.glob("*.png"))
        list_checksums(self.checksums, [*(path for path in ends if path.is_file()), *pictures])

    def clear(self) -> None:
        """Remove every artefact of a run from the folder and empty its log; foreign files stay."""
        for path in (
            self.video,
            self.film.growing,
            self.film.playlist,
            self.memory_bank,
            self.llm_agent,
            self.report,
            self.run,
            self.checksums,
            self.forks,
            self.inbox,
            self.plan,
            *self.path.glob(f"{self.checkpoints.name}*"),
            *self.path.glob(f".*{PART}"),
        ):
            path.unlink(missing_ok=True)
        for path in (self.frames, self.stream, self.clips, self.sent):
            if path.is_dir():
                shutil.rmtree(path)
        self.events.write_bytes(b"")

    def reopen(self) -> None:
        """Make the folder ready to be gone on with: half-written files of a killed process go, and the end's checksums.

        Raises:
            StoreError: one cannot be removed.
        """
        try:
            self.checksums.unlink(missing_ok=True)
            for path in list(self.path.rglob(f".*{PART}")):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot clean {self.path}: {error.strerror or error}") from error

    def write_json(self, path: Path, value: Any) -> None:
        """Replace ``path`` by ``value`` as JSON: a reader sees the old file or the new one.

        Raises:
            StoreError: the disk is full, the folder is gone or not writable.
        """
        write_whole(path, json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n")

    def read_json(self, path: Path) -> Any:
        """Read a JSON artefact.

        Raises:
            StoreError: it is missing or broken, or not what was sealed; the message names it.
        """
        try:
            content = path.read_bytes()
            require_listed(self.checksums, path, content)
            return json.loads(content)
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from error

    def append_event(self, event: dict[str, Any]) -> bytes:
        """Add one line to the event log and return it; it is on the disk then.

        Raises:
            StoreError: the line could not be written.
        """
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        try:
            with self.events.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {self.events}: {error.strerror or error}") from error
        return line

    def keep_events(self, count: int) -> None:
        """Cut the event log after its first ``count`` lines.

        Raises:
            StoreError: it has fewer, or cannot be read or written.
        """
        kept = b"".join(self.log_lines(count))
        if self.events.stat().st_size > len(kept):
            write_whole(self.events, kept)

    def log_lines(self, count: int) -> list[bytes]:
        """Return the event log's first ``count`` lines as they stand there.

        Raises:
            StoreError: it has fewer, or cannot be read.
        """
        try:
            lines = self.events.read_bytes().splitlines(keepends=True)[:count]
        except OSError as error:
            raise StoreError(f"cannot read {self.events}: {error.strerror or error}") from error
        if len(lines) < count or not all(line.endswith(b"\n") for line in lines):
            raise StoreError(f"{self.events} is damaged: it has lost lines, of {count} there should be")
        return lines

    def log_digest(self, count: int) -> str:
        """Return the checksum of the event log's first ``count`` lines.

        Raises:
            StoreError: it has fewer, or cannot be read.
        """
        return hashlib.sha256(b"".join(self.log_lines(count))).hexdigest()

    def read_events(self) -> Iterator[Event]:
        """Yield the log's events in order; a last line that a killed run left unfinished is passed over.

        Raises:
            StoreError: the log cannot be read, or a line in it is damaged.
        """
        try:
            lines = self.events.read_bytes().split(b"\n")
        except OSError as error:
            raise StoreError(f"cannot read {self.events}: {error.strerror or error}") from error
        for number, line in enumerate(lines[:-1], start=1):
            try:
                event = json.loads(line)
                if not isinstance(event, dict):
                    raise ValueError("not an object")
            except ValueError as error:
                raise StoreError(f"{self.events}, line {number} is damaged: {error}") from error
            yield event


def run_folders(path: Path) -> list[RunFolder]:
    """Return the run folder at ``path``, or all those directly inside it, by name.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"no run at {path}: give a video's folder, or the --out folder that holds it")
    folder = RunFolder(path)
    found = [folder] if folder.exists() else [f for f in map(RunFolder, sorted(path.iterdir())) if f.exists()]
    if not found:
        raise UserError(f"no run in {path}: neither it nor a folder in it has an {folder.events.name}")
    return found


def require_writable(path: Path) -> None:
    """Check that the folder ``path`` can be made and written, by really writing; nothing stays behind.

    Raises:
        UserError: it cannot; the message names the part of the path that stands in the way.
    """
    nearest = path.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"cannot write to {path}: {nearest} is not a folder; choose another --out")
    try:
        Path(tempfile.mkdtemp(prefix=".memreel-", dir=nearest)).rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write to {path}: {nearest}: {reason}; choose another --out") from error
