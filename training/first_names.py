"""Lists the first names in marked stories, by the pronouns of their owners, for the analyst.

``python -m memreel.training.first_names`` writes them to ``agent/first_names.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import yaml

from memreel.agent.first_names import FIRST_NAMES
from memreel.benchmarks.marked import Record
from memreel.training.answers import names_of
from memreel.training.coreference import OURS

COMMON = {
    "he": "John James Robert Michael William David Thomas Daniel Liam Noah Ethan Lucas Oliver Henry Jack Leo Oscar Max "
    "Ben Tom Theo Hugo Felix Peter Paul Marco Diego Carlos Pablo Kenji Hiro Wei Arjun Omar Ahmed Ivan Erik Lars Otto",
    "she": "Mary Anna Emma Olivia Sophia Mia Isabella Charlotte Amelia Emily Lucy Nora Clara Ella Alice Grace Hannah "
    "Sarah Laura Julia Maria Elena Maya Zoe Lily Chloe Ruby Rosa Eva Ines Yuki Mei Priya Aisha Fatima Leila Ingrid",
}
"""Names that are known to most, which writers of stories avoid."""


def listed(records: Sequence[Record]) -> str:
    """Return the names in marked stories as YAML: those of "he", then those of "she", in lower case."""
    by_name = {name.lower(): said for said, names in COMMON.items() for name in names.split()}
    by_name |= {name.lower(): said for name, said in names_of(records).items()}
    text = "# First names by the pronoun of their owners; written by memreel.training.first_names.\n"
    for said in ("he", "she"):
        names = " ".join(sorted(name for name, theirs in by_name.items() if theirs == said))
        text += f"{said}: >-\n" + fill(names, 118, initial_indent="  ", subsequent_indent="  ") + "\n"
    return text


def ours() -> list[Record]:
    """Return all marked stories to train on."""
    return [record for path in OURS for record in yaml.safe_load(path.read_text("utf-8"))]


if __name__ == "__main__":
    FIRST_NAMES.write_text(listed(ours()), "utf-8")
