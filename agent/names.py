"""Names: whether two names may be one person's, by titles, short forms and parts.

"Chen" and "Dr. Chen", "Anna" and "Anna Maria", "Bea" and Beatriz, "Winnie" and Winifred. It compares names alone; who
is who in a story is decided by `hearing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memreel.agent.first_names import first_names
from memreel.agent.lexicon import lexicon

if TYPE_CHECKING:
    from memreel.memory.records import Pronoun


def is_name(entity: str) -> bool:
    """Tell whether a surface form is a proper name."""
    return bool(entity) and entity[0].isupper()


def share_name(one: str, two: str) -> bool:
    """Tell whether two names may be one person's: "Chen" and "Dr. Chen", "Anna" and "Anna Maria", "Lady Ashby"."""
    words = lexicon()
    first, second = one.lower().split(), two.lower().split()
    if set(first) <= set(second) or set(second) <= set(first):
        return True
    genders = {words.gender_of_noun(title) for name in (one, two) for title in words.titles_in(name)} - {None}
    mine, theirs = set(words.without_titles(one)), set(words.without_titles(two))
    return len(genders) < 2 and (mine <= theirs or theirs <= mine)


def is_short_for(one: str, two: str) -> bool:
    """Tell whether one first name may be short for the other: "Bea" and Beatriz, "Winnie" and Winifred, "Bill".

    A beginning of at least three letters is short for a name that is longer by two, so "Ann" and "Anna" are two; the
    ending of a pet name ("-ie", "-y") is no part of it. Other short forms are listed (``nicknames``).
    """
    first, second = one.lower().split()[0], two.lower().split()[0]
    short, long = sorted((first, second), key=len)
    if short.endswith("."):
        return False
    if any({short, long} <= set(family) for family in lexicon().words["nicknames"]):
        return True
    if len(long) >= len(short) + 2 and len(short) >= 3 and long.startswith(short):
        return True
    stem = next((short.removesuffix(ending) for ending in ("ie", "ey", "y") if short.endswith(ending)), "")
    if len(stem) > 2 and stem[-1] == stem[-2]:
        return long.startswith(stem[:-1]) and long != short  # "Winn-ie", "Edd-ie"
    return len(stem) > 3 and long.startswith(stem) and long != short


def gender_of_name(name: str) -> Pronoun | None:
    """Return the pronoun that most bearers of a first name have; none of a name not listed, or behind a title alone."""
    bare = lexicon().without_titles(name)
    titled = len(bare) < len(name.split())
    return first_names().get(bare[0]) if bare and not (titled and len(bare) == 1) else None
