"""The analyst: reads prompts without any LLM, by a small network of our own and by grammar.

The network says which words of a prompt speak of whom (`memreel.agent.coreference`), grammar what is said of them
(`memreel.agent.mentions`); `memreel.agent.hearing` puts both together. It keeps nothing between prompts: the history
that it needs it reads again from the bank's prompts.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from memreel.agent.dictionary import LONGEST_WORD
from memreel.agent.hearing import cast_of, hear
from memreel.agent.matching import assign
from memreel.agent.reading import (
    LONGEST_ATTRIBUTE,
    LONGEST_ENTITY,
    LONGEST_PLACE,
    MOST_ATTRIBUTES,
    MOST_ENTITIES,
    Candidates,
    ParsedEntity,
    Reading,
    as_read,
)
from memreel.agent.tagging import split
from memreel.memory.records import BankState, Entity

if TYPE_CHECKING:
    from memreel.agent.llm import Chat


class Analyst:
    """Reads prompts without a chat model."""

    name = "analyst"
    chat: Chat | None = None

    def parse(self, prompt: str, bank: BankState, candidates: Candidates) -> Reading:  # noqa: ARG002
        """Read a prompt's entities."""
        notes = _unread(prompt)
        entities, place = hear(prompt, bank)
        if len(entities) > MOST_ENTITIES:
            notes.append(f"{len(entities)} entities; the first {MOST_ENTITIES} were kept")
        if any(len(entity["entity"]) > LONGEST_ENTITY for entity in entities):
            notes.append(f"names and descriptions were cut to {LONGEST_ENTITY} characters")
        kept = [_within_limits(entity) for entity in entities[:MOST_ENTITIES]]
        return Reading(kept, self.name, place[:LONGEST_PLACE], notes)

    def match(
        self,
        prompt: str,
        parsed: list[ParsedEntity],
        bank: BankState,
        candidates: Candidates,
    ) -> list[Entity]:
        """Give every parsed entity a global ID."""
        recent = [member["global_id"] for member in cast_of(bank, prompt)]
        return as_read(parsed, assign(parsed, bank, candidates, recent))


def _unread(prompt: str) -> list[str]:
    """Say what of a prompt is in a script whose words the analyst does not know."""
    foreign = sum(letter.isalpha() and not unicodedata.name(letter, "LATIN").startswith("LATIN") for letter in prompt)
    notes = [f"{foreign} letters are not Latin; the analyst reads English"] if foreign else []
    longest = max(map(len, prompt.split()), default=0)
    if longest > LONGEST_WORD and any(len(word) > LONGEST_WORD for sentence in split(prompt) for word in sentence):
        notes.append(f"words of more than {LONGEST_WORD} letters were left out")
    return notes


def _within_limits(entity: ParsedEntity) -> ParsedEntity:
    attrs = [attr for attr in entity["attrs"] if len(attr) <= LONGEST_ATTRIBUTE][:MOST_ATTRIBUTES]
    return {**entity, "entity": entity["entity"][:LONGEST_ENTITY], "attrs": attrs}
