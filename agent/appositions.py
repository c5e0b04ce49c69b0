"""Appositions: mentions that are one and the same because of how they stand together.

"Mia, a young woman", "a dog named Rex", "the robot, Pip,", "Pixel the cat", "Mia is a young woman". It works on the
mentions of one text, given by the position of their phrases; what a phrase denotes was decided before (`mentions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memreel.agent.dictionary import singular
from memreel.agent.lexicon import lexicon
from memreel.agent.phrases import ANIMATE, Phrase
from memreel.agent.tagging import Token

if TYPE_CHECKING:
    from memreel.agent.mention import Mention

MARKS = frozenset([",", "(", "-", "–", "—"])
NAMING = frozenset(["named", "called", "nicknamed", "dubbed", "known as", "who is called", "by the name of"])


def join(mentions: dict[int, Mention], phrases: Sequence[Phrase], tokens: Sequence[Token]) -> dict[int, Mention]:
    """Merge appositions into their first mention, in place; return those that were merged, by position, with it.

    Args:
        mentions: the mentions by the position of their phrase; those that were merged are removed.
        phrases: all noun phrases of the text.
        tokens: all tokens of the text.
    """
    text = _Text(mentions, phrases, tokens)
    for group in [i for i in mentions if mentions[i].plural and mentions[i].kind_of in ANIMATE]:
        if members := text.members_of(group) or text.members_before(group):
            for k in members:
                _belong(mentions[k], mentions[group])
            del mentions[group]
    order = sorted(i for i in mentions if mentions[i].role in ("character", "object"))
    joined: dict[int, Mention] = {}
    for at, right in enumerate(order[1:], 1):
        left, second = order[at - 1], mentions[right]
        if at > 1 and phrases[right].possessor == left and text.is_kin_of(order[at - 2], right):
            left = order[at - 2]
        elif (late := text.is_late(order[:at], right)) is not None:
            left = late
        first = joined.get(left) or mentions[left]
        if first.sentence != second.sentence or (left == order[at - 1] and not text.only_features_between(left, right)):
            continue
        if left != order[at - 1] or text.are_one(left, right, first):
            joined[right] = first
            _absorb(first, second)
            for mention in mentions.values():
                if mention.owner is second:
                    mention.owner = first
            del mentions[right]
    return joined


def _belong(member: Mention, group: Mention) -> None:
    """Say of a member what was said of the group: "two sisters, Lin and Wen"."""
    member.descriptions.extend(
        singular(noun) for noun in group.descriptions if singular(noun) not in member.descriptions
    )
    member.attrs.extend(attr for attr in group.attrs if attr not in member.attrs)
    member.pronoun, member.owner = member.pronoun or group.pronoun, member.owner or group.owner
    member.gender, member.kind_of = member.gender or group.gender, group.kind_of


def _absorb(first: Mention, second: Mention) -> None:
    if second.name and not first.name:
        first.name = second.name
    first.definite = first.definite or (bool(first.name) and second.definite)
    first.descriptions.extend(d for d in second.descriptions if d not in first.descriptions)
    first.attrs.extend(attr for attr in second.attrs if attr not in first.attrs)
    first.gender = first.gender or second.gender
    first.pronoun, first.owner = first.pronoun or second.pronoun, first.owner or second.owner
    listed = any(lexicon().is_listed(noun.rsplit(" ", 1)[-1]) for noun in second.descriptions)
    if first.kind_of == "person" and (second.role == "character" or listed):  # an unknown noun makes nobody a thing
        first.kind_of, first.role = second.kind_of, second.role


class _Text:
    """The mentions and phrases of a text, asked what stands between them."""

    def __init__(self, mentions: dict[int, Mention], phrases: Sequence[Phrase], tokens: Sequence[Token]) -> None:
        self.mentions, self.phrases, self.tokens = mentions, phrases, tokens

    def only_features_between(self, left: int, right: int) -> bool:
        """Tell whether at most features stand between two mentions."""
        return all(k in self.mentions and self.mentions[k].role == "feature" for k in range(left + 1, right))

    def members_of(self, group: int) -> list[int]:
        """Return the names that follow a plural and say who they are, if they are as many as it says."""
        names: list[int] = []
        last = self.phrases[group]
        for k in range(group + 1, len(self.phrases)):
            between = self._between(last, self.phrases[k])
            if k not in self.mentions or not self.mentions[k].name or self.mentions[k].descriptions:
                break
            if not set(between) <= {",", ":", "and", "named", "called", "-", "–", "—"} or (names and not between):
                break
            if not names and between == ["and"]:
                break
            names.append(k)
            last = self.phrases[k]
        return names if len(names) == (self.mentions[group].number or max(2, len(names))) else []

    def members_before(self, group: int) -> list[int]:
        """Return the names of whom a plural says what they are: "Max and Tom, two brothers, …"."""
        number = self.mentions[group].number
        names = list(range(group - (number or group), group))
        if not number or names[0] < 0 or self._between(self.phrases[group - 1], self.phrases[group]) != [","]:
            return []
        named = all(k in self.mentions and self.mentions[k].name for k in names)
        joined = all(self._between(self.phrases[k], self.phrases[k + 1]) in (["and"], [","]) for k in names[:-1])
        return names if named and joined else []

    def is_late(self, before: Sequence[int], right: int) -> int | None:
        """Return whom a phrase that ends a sentence says more of: "She drags in Ben by the sleeve, a boy with …"."""
        phrase, second = self.phrases[right], self.mentions[right]
        said = second.role == "character" and not second.name and not second.subject and not second.newcomer
        if not said or phrase.governor != "," or not {"a", "an"} & {*phrase.determiners} or self._is_list(right):
            return None
        for left in reversed(before):
            first = self.mentions.get(left)
            if first is None or first.sentence != second.sentence:
                return None
            if first.role == "character" and self._between(self.phrases[left], phrase) == [","]:
                return None
            if first.role == "character" and first.name and first.kind_of == second.kind_of:
                return left if None in (first.gender, second.gender) or first.gender == second.gender else None
        return None

    def is_kin_of(self, left: int, right: int) -> bool:
        """Tell whether a name is said to be somebody's: "Greta, Olaf's wife, …"."""
        possessor = self.phrases[right].possessor
        if (
            possessor is None
            or left not in self.mentions
            or not self.mentions[left].name
            or self.mentions[right].role != "character"
        ):
            return False
        after = self.tokens[self.phrases[right].end].text if self.phrases[right].end < len(self.tokens) else "."
        between = self._between(self.phrases[left], self.phrases[possessor])
        return between == [","] and after in ",." and not self._is_list(right)

    def are_one(self, left: int, right: int, first: Mention) -> bool:
        one, two = self.phrases[left], self.phrases[right]
        second = self.mentions[right]
        between = self._between(one, two)
        if " ".join(between).removeprefix(", ") in NAMING:
            return bool(second.name)
        if (first.name and second.name) or (first.weak and not first.name):
            return False
        if not between:  # "Pixel the cat"
            given = one.governor_tag.startswith("V") and second.role == "object"  # "gives Mia the letter"
            return bool(first.name) and "the" in two.determiners and not given
        indefinite = bool({"a", "an"} & {*two.determiners}) and not second.newcomer
        if between == ["is"]:
            return indefinite and bool(first.name)
        if between[-1] not in MARKS or self._is_list(right) or self._begins(left, right):
            return False
        if second.name and first.role == "character" and self._is_closed(right) and self._is_worn(left, right):
            return True  # "A man in black, Vikram, …"
        if len(between) > 1 or not (first.name or first.descriptions):
            return False
        if second.name:
            return first.role == second.role or first.kind_of in ANIMATE
        if first.name and second.definite:
            return second.role == "character"
        if first.descriptions and first.role == second.role == "character" and first.kind_of != second.kind_of:
            return False  # "her grandfather, an eagle on his glove"
        if first.role == "character" or first.name:
            return indefinite and (bool(first.name) or first.role == second.role)
        return False

    def _begins(self, left: int, right: int) -> bool:
        """Tell whether a sentence begins behind words on where it plays: "In a gym in Accra, a boxer …"."""
        before = [
            token for token in self.tokens[: self.phrases[left].end] if token.sentence == self.phrases[left].sentence
        ]
        opens = before[0].tag in ("PRP", "PRF") and not any(token.is_finite for token in before)
        return opens and self.phrases[left].governor_tag in ("PRP", "PRF") and not self._is_closed(right)

    def _is_closed(self, right: int) -> bool:
        """Tell whether a comma or full stop follows a phrase."""
        end = self.phrases[right].end
        return end >= len(self.tokens) or self.tokens[end].text in ",.)"

    def _is_worn(self, left: int, right: int) -> bool:
        """Tell whether what stands between two phrases says how the first one looks: "with red hair,", "in black,"."""
        between = self.tokens[self.phrases[left].end : self.phrases[right].start]
        colour = len(between) == 3 and between[0].lower == "in" and lexicon().colour([between[1].lower]) is not None
        return colour or (right > left + 1 and between[0].tag == "PRP" and self.only_features_between(left, right))

    def _between(self, left: Phrase, right: Phrase) -> list[str]:
        return [token.lower for token in self.tokens[left.end : right.start]]

    def _is_list(self, right: int) -> bool:
        """Tell whether another character follows by comma or "and": then it is a list, not an apposition."""
        phrase = self.phrases[right]
        for k in range(right + 1, len(self.phrases)):
            follower = self.phrases[k]
            between = self._between(phrase, follower)
            if (
                follower.sentence != phrase.sentence
                or len(between) > 2
                or not between
                or not set(between) <= {",", "and"}
            ):
                return False
            mention = self.mentions.get(k)
            if mention is not None and mention.role == "character":
                return "and" in between
            phrase = follower
        return False
