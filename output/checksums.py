"""Checksums of a folder's finished files, in the format of ``sha256sum``, which can check them too (``-c``).

What a run goes on from (latents, pieces of video, memory frames, states, log) carries checksums of its own; these are
for the files that a run ends with. The module knows no run folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from memreel.errors import StoreError
from memreel.output.durable import write_whole

Checksums = dict[str, str]
"""SHA-256 in hex by path, relative to the list's folder."""


def read_checksums(listing: Path) -> Checksums:
    """Return what is listed; nothing if there is no list.

    Raises:
        StoreError: it cannot be read, or a line of it is none of ``sha256sum``.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {listing}: {error}") from error
    found: Checksums = {}
    for number, line in enumerate(lines, start=1):
        digest, space, name = line.partition("  ")
        if len(digest) != 64 or not space or not name:
            raise StoreError(f"{listing}, line {number} is damaged")
        found[name] = digest
    return found


def list_checksums(listing: Path, files: Iterable[Path]) -> None:
    """Enter the files' checksums into the list, or replace them there.

    Raises:
        StoreError: a file cannot be read, or the list cannot be written.
    """
    found = read_checksums(listing)
    for path in files:
        try:
            found[path.relative_to(listing.parent).as_posix()] = _checksum(path.read_bytes())
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))
    write_whole(listing, lines.encode())


def require_listed(listing: Path, path: Path, content: bytes) -> None:
    """Check what was read from ``path`` against the list; what is not listed passes.

    Raises:
        StoreError: the content is another than was listed, or the list is damaged.
    """
    digest = read_checksums(listing).get(path.relative_to(listing.parent).as_posix())
    if digest is not None and digest != _checksum(content):
        raise StoreError(f"{path} is damaged: it is not what {listing.name} has; delete that file if you changed it")


def unlike_listed(listing: Path) -> Iterator[str]:
    """Yield a line for every listed file that is missing or changed.

    Raises:
        StoreError: the list is damaged.
    """
    for name in read_checksums(listing):
        path = listing.parent / name
        try:
            require_listed(listing, path, path.read_bytes())
        except OSError as error:
            yield f"cannot read {path}: {error.strerror or error}"
        except StoreError as error:
            yield str(error)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
