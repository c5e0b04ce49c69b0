"""What a mention is: one phrase of a prompt that speaks of somebody or something, with what is said of it.

What earlier prompts told and reading needs (`Told`) is here too, as every step of it is handed the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from memreel.agent.lexicon import Gender

Role = Literal["character", "object", "pronoun", "feature"]


@dataclass(frozen=True)
class Told:
    """What a story told so far, as far as it helps to read its next prompt.

    ``names`` are those of the cast; ``characters`` and ``things`` nouns that stand for such in this story, whatever
    else they mean ("the crane").
    """

    names: frozenset[str] = frozenset()
    characters: frozenset[str] = frozenset()
    things: frozenset[str] = frozenset()


NOTHING = Told()


@dataclass
class Mention:
    """One phrase that refers to somebody or something.

    ``descriptions`` are the compounds it is called by ("food critic"), ``kind_of`` its noun class, ``attrs`` short
    visual phrases. ``owner`` is the mention whose feature, thing or brother it is, or ``pronoun`` says it ("her").
    ``newcomer``: the text says that it is another one; ``subject``: it acts;
    ``weak``: scenery, perhaps; ``presence``: "enters", "leaves", or "mentioned" where it is only spoken of.
    """

    role: Role
    position: int
    sentence: int
    name: str = ""
    descriptions: list[str] = field(default_factory=list)
    surface: str = ""
    kind_of: str = ""
    attrs: list[str] = field(default_factory=list)
    gender: Gender | None = None
    pronoun: str = ""
    plural: bool = False
    number: int | None = None
    definite: bool = False
    newcomer: bool = False
    weak: bool = False
    subject: bool = False
    owner: Mention | None = None
    presence: str = ""
