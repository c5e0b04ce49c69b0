"""Folders as Wan and as diffusers publish them give the same model; what is missing is named with its cure."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_wan import original_vae, settings, vae, write_model

from memreel.cli import main
from memreel.errors import UserError
from memreel.model import load
from memreel.model.wan.model import WanModel
from memreel.model.wan.text import MAX_TOKENS, padded

TEXT = "Mia, a young woman with red hair, walks in the park."


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("diffusers")
    write_model(where, original=False)
    return where


def test_both_kinds_of_folder_give_the_same_model(wan: WanModel, diffusers_folder: Path) -> None:
    other = load(settings(diffusers_folder))
    assert isinstance(other, WanModel)
    assert torch.equal(other.text.states(TEXT), wan.text.states(TEXT))
    latents = torch.randn(3, 16, 4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(other.codec.begin().pictures(latents), wan.codec.begin().pictures(latents))
    for name, value in wan.net.state_dict().items():
        assert torch.equal(other.net.state_dict()[name], value), name


def test_the_original_vae_file_has_every_weight_under_its_own_name() -> None:
    made = vae().state_dict()
    names = original_vae(made)
    assert len(names) == len(made)
    assert {"conv1.weight", "conv2.bias", "decoder.head.0.gamma", "decoder.upsamples.3.resample.1.weight"} <= set(names)


def test_a_text_is_read_as_wan_reads_it(wan: WanModel) -> None:
    states = wan.text.states(TEXT)
    assert states.ndim == 2
    filled = padded(states)
    assert filled.shape == (1, MAX_TOKENS, 24)
    assert torch.equal(filled[0, : len(states)], states)
    assert not filled[0, len(states) :].any()
    assert torch.equal(wan.text.states(f"  {TEXT.replace(' ', '   ')}\n"), states)
    assert torch.equal(wan.text.states("tom&amp;amp;mia"), wan.text.states("tom&mia"))


def test_a_prompt_too_long_to_be_read_says_how_much_would_be_cut(wan: WanModel) -> None:
    long = "mia walks in the park " * 120
    stream = wan.open(0)
    with pytest.raises(UserError, match=r"has 601 tokens and Wan reads 512: 89 would be cut, from '.*' on; shorten it"):
        stream.set_prompt(long)
    assert len(wan.text.states(long)) == MAX_TOKENS


def test_every_missing_file_is_named_with_the_command_that_gets_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load(settings(tmp_path))
    said = str(caught.value)
    assert said.startswith(f"the causal transformer is missing: there is no {tmp_path / 'causal.safetensors'} or ")
    assert said.endswith("(and text encoder, tokenizer, VAE)")
    for name in ("causal.pt", "Wan2.1_VAE.pth"):
        shutil.copy(folder / name, tmp_path)
    shutil.copytree(folder / "google", tmp_path / "google")
    with pytest.raises(UserError, match=r"the text encoder is missing: .*hf download Wan-AI/Wan2.1-T2V-1.3B"):
        load(settings(tmp_path))
    shutil.copy(folder / "models_t5_umt5-xxl-enc-bf16.pth", tmp_path)
    with pytest.raises(UserError, match=r"the tiny codec is missing: .*curl -L -o .*taew2_1.pth"):
        load(settings(tmp_path, codec="tiny"))
    assert isinstance(load(settings(tmp_path)), WanModel)
    assert main(["doctor", "--config", "wan-1.3b", "--set", f"model.weights={tmp_path}"]) == 1
    out = capsys.readouterr().out
    assert "missing causal transformer" in out
    assert "→ hf download KlingTeam/MemFlow --local-dir weights/MemFlow" in out
    assert f"ok      VAE               {tmp_path / 'Wan2.1_VAE.pth'}" in out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Wan2.1_VAE.pth", "expected Wan 2.1's VAE"),
        ("models_t5_umt5-xxl-enc-bf16.pth", "'conv' is not known; expected Wan's UMT5 encoder"),
        ("taew2_1.pth", "expected taehv's weights"),
    ],
)
def test_a_file_of_something_else_is_named_with_what_was_expected(
    folder: Path, tmp_path: Path, name: str, says: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    torch.save({"conv": torch.zeros(3)}, tmp_path / name)
    with pytest.raises(UserError) as caught:
        load(settings(tmp_path, codec="tiny" if name.startswith("tae") else "wan"))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert says in str(caught.value)
