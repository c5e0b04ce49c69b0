"""Two steps of training on the CPU: they run, are saved and gone on from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from memreel.model.codec import VideoCodec
from memreel.model.minilm import sentence_encoder
from memreel.model.sketch.weights import load_net
from memreel.training.device import Gradients, Place, started_ago
from memreel.training.evaluate import CONDITIONS, Evaluator
from memreel.training.flow import generate
from memreel.training.samples import collate, make_sample
from memreel.training.sketch import Trainer


@pytest.fixture
def folder(tmp_path: Path, two_blocks: None) -> Path:
    save_file(VideoCodec().state_dict(), tmp_path / "codec.safetensors")
    return tmp_path


def trainer(folder: Path) -> Trainer:
    torch.manual_seed(1)
    return Trainer(Place("cpu", 0, 1), folder, sentence_encoder("cpu"), batch=1, workers=0, seed=1)


def test_two_steps_run_and_are_gone_on_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memreel.training.sketch.DRAWS", 2)
    run = trainer(folder)
    parts: list[str] = []
    run.mark = parts.append
    before = {k: v.clone() for k, v in run.net.state_dict().items()}
    batch = collate([make_sample(Random(2), (3, 0, 0))], run.encoder)
    losses = [float(run.update(batch)) for _ in range(2)]
    assert all(0.0 < loss < 20.0 for loss in losses)
    assert parts[:7] == ["paint", "encode", "text", "noise", "learn", "average", "optimiser"]
    after = run.net.state_dict()
    assert all(not torch.equal(before[n], after[n]) for n in before if "blocks" in n and n.endswith("q.weight"))
    run.save([(2, losses[1])])

    same = trainer(folder)
    same.resume(folder)
    assert same.step == 2
    assert all(torch.equal(v, after[k]) for k, v in same.net.state_dict().items())
    assert all(torch.equal(v, run.ema[k]) for k, v in same.ema.items())
    assert float(same.update(batch)) > 0.0

    (folder / "optimizer.pt").unlink()
    raw = trainer(folder)
    raw.resume(folder)
    for name, value in raw.net.state_dict().items():
        torch.testing.assert_close(value, after[name].half().float())
        torch.testing.assert_close(raw.ema[name], run.ema[name].half().float())
    assert raw.step == 0

    for path in folder.glob("last-*.safetensors"):
        path.unlink()
    averaged = trainer(folder)
    averaged.resume(folder)
    shipped = load_net(folder).state_dict()
    assert all(torch.equal(v, shipped[k]) for k, v in averaged.net.state_dict().items())


def test_the_budget_counts_what_was_spent_before(folder: Path) -> None:
    run = trainer(folder)
    assert run.train(seconds=5.0, opening=0.0, decay=0.0, spent=6.0) == []
    assert run.step == 0
    assert started_ago() > 0.0 or not Path("/proc/self/stat").exists()


def test_gradients_are_one_buffer() -> None:
    layers = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    net = torch.nn.Sequential(*layers)
    gradients = Gradients(net.parameters())
    for _ in range(2):
        gradients.clear()
        net(torch.full((4, 3), 50.0)).sum().backward()
    found = torch.autograd.grad(net(torch.full((4, 3), 50.0)).sum(), list(net.parameters()))
    expected = torch.cat([grad.flatten() for grad in found])
    torch.testing.assert_close(gradients.flat, expected)
    gradients.clip(1.0)
    torch.testing.assert_close(gradients.flat, expected / expected.norm())
    assert layers[0].weight.grad is not None
    assert layers[0].weight.grad.data_ptr() == gradients.flat.data_ptr()


def test_every_condition_is_scored_and_pictures_are_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memreel.training.evaluate.generate", partial(generate, steps=1))
    run = trainer(folder)
    evaluator = Evaluator(run.codec, run.encoder, "cpu", 1)
    scores = evaluator.score(run.net, folder, seconds=0.0, size=1)
    assert set(scores) == set(CONDITIONS)
    assert (folder / "memory.png").stat().st_size > 0
    assert scores["reader"]["people"] == 1.0 or scores["reader"]["n"] == 0
