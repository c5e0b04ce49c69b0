"""The frame store: a memory frame's tensors and its picture, by id, in a run folder.

Tensors go to ``<tensors>/<id>.safetensors``, with a checksum, the picture to ``<pictures>/<id>.png``; a file is whole
or absent. A dropped frame's files stay until it is sure that nobody goes back to a state that lists it. The frames used
last stay in memory, on the CPU, as many as have room, so that what is attended chunk after chunk is not read again.
Which frames exist is the bank's business: the store only has their contents.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from memreel.errors import StoreError
from memreel.model.protocol import MemoryFrame
from memreel.output.durable import read_tensors, write_tensors, write_whole
from memreel.output.png import png

FIELDS = ("latent", "keys", "values")
"""A frame's tensors; where only the latent was kept, the file has no others."""
ROOM = {"kv": 1_900_000_000, "latent": 45_000_000}
"""Bytes of memory for frames that are kept with their keys and values, and for those kept as latents alone."""
TENSORS, PICTURE = ".safetensors", ".png"


class FrameStore:
    """Tensors and pictures of memory frames on disk, the last few also in memory."""

    def __init__(self, tensors: Path, pictures: Path, room: Mapping[str, int] = ROOM) -> None:
        """Use two folders, created at the first `put`; hold at most so many bytes of each kind of frame in memory."""
        self._tensors = tensors
        self._pictures = pictures
        self._room = room
        self._held: OrderedDict[str, MemoryFrame] = OrderedDict()
        self._dropped: set[str] = set()

    def put(self, frame: MemoryFrame, picture: npt.NDArray[np.uint8]) -> str:
        """Write a frame and its picture (uint8 ``[height, width, 3]``), over an earlier one of the same id.

        Returns:
            The picture's path relative to the run folder, ``frames/<id>.png``.

        Raises:
            StoreError: a file cannot be written.
        """
        tensors = {name: value for name in FIELDS if (value := getattr(frame, name)) is not None}
        tensors = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
        frame = replace(frame, **tensors)
        path, shown = self._tensor_path(frame.frame_id), self._picture_path(frame.frame_id)
        place = {"frame_id": frame.frame_id, "index": frame.index, "frame": frame.frame, "text": frame.text}
        try:
            write_tensors(path, tensors, place)
            shown.parent.mkdir(parents=True, exist_ok=True)
            write_whole(shown, png(picture))
        except OSError as error:
            raise StoreError(f"cannot write {shown}: {error.strerror or error}") from error
        self._dropped.discard(frame.frame_id)
        self._hold(frame)
        return f"{self._pictures.name}/{shown.name}"

    def get(self, frame_id: str) -> MemoryFrame:
        """Return a frame, its tensors on the CPU and bit for bit what was put.

        Raises:
            StoreError: the file is missing, cut short or not a memory frame; the message names it.
        """
        if frame_id in self._held:
            self._held.move_to_end(frame_id)
            return self._held[frame_id]
        path = self._tensor_path(frame_id)
        if not path.is_file():
            raise StoreError(f"{path}: memory frame {frame_id} is missing; the run folder was changed from outside")
        tensors, place = read_tensors(path)
        if place.get("frame_id") != frame_id:
            raise StoreError(f"{path}: holds memory frame {place.get('frame_id')}, not {frame_id}")
        try:
            latent, keys, values = tensors["latent"], tensors.get("keys"), tensors.get("values")
            if (keys is None) != (values is None):
                raise KeyError("keys or values")
            frame = MemoryFrame(frame_id, int(place["index"]), int(place["frame"]), latent, keys, values, place["text"])
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{path} is damaged: it is no memory frame ({error})") from error
        self._hold(frame)
        return frame

    def intact(self, frame_id: str) -> bool:
        """Tell whether both files of a frame are on the disk and bit for bit what was put; nothing is held."""
        try:
            _, place = read_tensors(self._tensor_path(frame_id))
            with Image.open(self._picture_path(frame_id)) as image:
                image.verify()  # PNG has checksums of its own
        except (StoreError, OSError, SyntaxError, ValueError, EOFError):
            return False
        return place.get("frame_id") == frame_id

    def drop(self, frame_id: str) -> None:
        """Forget a frame; its files are deleted by the next `settle`, unless it is put again before."""
        self._held.pop(frame_id, None)
        self._dropped.add(frame_id)

    def settle(self) -> None:
        """Delete the files of dropped frames: called when no state that still lists them will be gone back to.

        Raises:
            StoreError: a file cannot be deleted.
        """
        for frame_id in sorted(self._dropped):
            self._delete(self._tensor_path(frame_id), self._picture_path(frame_id))
        self._dropped.clear()

    def sweep(self, keep: Collection[str]) -> None:
        """Delete the files of all frames but those to keep.

        Raises:
            StoreError: a file cannot be deleted.
        """
        self._dropped.clear()
        for folder, suffix in ((self._tensors, TENSORS), (self._pictures, PICTURE)):
            for path in sorted(folder.glob(f"*{suffix}")):
                if path.name.removesuffix(suffix) not in keep:
                    self._held.pop(path.name.removesuffix(suffix), None)
                    self._delete(path)

    def _delete(self, *paths: Path) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot delete {path}: {error.strerror or error}") from error

    def _hold(self, frame: MemoryFrame) -> None:
        self._held[frame.frame_id] = frame
        self._held.move_to_end(frame.frame_id)
        kind = _kind(frame)
        alike = [name for name, other in self._held.items() if _kind(other) == kind]
        while self.bytes_held(kind) > self._room[kind]:
            del self._held[alike.pop(0)]

    def bytes_held(self, kind: str) -> int:
        """Return the memory that frames of a kind (``kv``, ``latent``) take."""
        frames = [frame for frame in self._held.values() if _kind(frame) == kind]
        return sum(part.nbytes for frame in frames for name in FIELDS if (part := getattr(frame, name)) is not None)

    def _tensor_path(self, frame_id: str) -> Path:
        return self._tensors / f"{_plain(frame_id)}{TENSORS}"

    def _picture_path(self, frame_id: str) -> Path:
        return self._pictures / f"{_plain(frame_id)}{PICTURE}"


def _kind(frame: MemoryFrame) -> str:
    return "latent" if frame.keys is None else "kv"


def _plain(frame_id: str) -> str:
    """Refuse an id that would leave the folder: ids also come from a state that a user may edit."""
    if not frame_id or Path(frame_id).name != frame_id:
        raise StoreError(f"'{frame_id}' is no memory frame's id")
    return frame_id
