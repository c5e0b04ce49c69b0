"""First names and whether their bearers are mostly "he" or "she".

The list is of the marked stories that the analyst was trained on, each name with its owners' pronouns, and of the
commonest names, which story writers avoid; ``python -m memreel.training.first_names`` writes it. What a story says of
somebody comes first; see `memreel.agent.hearing`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from memreel.memory.records import Pronoun

FIRST_NAMES = Path(__file__).parent / "first_names.yaml"


@cache
def first_names() -> dict[str, Pronoun]:
    """Return "he" or "she" by first name, in lower case."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    listed: dict[Pronoun, str] = yaml.load(FIRST_NAMES.read_text("utf-8"), Loader=loader)
    return {name: said for said, names in listed.items() for name in names.split()}
