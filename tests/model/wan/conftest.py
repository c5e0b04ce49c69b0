"""A small Wan model on disk and in memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_wan import settings, write_model

from memreel.model import load
from memreel.model.wan.model import WanModel


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original layout: ``causal.pt``, ``Wan2.1_VAE.pth``, UMT5 and its tokenizer."""
    where = tmp_path_factory.mktemp("wan")
    write_model(where)
    return where


@pytest.fixture(scope="session")
def wan(folder: Path) -> WanModel:
    model = load(settings(folder))
    assert isinstance(model, WanModel)
    return model
