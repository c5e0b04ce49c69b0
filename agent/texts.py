"""What is said to chat models: the texts of ``prompts.yaml``, and how their slots are filled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

PROMPTS = Path(__file__).parent / "prompts.yaml"


@lru_cache(maxsize=1)
def texts() -> Mapping[str, Any]:
    """Return all texts, by who says them."""
    said: Mapping[str, Any] = yaml.safe_load(PROMPTS.read_text("utf-8"))
    return said


def filled(text: str, slots: Mapping[str, str]) -> str:
    """Fill each ``{slot}`` of a text; what is filled in is not looked at again, whatever it contains."""
    parts: list[str] = []
    while (start := text.find("{")) >= 0 and (end := text.find("}", start)) >= 0:
        parts += [text[:start], slots[text[start + 1 : end]]]
        text = text[end + 1 :]
    return "".join([*parts, text])
