"""The embedded model, loaded once, and a short video of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from short_film import Film, shoot

from memreel.configs.schema import ModelConfig
from memreel.model import load
from memreel.model.sketch.model import SketchModel


@pytest.fixture(scope="session")
def sketch() -> SketchModel:
    model = load(ModelConfig(device="cpu"))
    assert isinstance(model, SketchModel)
    return model


@pytest.fixture(scope="session")
def film(sketch: SketchModel) -> Film:
    return shoot(sketch)
