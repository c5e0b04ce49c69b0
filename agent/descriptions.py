"""The words of a noun phrase, split into what can be seen and what it is.

It joins what belongs to one look ("dark blue", "black and white"), turns "red-haired" into "red hair" and drops what no
picture shows ("stern"). Whose look it is, is `mentions`' business.
"""

from __future__ import annotations

from itertools import zip_longest

from memreel.agent.lexicon import Lexicon
from memreel.agent.phrases import Phrase

SHADES = frozenset(
    "dark light pale bright deep pure vivid soft rich pastel hot royal electric neon".split()  # noqa: SIM905
)
"""Words that say which red or blue it is, where a colour follows."""


def modifiers(phrase: Phrase, words: Lexicon) -> tuple[list[str], list[str]]:
    """Split a phrase into what can be seen of it and what it is: ("dark blue", "leather"), ("jacket",)."""
    nouns = [noun.lower() for noun in phrase.nouns]
    adjectives = list(phrase.modifiers)
    coloured = next((i for i, noun in enumerate(nouns[:-1]) if words.colour([noun])), None)
    if coloured:  # "the lime green car"
        adjectives.append(" ".join(nouns[: coloured + 1]))
        del nouns[: coloured + 1]
    while len(nouns) > 1 and nouns[0] in words.listed["adjectives"] and not words.is_listed(" ".join(nouns)):
        adjectives.append(nouns.pop(0))
    seen: list[str] = []
    before = ""
    for adjective, following in zip_longest(adjectives, adjectives[1:]):
        kind = words.adjective_class(adjective)
        if adjective in SHADES and following is not None and words.adjective_class(following) == "colour":
            kind = "shade"
        if adjective not in ("and", ",") and kind != "unseen":
            if kind == "colour" and before in SHADES and seen:
                seen[-1] += f" {adjective}"
            elif kind == "colour" and seen and words.colour(seen[-1].split()) and " and " not in seen[-1]:
                seen[-1] += (
                    f" {adjective}" if words.same_colour(before, adjective) else f" and {adjective}"
                )  # "navy blue"
            else:
                seen.append(bodily(adjective, words))
        before = adjective
    return seen, nouns


def bodily(adjective: str, words: Lexicon) -> str:
    """Turn "red-haired" into "red hair" and "bearded" into "beard"; leave other adjectives alone."""
    stem, _, tail = adjective.rpartition("-")
    if tail in words.bodily:
        return f"{stem} {words.bodily[tail]}".strip()
    return adjective
