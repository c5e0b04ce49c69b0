"""The words of a noun phrase, split into what can be seen and what it is.

It joins what belongs to one look ("dark blue", "black and white"), turns "red-haired" into "red hair" and drops what no
picture shows ("stern"). Whose look it is, is `mentions`' business.
"""

from __future__ import annotations

from memreel.agent.lexicon import Lexicon
from memreel.agent.phrases import Phrase

SHADES = frozenset(["dark", "light", "pale", "bright", "deep"])


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
    for adjective in adjectives:
        if adjective in ("and", ","):
            continue
        kind = words.adjective_class(adjective)
        if kind == "unseen":
            continue
        if kind == "colour" and seen and seen[-1] in SHADES:
            seen[-1] += f" {adjective}"
        elif kind == "colour" and seen and words.colour(seen[-1].split()) and " and " not in seen[-1]:
            seen[-1] += f" and {adjective}"
        else:
            seen.append(bodily(adjective, words))
    return seen, nouns


def bodily(adjective: str, words: Lexicon) -> str:
    """Turn "red-haired" into "red hair" and "bearded" into "beard"; leave other adjectives alone."""
    stem, _, tail = adjective.rpartition("-")
    if tail in words.bodily:
        return f"{stem} {words.bodily[tail]}".strip()
    return adjective
