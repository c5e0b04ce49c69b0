"""The studio's graph on the tests' small model: what `test_studio` lets ``langgraph dev`` serve."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import memreel.model
from memreel.graph.studio import graph

__all__ = ["graph"]

spec = importlib.util.spec_from_file_location("small_model", Path(__file__).parents[1] / "conftest.py")
assert spec is not None
assert spec.loader is not None
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
model = shared.SmallModel()
memreel.model.load = lambda config: model
