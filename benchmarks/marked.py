"""Stories in which every mention is marked, and where they lie.

Behind the head word of a mention stands in braces whom it means: "She{mia} lifts the lamp{lamp}", "the two{mia tom} of
them{mia tom}". A record has its prompts under ``told`` and whom they are about by group: under ``cast``, each label
``named``, ``unnamed`` or ``object``, or under ``named``, ``unnamed`` and ``objects``, each label with the nouns that it
may be called by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memreel.agent.pages import words_of

DATA = Path(__file__).parent / "data"
KNOWN, ASIDE = ("tuned", "named", "fresh", "bridged", "workshop"), ("held", "blind", "aside", "sealed")
"""Parts that the analyst was trained and tuned on, and parts that are kept aside."""
PARTS = {part: DATA / f"cast_{part}.yaml" for part in KNOWN + ASIDE}
GROUPS = ("named", "unnamed", "objects")
MARK = re.compile(r"\{([^{}]*)\}")

Record = dict[str, Any]
"""A story as it is written down."""


@dataclass(frozen=True)
class Mark:
    """A mention in a text: where its word begins, and whom it means."""

    start: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A prompt without marks, and what is marked in it."""

    text: str
    marks: list[Mark]

    @property
    def labels(self) -> list[str]:
        """Whom it tells of, in order of first mention."""
        return list(dict.fromkeys(label for mark in self.marks for label in mark.labels))


def groups_of(record: Record) -> dict[str, str]:
    """Return the group of every label of a story."""
    if "cast" in record:
        return {label: "objects" if kind == "object" else kind for label, kind in record["cast"].items()}
    return {label: group for group in GROUPS for label in record.get(group) or ()}


def told_of(text: str) -> Told:
    """Read a marked prompt."""
    plain, marks, last = "", list[Mark](), 0
    for found in MARK.finditer(text):
        plain += text[last : found.start()]
        last = found.end()
        here = [word for word in words_of(plain) if word.end <= len(plain)]
        word = here[-1]
        if word.text == "s" and len(here) > 1 and plain[word.start - 1 : word.start] in ("'", "’"):
            word = here[-2]
        marks.append(Mark(word.start, tuple(found.group(1).split())))
    return Told(plain + text[last:], marks)
