"""The frame store: a memory frame's tensors and its picture, by id, in a run folder.

Tensors go to ``<tensors>/<id>.safetensors``, the picture to ``<pictures>/<id>.png``; each is written under a temporary
name and renamed, so a file is whole or absent. A few frames stay in memory, on the CPU, so that what is attended chunk
after chunk is not read again. Which frames exist is the bank's business: the store only has their contents.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from memreel.errors import StoreError
from memreel.model.protocol import MemoryFrame

FIELDS = ("latent", "keys", "values")


class FrameStore:
    """Tensors and pictures of memory frames on disk, the last few also in memory."""

    def __init__(self, tensors: Path, pictures: Path, held: int = 6) -> None:
        """Use two folders, created at the first `put`; hold at most ``held`` frames in memory."""
        self._tensors = tensors
        self._pictures = pictures
        self._size = max(0, held)
        self._held: OrderedDict[str, MemoryFrame] = OrderedDict()

    def put(self, frame: MemoryFrame, picture: npt.NDArray[np.uint8]) -> str:
        """Write a frame and its picture (uint8 ``[height, width, 3]``), over an earlier one of the same id.

        Returns:
            The picture's path relative to the run folder, ``frames/<id>.png``.

        Raises:
            StoreError: a file cannot be written.
        """
        frame = MemoryFrame(
            frame.frame_id,
            frame.index,
            frame.frame,
            *(getattr(frame, name).detach().to("cpu").contiguous() for name in FIELDS),
        )
        path, png = self._tensor_path(frame.frame_id), self._picture_path(frame.frame_id)
        place = {"frame_id": frame.frame_id, "index": str(frame.index), "frame": str(frame.frame)}
        target = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            png.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            save_file({name: getattr(frame, name) for name in FIELDS}, part, metadata=place)
            part.replace(path)
            target = png
            part = png.with_name(f".{png.name}.part")
            Image.fromarray(np.ascontiguousarray(picture)).save(part, format="PNG")
            part.replace(png)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{target}: cannot write memory frame {frame.frame_id} ({error})") from error
        self._hold(frame)
        return f"{self._pictures.name}/{png.name}"

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
        try:
            with safe_open(path, framework="pt") as file:
                place = file.metadata() or {}
                if place.get("frame_id") != frame_id:
                    raise StoreError(f"{path}: holds memory frame {place.get('frame_id')}, not {frame_id}")
                tensors = [file.get_tensor(name) for name in FIELDS]
                frame = MemoryFrame(frame_id, int(place["index"]), int(place["frame"]), *tensors)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StoreError(f"{path}: memory frame {frame_id} is damaged ({error})") from error
        self._hold(frame)
        return frame

    def drop(self, frame_id: str) -> None:
        """Forget a frame and delete its files; one that is not there is no error.

        Raises:
            StoreError: a file cannot be deleted.
        """
        self._held.pop(frame_id, None)
        for path in (self._tensor_path(frame_id), self._picture_path(frame_id)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{path}: cannot delete memory frame {frame_id} ({error})") from error

    def _hold(self, frame: MemoryFrame) -> None:
        self._held[frame.frame_id] = frame
        self._held.move_to_end(frame.frame_id)
        while len(self._held) > self._size:
            self._held.popitem(last=False)

    def _tensor_path(self, frame_id: str) -> Path:
        return self._tensors / f"{_plain(frame_id)}.safetensors"

    def _picture_path(self, frame_id: str) -> Path:
        return self._pictures / f"{_plain(frame_id)}.png"


def _plain(frame_id: str) -> str:
    """Refuse an id that would leave the folder: ids also come from a state that a user may edit."""
    if not frame_id or Path(frame_id).name != frame_id:
        raise StoreError(f"'{frame_id}' is no memory frame's id")
    return frame_id
