"""A painted film: one script under one variant with the painted model, and its figures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from painted import Faults, PaintedModel

from memreel.benchmarks.recall import Plan, make_take
from memreel.benchmarks.recallbench.cases import Take
from memreel.benchmarks.recallbench.figures import summary
from memreel.benchmarks.recallbench.scripts import make_script, twin
from memreel.benchmarks.recallbench.strategies import parse_variant
from memreel.configs import load_config


@pytest.fixture(scope="session")
def measured() -> Callable[..., dict[str, Any]]:
    """Return the figures of a painted film: ``measured("identity@gold", 3, swap=True)``."""
    plan = Plan(load_config("sketch", ["chunks_per_prompt=7", "memory.presence=0.2", "memory.presence_ratio=0.5"]), ())

    @cache
    def taken(variant: str, number: int, faults: tuple[tuple[str, Any], ...]) -> Take:
        scripts = [make_script(number), make_script(number + 1)]
        model = PaintedModel([*scripts, *map(twin, scripts)], Faults(**dict(faults)))
        return make_take(plan, number, parse_variant(variant), model)

    def measure(variant: str, *numbers: int, **faults: Any) -> dict[str, Any]:
        return summary(taken(variant, number, tuple(faults.items())) for number in numbers)

    return measure
