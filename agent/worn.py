"""Features: what somebody has or wears, and whose it is ("with red hair", "wearing a blue coat", "her green hat").

It works on the phrases of one text and the mentions found so far. What a feature says of somebody is `hearing`'s.
"""

from __future__ import annotations

from collections.abc import Collection

from memreel.agent.clauses import Clauses
from memreel.agent.descriptions import modifiers
from memreel.agent.mention import Mention
from memreel.agent.phrases import Phrase


class Worn(Clauses):
    """One text's phrases, asked which of them are features and of whom."""

    def __init__(self, text: str, known_names: Collection[str]) -> None:
        """Read a text's phrases; ``mentions`` are those found so far, by the position of their phrase."""
        super().__init__(text, known_names)
        self.mentions: dict[int, Mention] = {}

    def is_worn(self, i: int) -> bool:
        """Tell whether a phrase that names a garment is worn by somebody, rather than lying about."""
        phrase = self.phrases[i]
        governor = self.list_governor(i)
        lead = self.phrases[self.list_lead(i)]
        if (
            governor in self.words.group("wearing")
            or governor in ("has", "had")
            or lead.possessive
            or phrase.possessive
            or phrase.possessor is not None
        ):
            return True
        if governor in ("with", "in"):
            return self._owner(i) is not None
        return False

    def feature(self, i: int, phrase: Phrase) -> Mention:
        """Return the mention of a garment or a part of the body, with what of it can be seen."""
        seen, nouns = modifiers(phrase, self.words)
        noun = " ".join(nouns)
        head = nouns[-1] if nouns else ""
        place = self.words.covers.get(head) or self.words.covers.get(phrase.head)
        shown = (
            bool(seen)
            or place in ("face", "sight", "head", "neck", "upper", "lower", "feet")
            or head
            in ("braids", "curls", "ponytail", "pigtails", "bun", "dreadlocks", "freckles", "tattoos", "tattoo", "scar")
        )
        attrs = [" ".join([*seen, noun])] if shown and (place or self.words.noun_class(noun) == "garment") else []
        if phrase.possessive and not seen:
            attrs = []  # "adjusts his hat" tells nothing of its look
        return Mention("feature", i, phrase.sentence, attrs=attrs, pronoun=phrase.possessive)

    def _owner(self, i: int) -> int | None:
        """Return the phrase that a worn phrase belongs to: the nearest character, or the subject after a comma."""
        phrase = self.phrases[i]
        if phrase.possessor is not None:
            return phrase.possessor
        first = self.list_lead(i)
        lead = self.phrases[first]
        if first == 0:
            return None
        previous = self.phrases[first - 1]
        direct = self.between(previous, lead)
        if lead.governor == "with" and len(direct) == 1 and not self._can_own(first - 1):
            return None  # "a table with a cloth"
        candidates = [
            k for k in range(first - 1, -1, -1) if self.phrases[k].sentence == phrase.sentence and self._can_own(k)
        ]
        if not candidates:
            return None
        feature = self.mentions.get(first - 1)
        if feature is not None and feature.role == "feature":
            return self._owner(first - 1)  # "with silver hair, wearing a red hat"
        if "," in direct and "who" not in direct and "whose" not in direct:
            return candidates[-1]
        return candidates[0]

    def _can_own(self, i: int) -> bool:
        phrase = self.phrases[i]
        mention = self.mentions.get(i)
        return bool(phrase.pronoun and phrase.pronoun != "it") or (mention is not None and mention.role == "character")

    def attach(self, i: int) -> None:
        """Find whose a feature is, and say it of them."""
        mention = self.mentions[i]
        if mention.pronoun:
            return  # "his palm": the pronoun says whose
        owner = self._owner(i)
        if owner is not None and owner in self.mentions:
            mention.owner = self.mentions[owner]
            verb = self.phrases[self.list_lead(i)].governor_tag.startswith("V")  # "The girl wears …" tells of her
            if mention.owner.role != "pronoun" and not (verb and mention.owner.definite):
                mention.owner.attrs.extend(attr for attr in mention.attrs if attr not in mention.owner.attrs)
                mention.attrs = []
