"""How a cast member is introduced to a reader that knows only texts: its names, and the words around its first one."""

from __future__ import annotations

from collections.abc import Sequence

AROUND = (24, 60)
"""Letters before and behind the word that it is first called by."""


def introduced(forms: Sequence[str], text: str, start: int) -> str:
    """Return "Bo, terrier: a scruffy terrier named Bo sleeps by the door".

    Args:
        forms: what it is called, in the order of the story.
        text: the prompt that first tells of it.
        start: where its word begins there.
    """
    before, behind = AROUND
    left = max(0, start - before)
    if left:
        left = text.find(" ", left, start) + 1 or start
    sentence = max(text.rfind(end, left, start) for end in ".!?;")
    left = max(left, sentence + 1)
    right = min(len(text), start + behind)
    if right < len(text):
        right = max(text.rfind(" ", start + 1, right), start)
    return f"{', '.join(forms[:4])}: {text[left:right].strip()}"
