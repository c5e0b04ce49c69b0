"""What tests of training share: a network of the real widths, but of two blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memreel.model.sketch import net


@pytest.fixture
def two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every `SketchNet` of the test have two blocks."""
    monkeypatch.setattr(net, "CONFIG", replace(net.CONFIG, layers=2))
    monkeypatch.setattr("memreel.model.sketch.weights.SCORER", replace(net.SCORER, layers=(0, 1)))
