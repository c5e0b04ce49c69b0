"""The local video model as a clip model: one stream that runs through all of a film's clips.

A clip's latents are kept beside it, so a clip that comes `after` another goes on from there: sink, local window and
position are those of one long stream, and a retake of a clip stands where the first take stood, with other noise.
References are encoded to memory frames: one of the bank, a hosted provider's picture and a user's own photograph are
all the same to it. Where the clip before is not its own, the picture to go on from becomes the stream's first chunk.

It makes one clip at a time. A killed process makes the clip under way again, the same bit for bit. The model can be let
go of between clips, and is loaded again for the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageOps

from memreel.errors import StoreError, UserError
from memreel.film.clips.protocol import Capabilities, Clip, ClipRequest, Cost, Emit, Reference
from memreel.model.protocol import LoggedChunk, MemoryFrame, Pictures, VideoModel, VideoSpec
from memreel.output.durable import part_of, read_tensors, write_tensors
from memreel.output.pictures import video_facts
from memreel.output.video import assemble, encode

LATENTS = ".safetensors"
FIRST_GUESS_S = 1.0
"""Seconds that a chunk takes, until one was timed."""
SLOTS = 3
"""References that a clip attends to at most, where the caller does not say."""
FOREIGN = -1
"""Chunk number of memory frames that are not of this stream: below all of its own."""


@runtime_checkable
class Encodes(Protocol):
    """A video model that can take in pictures; without it references and foreign first frames are left out."""

    def latents_of(self, pictures: Pictures) -> torch.Tensor:
        """Encode uint8 ``[frames * pictures_per_latent, height, width, 3]`` to latents."""


class LocalStream:
    """Makes clips on this machine, for nothing but time."""

    provider = "local"

    def __init__(self, load: Callable[[], VideoModel], slots: int = SLOTS) -> None:
        """Use the video model that ``load`` gives, now and whenever it was let go of; ``slots``: references at most.

        Raises:
            UserError: it cannot be loaded.
        """
        self._load = load
        self._model: VideoModel | None = load()
        self.name, self.spec = self._model.name, self._model.spec
        self.slots = min(slots, self._model.memory_slots)
        self._takes_pictures = isinstance(self._model, Encodes)
        self.used = False
        """Whether it has made a clip: a model that never does is idle."""
        self._chunk_s = FIRST_GUESS_S
        self._one = threading.Lock()

    @property
    def model(self) -> VideoModel:
        """The video model, loaded again if it was let go of."""
        self._model = self._model or self._load()
        return self._model

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def release(self) -> bool:
        """Let go of the model, whose weights lie on the disk, unless a clip is being made with it."""
        if not self._one.acquire(blocking=False):
            return False
        try:
            self._model = None
        finally:
            self._one.release()
        return True

    @property
    def capabilities(self) -> Capabilities:
        """Any length in whole chunks, the model's own ratio, as many references as it has memory slots."""
        spec = self.spec
        return Capabilities(
            seconds=(spec.chunk_seconds, 3600.0),
            ratios=("16:9",) if spec.width > 1.2 * spec.height else ("9:16",) if spec.height > spec.width else ("1:1",),
            prompt_units=8000,
            references=self.slots if self._takes_pictures else 0,
            references_with_first_frame=True,
            first_frame=True,
            seed=True,
            at_once=1,
        )

    def estimate(self, request: ClipRequest) -> Cost:
        """Return the time to expect; it costs no money.

        Raises:
            UserError: the request's ratio is not the model's.
        """
        if request.ratio not in (ratios := self.capabilities.ratios):
            raise UserError(f"{self.name} makes pictures of {ratios[0]} only; set the plan's ratio to '{ratios[0]}'")
        return Cost(wall_seconds=round(self._chunks(request) * self._chunk_s, 1))

    def adaptions(self, request: ClipRequest) -> tuple[str, ...]:
        """Say what would be adapted, in sentences.

        Raises:
            UserError: see `estimate`.
        """
        self.estimate(request)
        left_out = len(request.references) - self.capabilities.references
        return (f"{left_out} of {len(request.references)} references left out",) if left_out > 0 else ()

    def picks_up(self, request: ClipRequest, folder: Path) -> bool:
        """Tell whether the clip is there already."""
        path = folder / f"{request.key}.mp4"
        if not (path.is_file() and (folder / f"{request.key}{LATENTS}").is_file()):
            return False
        return video_facts(path).pictures == self._chunks(request) * self.spec.chunk_pictures

    def generate(self, request: ClipRequest, folder: Path, emit: Emit) -> Clip:
        """Make the clip as ``folder/<key>.mp4``, its latents beside it; a finished one is returned as it is.

        Raises:
            UserError: see `estimate`.
            ModelError: the video model failed.
            StoreError: the folder cannot be written, or the latents of the clip before are damaged.
        """
        self.estimate(request)
        path, kept = folder / f"{request.key}.mp4", folder / f"{request.key}{LATENTS}"
        chunks = self._chunks(request)
        if self.picks_up(request, folder):
            return self._clip(path, chunks)
        with self._one:
            self.used = True
            folder.mkdir(parents=True, exist_ok=True)
            self._make(request, folder, path, kept, chunks, emit)
        return self._clip(path, chunks)

    def _make(self, request: ClipRequest, folder: Path, path: Path, kept: Path, chunks: int, emit: Emit) -> None:
        began = time.perf_counter()
        log = self._before(request, folder)
        memory = self._remembered(request.references, emit, request.key)
        stream = self.model.open(request.seed)
        stream.restore(lambda index: log[index], len(log))
        text = request.plain or request.prompt
        stream.set_prompt(text)
        made: list[torch.Tensor] = []
        spec = self.spec
        pieces = part_of(path.with_name(f"{request.key}.pieces"))
        try:
            with pieces.open("wb") as file:
                for number in range(chunks):
                    chunk = stream.generate(memory)
                    made.append(chunk.latents.cpu())
                    piece = encode(chunk.pictures, spec.fps, number * spec.chunk_pictures, number)
                    file.write(piece.body if number else piece.head + piece.body)
                    emit({"type": "clip_chunk", "key": request.key, "chunk": number + 1, "chunks": chunks})
            _keep(kept, text, made, log, request.after)  # before the video gets its name
            assemble(pieces, path, ())
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            stream.finalize()
            pieces.unlink(missing_ok=True)
        self._chunk_s = (time.perf_counter() - began) / chunks

    def _clip(self, path: Path, chunks: int) -> Clip:
        return Clip(path, chunks * self.spec.chunk_seconds, provider="local", model=self.name)

    def _chunks(self, request: ClipRequest) -> int:
        """Return the whole chunks that cover the request; a hundredth of a chunk too little is not missed."""
        return max(1, int(np.ceil(request.seconds / self.spec.chunk_seconds - 0.01)))

    # What the stream has behind it.

    def _before(self, request: ClipRequest, folder: Path) -> list[LoggedChunk]:
        """Return the chunks that the clip's stream goes on from, oldest first."""
        if request.after and (folder / f"{request.after}{LATENTS}").is_file():
            return _chain(folder, request.after)
        opening = request.first_frame or (request.references[0].path if request.references else None)
        if opening is None or not self._takes_pictures:
            return []
        words = request.references[0].caption if request.first_frame is None else request.plain or request.prompt
        return [LoggedChunk(words, self._latents(opening, self.spec.chunk_frames), [])]

    def _remembered(self, references: Sequence[Reference], emit: Emit, key: str) -> list[MemoryFrame]:
        if references and not self._takes_pictures:
            emit({"type": "clip_adapted", "key": key, "note": f"{self.name} takes in no pictures: references left out"})
            return []
        slots = self.slots
        if len(references) > slots:
            emit({"type": "clip_adapted", "key": key, "note": f"{slots} of {len(references)} references attended to"})
        last = self.spec.chunk_frames - 1
        return [
            MemoryFrame(
                reference.frame_id or reference.tag,
                FOREIGN - number,
                last,
                self._latents(reference.path, last + 1)[last],
                None,
                None,
                reference.caption,
            )
            for number, reference in enumerate(references[:slots])
        ]

    def _latents(self, picture: Path, frames: int) -> torch.Tensor:
        """Encode one still picture as ``frames`` latent frames."""
        pixels = fit(picture, self.spec)
        still = np.repeat(pixels[None], frames * self.spec.pictures_per_latent, axis=0)
        return cast(Encodes, self.model).latents_of(still)


def fit(path: Path, spec: VideoSpec) -> Pictures:
    """Read a picture and bring it to the model's size, cropping what sticks out.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (spec.width, spec.height), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError) as error:
        raise StoreError(f"cannot read the picture {path}: {error}") from error
    return np.asarray(fitted)


def _keep(path: Path, text: str, made: Sequence[torch.Tensor], log: Sequence[LoggedChunk], after: str) -> None:
    """Write a clip's latents, and those of the picture that its stream began with, if it did."""
    tensors, facts = {"latents": torch.stack(list(made))}, {"text": text, "after": "", "opening": ""}
    if log and (path.parent / f"{after}{LATENTS}").is_file():
        facts["after"] = after
    elif log:
        tensors["opening"], facts["opening"] = log[0].latents.cpu(), log[0].text
    write_tensors(path, tensors, facts)


def _chain(folder: Path, key: str) -> list[LoggedChunk]:
    """Return the chunks of a clip and of all that it goes on from, oldest first.

    Raises:
        StoreError: latents are missing or damaged.
    """
    parts: list[list[LoggedChunk]] = []
    while key:
        path = folder / f"{key}{LATENTS}"
        if not path.is_file():
            raise StoreError(f"{path} is missing; the film's folder was changed from outside, start over with --force")
        tensors, facts = read_tensors(path)
        part = [LoggedChunk(str(facts["text"]), latents, []) for latents in tensors["latents"]]
        if "opening" in tensors:
            part.insert(0, LoggedChunk(str(facts["opening"]), tensors["opening"], []))
        parts.append(part)
        key = str(facts["after"])
    return [chunk for part in reversed(parts) for chunk in part]
