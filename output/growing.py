"""A video that grows: watched while it is made, gone on with after a kill, and in the end one file that seeks.

Each `add` writes one piece (a closed run of pictures, see `memreel.output.video`) as a file of its own with a checksum,
and appends it to the growing file, a fragmented MP4 that players read while it grows. `close` makes the finished file
from the pieces, with chapters. The pieces stay: a film that is forked shares them. With ``playlist`` the pieces are
also an HLS stream. This module knows pieces and pictures, neither chunks nor prompts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memreel.errors import StoreError
from memreel.output.durable import part_of, write_whole
from memreel.output.video import Chapter, Pictures, Piece, assemble, check_size, encode, h264_encoder

SEAL = b"free"
"""Kind of the box that ends a piece's file, with its checksum; players pass over it."""


@dataclass(frozen=True)
class GrowingPaths:
    """Where a growing video lies: the finished file, the growing one, the pieces' folder, the HLS playlist."""

    video: Path
    growing: Path
    pieces: Path
    playlist: Path

    def piece(self, number: int) -> Path:
        """Return the file of piece ``number``."""
        return self.pieces / f"{number:06d}.m4s"

    @property
    def head(self) -> Path:
        """What every playing of the pieces begins with."""
        return self.pieces / "head.mp4"


class GrowingVideo:
    """Takes pictures piece by piece; `close` completes the video, `abort` leaves what there is to be gone on with."""

    def __init__(self, paths: GrowingPaths, width: int, height: int, fps: int, *, playlist: bool = False) -> None:
        """Begin a video of ``width`` × ``height`` pixels at ``fps`` pictures a second; `restore` goes on with one.

        Raises:
            UserError: width or height is odd, or there is no H.264 encoder.
            StoreError: the growing file cannot be written.
        """
        check_size(width, height)
        h264_encoder()
        self.paths = paths
        self.starts: list[int] = []
        """The number of each piece's first picture."""
        self.count = 0
        """Pictures added so far."""
        self._shape, self._fps, self._playlist = (height, width, 3), fps, playlist
        self._open = True
        with _writing(paths.growing):
            paths.growing.write_bytes(b"")
            paths.playlist.unlink(missing_ok=True)

    def add(self, pictures: Pictures) -> None:
        """Encode ``pictures``, uint8 ``[n, height, width, 3]``, as the next piece; it is on the disk then.

        Raises:
            ValueError: another size or type than the video's.
            StoreError: the disk is full or the folder is gone.
        """
        if pictures.dtype != np.uint8 or pictures.shape[1:] != self._shape:
            raise ValueError(f"pictures of {pictures.dtype} {pictures.shape}, the video takes uint8 {self._shape}")
        number = len(self.starts)
        piece = encode(pictures, self._fps, self.count, number)
        write_piece(self.paths, number, piece, len(pictures))
        self._join(piece, len(pictures))
        self._list()

    def restore(self, pieces: int, pictures: Callable[[int], Pictures]) -> None:
        """Go on after so many pieces: those on the disk are taken, damaged ones are encoded again, later ones removed.

        ``pictures`` gives a piece's pictures.
        """
        if self.paths.pieces.is_dir():
            for path in self.paths.pieces.glob("*.m4s"):
                if not path.stem.isdigit() or int(path.stem) >= pieces:
                    path.unlink(missing_ok=True)
        for number in range(pieces):
            try:
                piece, count = read_piece(self.paths, number)
            except StoreError:
                self.add(pictures(number))
            else:
                self._join(piece, count)
        if pieces:
            self._list()

    def close(self, chapters: Sequence[Chapter] = ()) -> None:
        """Complete the finished file; the growing one goes. A second call does nothing.

        Raises:
            StoreError: it could not be written, or no picture was added; nothing is changed at its place.
        """
        if not self._open:
            return
        if not self.count:
            self.abort()
            raise StoreError(f"no picture was added to {self.paths.video}")
        written = assemble(self.paths.growing, self.paths.video, chapters)
        if written != self.count:
            self.paths.video.unlink(missing_ok=True)
            raise StoreError(f"{self.paths.growing} is damaged: it has {written} of {self.count} pictures")
        self._open = False
        self._list(ended=True)
        with _writing(self.paths.growing):
            self.paths.growing.unlink(missing_ok=True)

    def abort(self) -> None:
        """Stop: no finished file is made; pieces and growing file stay, to be played or gone on with."""
        self._open = False

    def _join(self, piece: Piece, count: int) -> None:
        """Append a piece that lies on the disk to the growing file."""
        with _writing(self.paths.growing), self.paths.growing.open("ab") as file:
            file.write(piece.body if self.starts else piece.head + piece.body)
        self.starts.append(self.count)
        self.count += count

    def _list(self, ended: bool = False) -> None:
        if not self._playlist:
            return
        folder = self.paths.pieces.relative_to(self.paths.playlist.parent).as_posix()
        lengths = [after - start for start, after in zip(self.starts, [*self.starts[1:], self.count], strict=True)]
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{-(-max(lengths) // self._fps)}",
            "#EXT-X-PLAYLIST-TYPE:EVENT",
            f'#EXT-X-MAP:URI="{folder}/{self.paths.head.name}"',
        ]
        for number, length in enumerate(lengths):
            lines += [f"#EXTINF:{length / self._fps:.6f},", f"{folder}/{self.paths.piece(number).name}"]
        text = "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])
        part = part_of(self.paths.playlist)
        with _writing(self.paths.playlist):
            part.write_text(text)
            part.replace(self.paths.playlist)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's errors into one that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def write_piece(paths: GrowingPaths, number: int, piece: Piece, pictures: int) -> None:
    """Write a piece's file, sealed, and the head before the first.

    Raises:
        StoreError: it cannot be written.
    """
    with _writing(paths.pieces):
        paths.pieces.mkdir(parents=True, exist_ok=True)
    if number == 0:
        write_whole(paths.head, piece.head)
    seal = {"sha256": _checksum(piece), "pictures": pictures}
    content = json.dumps(seal).encode()
    write_whole(paths.piece(number), piece.body + (len(content) + 8).to_bytes(4, "big") + SEAL + content)


def read_piece(paths: GrowingPaths, number: int) -> tuple[Piece, int]:
    """Return a piece as it was written, and how many pictures it has.

    Raises:
        StoreError: its file or the head is missing or not what was written; the message names it.
    """
    path = paths.piece(number)
    try:
        head, content = paths.head.read_bytes(), path.read_bytes()
        body, mark, seal = content.rpartition(SEAL)
        body, facts = body[:-4], json.loads(seal)
        piece = Piece(head, body)
        if not mark or facts["sha256"] != _checksum(piece):
            raise ValueError("its checksum does not match")
        return piece, int(facts["pictures"])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _checksum(piece: Piece) -> str:
    return hashlib.sha256(piece.head + piece.body).hexdigest()
