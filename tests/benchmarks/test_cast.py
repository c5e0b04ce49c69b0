"""Marked stories become scripts, and whom a prompt tells of is paired with whom a reader found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memreel.agent.reading import Candidates, ParsedEntity, Reading
from memreel.benchmarks.cast import main, score, scripts
from memreel.benchmarks.marked import KNOWN, PARTS, groups_of, told_of
from memreel.memory.records import BankState, Entity

STORY = """
- named: {mia: Mia woman}
  unnamed: {old: man, young: man}
  objects: {lamp: lamp}
  maybe: door
  told:
    - "Two men{old young} greet Mia{mia} at the door."
    - "The woman{mia} hands them{old young} a lamp{lamp}."
    - "The old man{old} lights it{lamp}."
"""


class Told:
    """A reader that finds what it is told to, each entity as "name:ID" or "name:ID:object"."""

    name = "told"
    chat = None

    def __init__(self, *prompts: str) -> None:
        self.prompts = iter(prompts)

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:
        """Find nothing; `match` does."""
        return Reading([], self.name)

    def match(
        self,
        prompt: str,
        parsed: list[ParsedEntity],
        bank: BankState,
        candidates: Candidates,
    ) -> list[Entity]:
        """Return what the next prompt tells of."""
        found = []
        for told in next(self.prompts).split():
            entity, global_id, *kind = told.split(":")
            found.append(
                Entity(entity=entity, kind="object" if kind else "character", attrs=[], global_id=int(global_id))
            )
        return found


def figures(tmp_path: Path, *prompts: str) -> dict[str, dict[str, float]]:
    path = tmp_path / "story.yaml"
    path.write_text(STORY, "utf-8")
    return score(Told(*prompts), scripts(path))


def test_a_script_is_what_is_marked_in_it(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(STORY, "utf-8")
    (script,) = scripts(path)
    assert script.prompts[1] == "The woman hands them a lamp."
    assert [[one.label for one in labels] for _, labels in script.told] == [
        ["old", "young", "mia"],
        ["mia", "old", "young", "lamp"],
        ["old", "lamp"],
    ]


def test_a_faultless_reading_has_no_faults(tmp_path: Path) -> None:
    found = figures(
        tmp_path, "man:1 man:2 Mia:3 door:9:object", "Mia:3 man:1 man:2 lamp:4:object", "man:1 lamp:4:object"
    )
    assert {group: one["identity_f1"] for group, one in found.items()} == {"named": 1, "unnamed": 1, "objects": 1}


def test_those_who_are_called_alike_are_paired_by_their_ids_and_with_nobody_else(tmp_path: Path) -> None:
    found = figures(tmp_path, "man:1 man:2 Mia:3", "man:2 woman:3 man:1 lamp:4:object", "man:1 lamp:4:object")
    assert found["unnamed"]["identity_f1"] == 1, "the order within 'them' means nothing"
    assert found["named"]["entity_f1"] == 1


def test_a_wrong_id_is_a_wrong_merge_and_a_new_one_a_wrong_split(tmp_path: Path) -> None:
    found = figures(tmp_path, "man:1 man:2 Mia:3", "woman:5 man:1 man:2 lamp:4:object", "man:2 lamp:4:object")
    assert (found["named"]["wrong_splits"], found["named"]["wrong_merges"]) == (1, 0)
    assert (found["unnamed"]["wrong_splits"], found["unnamed"]["wrong_merges"]) == (0, 1)
    assert found["unnamed"]["identity_f1"] < 1
    missed = figures(tmp_path, "man:1 Mia:3", "Mia:3 man:1 man:2", "man:1 king:7")
    assert missed["unnamed"]["entity_f1"] < 1
    assert missed["objects"]["entity_f1"] == 0


def test_marks_may_stand_behind_a_possessive_and_mean_several() -> None:
    told = told_of("Tom's{tom} twins{ada eve} wave; each{ada eve} has Tom{tom}'s nose.")
    assert told.text == "Tom's twins wave; each has Tom's nose."
    assert [(told.text[mark.start :].split()[0], mark.labels) for mark in told.marks] == [
        ("Tom's", ("tom",)),
        ("twins", ("ada", "eve")),
        ("each", ("ada", "eve")),
        ("Tom's", ("tom",)),
    ]
    assert groups_of({"cast": {"tom": "named", "lamp": "object"}}) == {"tom": "named", "lamp": "objects"}


def test_every_part_is_there_and_none_is_both_known_and_kept_aside() -> None:
    texts = {part: {text for script in scripts(path) for text in script.prompts} for part, path in PARTS.items()}
    known = set().union(*(texts[part] for part in KNOWN))
    assert all(texts.values())
    assert all(known.isdisjoint(texts[part]) for part in PARTS if part not in KNOWN)


def test_marked_scripts_of_ones_own_are_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(
        """
- cast: {mia: named, lamp: object}
  told:
    - "Mia-Lou{mia}, a young woman{mia} with red hair, lifts a brass lamp{lamp}."
    - "She{mia} sets the lamp{lamp} on the table. 'Good night, sunshine{mia},' says nobody."
""",
        "utf-8",
    )
    (script,) = scripts(tmp_path / "mine.yaml")
    assert script.told[0][1][0].called == {"lou", "woman", "sunshine"}, "pronouns are no names"
    main(["--scripts", str(tmp_path / "mine.yaml"), "--json"])
    table, *_, line = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["scripts"] == {"mine": 1}
    assert found["figures"]["analyst"]["mine"]["named"]["mentions"] == 2
    assert found["figures"]["analyst"]["mine"]["named"]["entity_f1"] == 1.0
    assert table.startswith("| reader | scripts")
