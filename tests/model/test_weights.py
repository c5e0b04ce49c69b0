"""Weights of the embedded model: read back as written, and a wrong folder or file is named in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memreel.configs.schema import ModelConfig
from memreel.errors import UserError
from memreel.model import load
from memreel.model.sketch import weights
from memreel.model.sketch.weights import FOLDER, load_codec, load_net, save_shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped weights that may be spoilt."""
    for path in FOLDER.glob("*.safetensors"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def complaint(call: object, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        call(folder)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shards_stay_within_16_mib_and_read_back_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(path.stat().st_size <= 16 * 2**20 for path in FOLDER.glob("*.safetensors"))
    net = load_net()
    assert not net.training
    assert not any(value.requires_grad for value in net.parameters())
    monkeypatch.setattr(weights, "SHARD_BYTES", 6 * 2**20)
    paths = save_shards(net.state_dict(), tmp_path)
    assert len(paths) > 2
    assert all(path.stat().st_size <= 7 * 2**20 for path in paths)
    again = load_net(tmp_path).state_dict()
    for name, value in net.state_dict().items():
        assert torch.equal(again[name], value.half().float()), name


def test_a_missing_folder_or_file_is_named(tmp_path: Path, folder: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert f"{nowhere}: no net-*.safetensors" in complaint(load_net, nowhere)
    (folder / "codec.safetensors").unlink()
    assert f"{folder / 'codec.safetensors'}: no such file" in complaint(load_codec, folder)


def test_a_missing_shard_is_said_by_what_it_held(folder: Path) -> None:
    lost = load_file(folder / "net-1.safetensors")
    (folder / "net-1.safetensors").unlink()
    said = complaint(load_net, folder)
    assert said.startswith(f"{folder}: not weights of this model")
    assert any(f"{name} is missing" in said for name in lost)


@pytest.mark.parametrize("name", ["codec.safetensors", "net-0.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "folder"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "text": b"not found", "empty": b""}[damage])
    said = complaint(load_codec if name.startswith("codec") else load_net, folder)
    assert said.startswith(f"{path}: not a readable safetensors file")


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    codec = load_file(folder / "codec.safetensors")
    path, name = folder / "codec.safetensors", "decoder.0.bias"
    save_file({**codec, name: torch.zeros(5)}, path)
    assert f"{path}: not weights of this model ({name} is [5], not [192])" in complaint(load_codec, folder)
    save_file({**{k: v for k, v in codec.items() if k != name}, "strange": torch.zeros(1)}, path)
    assert f"({name} is missing and 1 more)" in complaint(load_codec, folder)
    save_file({**codec, "strange": torch.zeros(1)}, path)
    assert "(strange is not its own)" in complaint(load_codec, folder)


def test_the_configured_folder_is_the_one_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="elsewhere: no net-"):
        load(ModelConfig(weights=tmp_path / "elsewhere"))
