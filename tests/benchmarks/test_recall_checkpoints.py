"""Detectors and encoders from folders: small random checkpoints in the real format, and what is wrong with a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, pipeline

from memreel.benchmarks.recallbench.accuracy import crop_accuracy
from memreel.benchmarks.recallbench.checkpoints import Detector, ImageEncoder, check_folders, cropper_for
from memreel.benchmarks.recallbench.crops import in_picture
from memreel.benchmarks.recallbench.scripts import make_script
from memreel.errors import UserError

PICTURE = np.random.default_rng(0).integers(0, 255, (112, 192, 3)).astype(np.uint8)
PHRASE = "a red hat"
"""Short, as the small tokenizers read letter by letter."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a small checkpoint by its kind, made once."""
    where = tmp_path_factory.mktemp("checkpoints")

    def make(kind: str) -> Path:
        folder = where / kind
        return folder if folder.exists() else getattr(tiny, kind)(folder)

    return make


@pytest.mark.parametrize("kind", ["owlv2", "grounding_dino"])
def test_a_detector_finds_what_transformers_finds(made: Callable[[str], Path], kind: str) -> None:
    found = Detector(made(kind), "cpu").candidates(PICTURE, PHRASE)
    asked = pipeline("zero-shot-object-detection", str(made(kind)), device="cpu")
    told = asked(Image.fromarray(PICTURE), candidate_labels=[f"{PHRASE}."] if kind != "owlv2" else [PHRASE])
    scores = sorted((one["score"] for one in told), reverse=True)
    assert found
    for (left, top, right, bottom), score in found:
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert min(abs(score - other) for other in scores) < 1e-4


def test_a_phrase_longer_than_the_detector_reads_is_cut(made: Callable[[str], Path]) -> None:
    detector = Detector(made("owlv2"), "cpu")
    assert detector.candidates(PICTURE, f"{PHRASE} " * 20)


def test_each_being_gets_a_place_of_its_own(made: Callable[[str], Path]) -> None:
    story = make_script(9).story
    t = story.settled(0)
    boxes = Detector(made("grounding_dino"), "cpu").find(PICTURE, story, 0, t)
    assert set(boxes) <= set(in_picture(story, 0, t))
    assert len(set(boxes.values())) == len(boxes) > 0


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_an_encoders_feature_is_the_class_token_of_the_whole_picture(made: Callable[[str], Path], kind: str) -> None:
    square = PICTURE[:28, :28]
    encoder = ImageEncoder(made(kind), "cpu")
    config = json.loads((made(kind) / "preprocessor_config.json").read_text())
    scaled = (square / 255.0 - np.array(config["image_mean"])) / np.array(config["image_std"])
    pixels = torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]
    model = AutoModel.from_pretrained(made(kind)).eval()
    with torch.inference_mode():
        token = model(pixel_values=pixels).last_hidden_state[0, 0].double()
    found = encoder.embed([square, PICTURE])
    np.testing.assert_allclose(found[0], (token / token.norm()).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-9)
    assert encoder.embed_text("a woman") is None


def test_nothing_of_a_tall_crop_is_cut_away(made: Callable[[str], Path]) -> None:
    encoder, tall = ImageEncoder(made("dinov2"), "cpu"), np.zeros((90, 30, 3), np.uint8)
    hat = tall.copy()
    hat[:10] = 255
    plain, worn = encoder.embed([tall, hat])
    assert plain @ worn < 0.9999


def test_an_encoder_of_two_towers_reads_as_well(made: Callable[[str], Path]) -> None:
    encoder = ImageEncoder(made("clip"), "cpu")
    said, other = encoder.embed_text("a woman"), encoder.embed_text("a dog " * 40)
    assert said is not None
    assert other is not None
    assert said.shape == other.shape == (1, 24)
    assert encoder.embed([PICTURE]).shape == (1, 24)
    assert abs(float(said[0] @ other[0])) < 0.99999


def test_a_random_encoder_is_measured_on_painted_truth_like_any_other(made: Callable[[str], Path]) -> None:
    accuracy = crop_accuracy([make_script(9)], cropper_for("reader", str(made("dinov2")), "cpu"))
    assert accuracy["found"]["mean"] == 1.0
    assert 0.0 <= accuracy["reidentified"]["mean"] <= 1.0


def broken(folder: Path, out: Path, *without: str) -> Path:
    shutil.copytree(folder, out)
    for name in without:
        (out / name).unlink()
    return out


@pytest.mark.parametrize(
    ("kind", "without", "says"),
    [
        ("owlv2", ["config.json"], "the detector is incomplete: .* has no config.json; hf download google/owlv2"),
        ("owlv2", ["preprocessor_config.json"], "has no preprocessor_config.json or processor_config.json"),
        ("grounding_dino", ["model.safetensors"], "no model.safetensors .*hf download IDEA-Research/grounding-dino"),
        ("owlv2", ["tokenizer.json", "vocab.json"], "has no tokenizer.json or vocab.json"),
        ("dinov2", ["model.safetensors"], "the encoder is incomplete: .*hf download facebook/dinov2-base --local-dir"),
        ("clip", ["tokenizer.json", "vocab.json"], "no tokenizer.json .*hf download openai/clip"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_gets_it(
    made: Callable[[str], Path], tmp_path: Path, kind: str, without: list[str], says: str
) -> None:
    folder = broken(made(kind), tmp_path / kind.replace("_", "-"), *without)
    load = Detector if kind in ("owlv2", "grounding_dino") else ImageEncoder
    with pytest.raises(UserError, match=says):
        load(folder, "cpu")


def test_folders_are_looked_at_before_anything_is_rendered(made: Callable[[str], Path], tmp_path: Path) -> None:
    check_folders("reader", "colours")
    check_folders(str(made("owlv2")), str(made("dinov2")))
    with pytest.raises(UserError, match="the detector is missing: there is no folder weights/owl; hf download google"):
        check_folders("weights/owl", "colours")
    with pytest.raises(UserError, match=r"the encoder is missing: .*--local-dir weights/clip"):
        check_folders("reader", "weights/clip")


def test_a_folder_of_something_else_is_refused(made: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'clip' finds nothing by words; a detector is one of owlv2"):
        Detector(made("clip"), "cpu")
    cut = broken(made("dinov2"), tmp_path / "cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="transformers cannot open it as encoder"):
        ImageEncoder(cut, "cpu")
    lacking = broken(made("dinov2"), tmp_path / "lacking")
    tensors = load_file(lacking / "model.safetensors")
    lost = next(name for name in tensors if "layer" in name)
    save_file({k: v for k, v in tensors.items() if k != lost}, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacking: the weights lack 1 tensor\(s\), such as encoder\.layer"):
        ImageEncoder(lacking, "cpu")
