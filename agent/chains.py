"""From the coreference network's scores to chains: what is a mention, and which mentions mean the same.

Word by word, as one reads: a mention joins the chain of its likeliest antecedent, or begins one. A word for several
means those that it scores well with; where they are new and counted ("two cowboys"), each of them is a chain of its
own, which the words that tell them apart ("one", "the other", "Eero") then join one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from memreel.agent.pages import PRONOUNS, Word

if TYPE_CHECKING:
    from memreel.memory.records import Kind

NOTHING = 0.6
"""Chance from which a word is no mention."""
DOUBT = -3.0
"""Score below which even a pronoun means none of those told of."""
OTHERS = -14.0
"""Score below which two words never mean the same."""
NUMBERS = {"both": 2, "two": 2, "twin": 2, "twins": 2, "pair": 2, "three": 3, "four": 4, "five": 5, "all": 8}
MOST = 5
"""Most who are told of one by one though a single word tells of them."""
APART = frozenset({"one", "other", "another"})
"""Pronouns that begin a chain if they mean one of several who are told of together."""


@dataclass(frozen=True)
class Heard:
    """A mention: its word, whether of a character or an object, and whom it means.

    Mentions of one ``group`` mean the same; ``members`` is the cast member that is, by its order, or nobody. "The two
    of them" are as many as it means. ``counted``: one of several new ones whom a word tells of; ``among``: the group of
    a word for several, uncounted ("dancers"), of whom this is one.
    """

    word: Word
    kind: Kind
    group: int
    members: tuple[int, ...]
    several: bool
    counted: bool = False
    among: int | None = None


def chains(
    words: Sequence[Word], members: int, kinds: torch.Tensor, several: torch.Tensor, pairs: torch.Tensor
) -> list[Heard]:
    """Decide word by word what is a mention and whom it means; see `Heard`.

    A pronoun means somebody who was told of before, whoever is likeliest; one that nobody fits at all is left out.

    Args:
        words: the prompt's words.
        members: how many cast members it is read beside.
        kinds: chances of being no mention, one of a character and one of an object, ``[words, 3]``.
        several: whether a word means several, ``[words]``.
        pairs: scores of coreference, ``[words, members + words]``; above 0 is likelier than meaning nobody before.
    """
    deciding = _Deciding(words, members, pairs)
    for i, chances in enumerate(kinds.tolist()):
        if chances[0] < NOTHING:
            deciding.decide(i, "character" if chances[1] >= chances[2] else "object", bool(several[i]))
    return deciding.heard


class _Deciding:
    """What was decided so far; columns are those of the scores."""

    def __init__(self, words: Sequence[Word], members: int, pairs: torch.Tensor) -> None:
        self.words, self.members, self.pairs = words, members, pairs
        self.heard = list[Heard]()
        self.group_of: dict[int, int] = {}  # of the column of a member, or of a word that means one
        self.crowds: dict[int, list[int]] = {}  # of the column of a word that means several
        self.apart: dict[int, list[int]] = {}  # those of them, being counted, whom no other word has meant yet
        self.groups = 0

    def decide(self, i: int, kind: Kind, several: bool) -> None:
        """Decide about a word that is a mention."""
        back = self.words[i].text.lower() in PRONOUNS
        told = [*range(self.members), *(c for c in (*self.group_of, *self.crowds) if c >= self.members)]
        ranked = sorted(told, key=lambda column: float(self.pairs[i, column]), reverse=True)
        if several and self._are_several(i, kind, ranked, back):
            return
        ranked = [column for column in ranked if several or column not in self.crowds]
        best = next((column for column in ranked if self.pairs[i, column] > 0 and not self._is_other(i, column)), None)
        if best is None and not several and self._is_one_of(i, kind):
            return
        if best is None and back:
            best = next((column for column in ranked if self.pairs[i, column] > DOUBT), None)
            if best is None:
                return
        group = self._new() if best is None else self._groups_at(best)[0]
        if several:
            self.crowds[self.members + i] = [group]
        else:
            self.group_of[self.members + i] = group
        self._hear(i, kind, group, several=several)

    def _are_several(self, i: int, kind: Kind, ranked: Sequence[int], back: bool) -> bool:
        """Note a word for several who are told of one by one, or are counted; tell whether it is one."""
        near = [word.text.lower() for word in self.words[max(0, i - 2) : i + 1]]
        count = next((NUMBERS[word] for word in near if word in NUMBERS), None)
        meant = [column for column in ranked if self.pairs[i, column] > 0]
        whom = dict.fromkeys(group for column in meant for group in self._groups_at(column))
        if back and len(whom) < 2:
            likely = [column for column in ranked if self.pairs[i, column] > DOUBT]
            whom = dict.fromkeys([group for column in likely for group in self._groups_at(column)][: count or 2])
        new = not whom and not back and count is not None and count <= MOST
        groups = [self._new() for _ in range(count or 0)] if new else [*whom]
        if len(groups) < 2:
            return False
        self.crowds[self.members + i] = groups
        if new:
            self.apart[self.members + i] = [*groups]
        for group in groups:
            self._hear(i, kind, group, several=True, counted=new)
        return True

    def _is_one_of(self, i: int, kind: Kind) -> bool:
        """Note a word for one of several who were told of by one word before; tell whether it is one."""
        low = self.words[i].text.lower()
        fitting = [c for c in self.crowds if self.pairs[i, c] > 0 and (low in APART or low not in PRONOUNS)]
        crowd = max(fitting, key=lambda column: float(self.pairs[i, column]), default=None)
        if crowd is None or (crowd in self.apart and not self.apart[crowd]):
            return False
        among = None if crowd in self.apart or len(self.crowds[crowd]) > 1 else self.crowds[crowd][0]
        group = self.apart[crowd].pop(0) if crowd in self.apart else self._new()
        self.group_of[self.members + i] = group
        self._hear(i, kind, group, several=False, among=among)
        return True

    def _is_other(self, i: int, column: int) -> bool:
        """Tell whether a word of the prompt that means the same as a column is ruled out for this one: another name."""
        group = self.group_of.get(column)
        same = (c for c, other in self.group_of.items() if other == group and c >= self.members)
        return any(self.pairs[i, c] < OTHERS for c in same)

    def _groups_at(self, column: int) -> list[int]:
        if column in self.crowds:
            return self.crowds[column]
        if column not in self.group_of:
            self.group_of[column] = self._new()
        return [self.group_of[column]]

    def _new(self) -> int:
        self.groups += 1
        return self.groups - 1

    def _hear(
        self, i: int, kind: Kind, group: int, *, several: bool, counted: bool = False, among: int | None = None
    ) -> None:
        members = tuple(column for column in range(self.members) if self.group_of.get(column) == group)
        self.heard.append(Heard(self.words[i], kind, group, members, several, counted, among))
