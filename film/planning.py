"""Who plans a film, and what the user's reference pictures are taken to show.

A chat model plans where one is configured; the rules stand in where it fails, and a note says so. What a reference
picture shows is said by the film's eye where it can describe, else by the file's name; `shown_in` then finds the
plan's character that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from memreel.agent.llm import Chat
from memreel.film.plan import LONGEST_SHOT, Plan, with_key_frames
from memreel.film.planner import plan_by_rules, sentences
from memreel.film.state import FilmState
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import Pictures

ALIKE = 0.4
"""Similarity from which on a description belongs to a character."""


@dataclass(frozen=True)
class Given:
    """A reference picture: where it is from, its pixels, what it shows in words, the looks of whom it shows."""

    path: Path
    picture: Pictures
    caption: str
    looks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """How a plan is timed: key frames a second, which of them are anchors, seconds of the longest clip there can be."""

    key_frames: float = 0.5
    anchor_every: int = 4
    most: float = LONGEST_SHOT


@runtime_checkable
class Describes(Protocol):
    """An eye that can put a picture into words."""

    def describe(self, picture: Pictures, hint: str) -> tuple[str, tuple[str, ...]]:
        """Return what the picture shows, and the looks of the one that it is about."""


def make_plan(state: FilmState, chat: Chat | None, given: Sequence[Given], pace: Pace) -> tuple[Plan, str, list[str]]:
    """Plan a film; return the plan, who made it, and notes for the record.

    Raises:
        UserError: there is nothing to plan.
    """
    notes: list[str] = []
    if chat is not None:
        from memreel.film.director import CannotPlan, plan_by_chat

        try:
            return plan_by_chat(chat, state, given, pace, notes), chat.name, notes
        except CannotPlan as error:
            notes.append(f"{chat.name}: {error}; planned by rules")
    beats = state["prompts"] if "prompts" in state else sentences(state["idea"])
    plan = with_key_frames(
        plan_by_rules(beats, state.get("seconds"), most=pace.most), pace.key_frames, pace.anchor_every
    )
    return _with_looks(plan, given), "rules", notes


def shown_in(plan: Plan, given: Sequence[Given]) -> list[list[int]]:
    """Return for each picture the numbers (from 1) of the plan's characters that it shows: one, or none."""
    return [[number] if (number := _whose(plan, one)) else [] for one in given]


def hint_of(path: Path) -> str:
    """Return what a file's name says: ``mia_front-2.png`` is "mia front"."""
    return " ".join(re.findall(r"[^\W\d_]+", path.stem)).strip()


def _whose(plan: Plan, one: Given) -> int | None:
    """Return the number of the character that a picture belongs to: by name, else by description."""
    hint = hint_of(one.path).casefold()
    for number, character in enumerate(plan.characters, start=1):
        if re.search(rf"\b{re.escape(character.name.casefold())}\b", hint):
            return number
    if not plan.characters or not one.caption:
        return None
    phrases = [", ".join([c.name, *c.attributes]) for c in plan.characters]
    vectors = np.asarray(sentence_encoder().embed([one.caption, *phrases]))
    similarity = vectors[1:] @ vectors[0]
    best = int(similarity.argmax())
    return best + 1 if similarity[best] >= ALIKE else None


def _with_looks(plan: Plan, given: Sequence[Given]) -> Plan:
    """Add what the pictures show of characters that the text leaves undescribed."""
    characters = list(plan.characters)
    for one, shown in zip(given, shown_in(plan, given), strict=True):
        for number in shown:
            character = characters[number - 1]
            if one.looks and not character.attributes:
                characters[number - 1] = character.model_copy(update={"attributes": list(one.looks)[:12]})
    return plan.model_copy(update={"characters": characters})
