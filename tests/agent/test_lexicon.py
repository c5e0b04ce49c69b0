"""Word classes: listed words by the list, others by the probes, and probes that belong to their lists."""

from __future__ import annotations

import numpy as np
import pytest

from memreel.agent import lexicon as module
from memreel.agent.lexicon import CARRIERS, PROBES, WORDS, digest, fit, lexicon
from memreel.errors import MemreelError


@pytest.mark.parametrize(
    ("noun", "kind"),
    [
        ("woman", "person"),
        ("archaeologist", "person"),
        ("policewoman", "person"),
        ("meerkat", "animal"),
        ("orangutan", "animal"),
        ("mandolin", "portable"),
        ("moped", "vehicle"),
        ("trenchcoat", "garment"),
        ("food critic", "person"),
        ("snow globe", "portable"),
        ("hair", "body"),
        ("loneliness", "abstract"),
        ("glacier", "place"),
    ],
)
def test_nouns_listed_or_not_have_a_class(noun: str, kind: str) -> None:
    assert lexicon().noun_class(noun) == kind


@pytest.mark.parametrize(
    ("adjective", "seen"), [("red", True), ("moss-covered", True), ("azure-blue", True), ("stoic", False)]
)
def test_adjectives_are_seen_or_not(adjective: str, seen: bool) -> None:
    assert (lexicon().adjective_class(adjective) != "unseen") is seen


def test_gender_comes_from_nouns() -> None:
    words = lexicon()
    assert [words.gender_of_noun(noun) for noun in ("grandmother", "fisherman", "teacher")] == ["female", "male", None]


def test_shipped_probes_are_what_the_lists_give() -> None:
    with np.load(PROBES) as file:
        assert str(file["digest"]) == digest()
        shipped = {name: file[name] for name in CARRIERS}
    for name, weights in fit(lexicon().words).items():
        np.testing.assert_allclose(shipped[name], weights, atol=2e-3)


def test_lists_that_were_changed_without_new_probes_are_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "lexicon.yaml"
    changed.write_text(WORDS.read_text("utf-8") + "\n# changed\n", "utf-8")
    monkeypatch.setattr(module, "WORDS", changed)
    monkeypatch.setattr(module, "digest", lambda: digest(changed))
    with pytest.raises(MemreelError, match="was not made from"):
        module.lexicon.__wrapped__()
