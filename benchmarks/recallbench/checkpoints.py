"""Detectors and image encoders for crops, from folders as `transformers` saves them; nothing is fetched.

A detector is an OWL-ViT, OWLv2 or (MM) Grounding DINO checkpoint: each being is looked for by a noun phrase of its own,
with the processor's published thresholds. An encoder is whatever `transformers.AutoModel` opens: the class
token after the last norm (DINO, DINOv2, ViT …), or the projected image features of a two-tower model (CLIP, SigLIP),
which reads texts as well. Pictures are fitted into a square first, so that no head is cropped away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from memreel.benchmarks.recallbench.crops import (
    Candidate,
    Colours,
    Cropper,
    Encoder,
    Features,
    Locator,
    WorldLocator,
    assigned,
    described,
    in_picture,
)
from memreel.errors import UserError, did_you_mean
from memreel.film.likeness import Box
from memreel.model.protocol import Pictures, VideoSpec
from memreel.model.worker import on_model_thread
from memreel.world.stories import Story

DETECTORS = ("owlv2", "owlvit", "grounding-dino", "mm-grounding-dino")
"""Kinds of detector, as ``model_type`` in config.json names them."""
PUBLISHED = {
    "detector": {"owl": "google/owlv2-base-patch16-ensemble", "grounding": "IDEA-Research/grounding-dino-base"},
    "encoder": {"dino": "facebook/dinov2-base", "clip": "openai/clip-vit-large-patch14"},
}
"""Repositories of the hub, by a word in the folder's name; the first is what is recommended otherwise."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PROCESSOR = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
UNUSED = ("pooler.",)
"""Weights that may be missing: heads that nothing here asks."""
BATCH = 16


@dataclass(frozen=True)
class Folder:
    """A folder of a checkpoint, and what it is wanted for."""

    path: Path
    role: str

    def check(self, *needed: Sequence[str]) -> None:
        """Look for one file of each list.

        Raises:
            UserError: one is missing; the message names it and the command that gets it.
        """
        known = PUBLISHED[self.role]
        name = next((known[word] for word in known if word in self.path.name.casefold()), next(iter(known.values())))
        cure = f"hf download {name} --local-dir {self.path}"
        if not self.path.is_dir():
            raise UserError(f"the {self.role} is missing: there is no folder {self.path}; {cure}")
        for files in needed:
            if not any((self.path / file).exists() for file in files):
                raise UserError(f"the {self.role} is incomplete: {self.path} has no {' or '.join(files)}; {cure}")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Turn what `transformers` says of a file that it cannot use into one line.

        Raises:
            UserError: that line.
        """
        from transformers.utils import logging as chat

        level = chat.get_verbosity()
        chat.set_verbosity_error()
        chat.disable_progress_bar()
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self.path}: transformers cannot open it as {self.role} ({_line(error)})") from error
        finally:
            chat.set_verbosity(level)
            chat.enable_progress_bar()

    def complete(self, told: Mapping[str, Any]) -> None:
        """Refuse weights that are not all there, which `transformers` would make up.

        Raises:
            UserError: some are missing.
        """
        missing = sorted(name for name in told["missing_keys"] if not any(part in name for part in UNUSED))
        if missing:
            raise UserError(
                f"{self.path}: the weights lack {len(missing)} tensor(s), such as {missing[0]}; get them again"
            )


class Detector:
    """An open-vocabulary detector."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load it.

        Raises:
            UserError: a file is missing or of something else.
        """
        from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

        self.name, self._device, where = str(folder), device, Folder(folder, "detector")
        where.check(["config.json"], WEIGHTS, PROCESSOR, TOKENIZER)
        with where.opened():
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind not in DETECTORS:
                raise UserError(
                    f"{folder}: a model of type '{kind}' finds nothing by words{did_you_mean(kind, DETECTORS)}; "
                    f"a detector is one of {', '.join(DETECTORS)}"
                )
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model, told = AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        where.complete(told)
        self._model = model.to(device).eval()

    def check(self, spec: VideoSpec) -> None:
        """Take pictures of any size."""

    def find(self, picture: Pictures, story: Story, scene: int, t: float, offset: float = 0.0) -> dict[int, Box]:
        """Return where each of those found is, each at a place of its own; expected places are not used."""
        del offset
        keys = in_picture(story, scene, t)
        return assigned({key: self.candidates(picture, described(story.beings[key])) for key in keys})

    @on_model_thread
    @torch.inference_mode()
    def candidates(self, picture: Pictures, phrase: str) -> list[Candidate]:
        """Return where a phrase may be meant, and how sure that is."""
        image, (height, width) = Image.fromarray(picture), picture.shape[:2]
        asked = self._processor(
            images=image, text=[[phrase]], return_tensors="pt", truncation=True, max_length=self._tokens()
        ).to(self._device)
        found = self._processor.post_process_grounded_object_detection(
            self._model(**asked), target_sizes=[(height, width)]
        )[0]
        out = []
        for box, score in zip(found["boxes"].tolist(), found["scores"].tolist(), strict=True):
            left, right = (min(max(x / width, 0.0), 1.0) for x in box[::2])
            top, bottom = (min(max(y / height, 0.0), 1.0) for y in box[1::2])
            if right > left and bottom > top:
                out.append(((left, top, right, bottom), score))
        return out

    def _tokens(self) -> int:
        config = self._model.config
        return int(min(getattr(config, "max_text_len", 512), config.text_config.max_position_embeddings))


class ImageEncoder:
    """An image encoder, which also reads if it has a tower for text."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load it.

        Raises:
            UserError: a file is missing or of something else.
        """
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        self.name, self._device, where = str(folder), device, Folder(folder, "encoder")
        where.check(["config.json"], WEIGHTS, PROCESSOR)
        with where.opened():
            model, told = AutoModel.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._towers = hasattr(model, "get_image_features") and hasattr(model, "get_text_features")
            if self._towers:
                where.check(TOKENIZER)
                self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        where.complete(told)
        self._model = model.to(device).eval()
        self._read = lru_cache(maxsize=64)(self._text)

    @on_model_thread
    @torch.inference_mode()
    def embed(self, pictures: Sequence[Pictures]) -> Features:
        """Return a feature for each picture."""
        found = []
        for start in range(0, len(pictures), BATCH):
            images = [self._squared(picture) for picture in pictures[start : start + BATCH]]
            pixels = self._processor(images, do_resize=False, do_center_crop=False, return_tensors="pt").to(
                self._device
            )
            if self._towers:
                rows = _tensor(self._model.get_image_features(**pixels))
            else:
                rows = self._model(**pixels).last_hidden_state[:, 0]
            found.append(_unit(rows))
        return np.concatenate(found)

    def embed_text(self, text: str) -> Features | None:
        """Return ``[1, width]`` for a text, cut where the model's context ends; None if it does not read."""
        return self._read(text) if self._towers else None

    @on_model_thread
    @torch.inference_mode()
    def _text(self, text: str) -> Features:
        longest = int(self._model.config.text_config.max_position_embeddings)
        asked = self._tokenizer([text], padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
        return _unit(_tensor(self._model.get_text_features(**asked.to(self._device))))

    def _squared(self, picture: Pictures) -> Image.Image:
        """Return a picture of the encoder's size, the short side filled up with the mean colour."""
        size = getattr(self._processor, "crop_size", None) or self._processor.size
        side = int(size.get("height") or size["shortest_edge"])
        image = Image.fromarray(np.ascontiguousarray(picture))
        scale = side / max(image.size)
        small = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BICUBIC
        )
        colour = tuple(int(c) for c in picture.reshape(-1, 3).mean(0))
        out = Image.new("RGB", (side, side), colour)
        out.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        return out


@lru_cache(maxsize=2)
def cropper_for(detector: str, encoder: str, device: str) -> Cropper:
    """Return a locator and an encoder: folders, or ``reader`` and ``colours``, which need no files; loaded once.

    Raises:
        UserError: a folder lacks a file or holds something else.
    """
    locator: Locator = WorldLocator() if detector == WorldLocator.name else Detector(Path(detector), device)
    seen: Encoder = Colours() if encoder == Colours.name else ImageEncoder(Path(encoder), device)
    return Cropper(locator, seen)


def check_folders(detector: str, encoder: str) -> None:
    """Look whether everything is there, without opening it.

    Raises:
        UserError: a file is missing; the message names it and the command that gets it.
    """
    if detector != WorldLocator.name:
        Folder(Path(detector), "detector").check(["config.json"], WEIGHTS, PROCESSOR, TOKENIZER)
    if encoder != Colours.name:
        Folder(Path(encoder), "encoder").check(["config.json"], WEIGHTS, PROCESSOR)


def _tensor(found: Any) -> torch.Tensor:
    """Return projected features, which come as a tensor or as a model's output by the version of `transformers`."""
    out: torch.Tensor = found if isinstance(found, torch.Tensor) else found.pooler_output
    return out


def _unit(rows: torch.Tensor) -> Features:
    unit: Features = torch.nn.functional.normalize(rows.double(), dim=-1).cpu().numpy()
    return unit


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
