"""Video models by their configuration: one a process, and what cannot be loaded is the user's to change."""

from __future__ import annotations

import pytest

from memreel.configs.schema import ModelConfig
from memreel.errors import UserError
from memreel.model import load
from memreel.model.sketch.model import SketchModel


def test_a_model_is_loaded_once(sketch: SketchModel) -> None:
    assert load(ModelConfig(device="cpu")) is sketch
    assert load(ModelConfig(name="sketch", device="cpu")) is sketch
    assert sketch.device == "cpu"


def test_an_unknown_model_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"no video model 'skech'; did you mean 'sketch'\?; known: sketch"):
        load(ModelConfig(name="skech"))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(UserError, match=rf"model\.device: '{device}' cannot be used here .*; try 'auto'") as caught:
        load(ModelConfig(device=device))
    assert "\n" not in str(caught.value)
