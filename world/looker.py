"""Reads how a person of the drawn world looks in a picture: the embedded model's own check of attributes.

It needs no chat model. It answers only where it can be sure: the prompt names one of the world's places, and one person
is to be seen. Words that the drawn world has no picture of ("tall") are left as they are.
"""

from __future__ import annotations

import re

import numpy as np

from memreel.agent.lexicon import lexicon
from memreel.agent.looks import Looks
from memreel.agent.matching import is_identity, place_of
from memreel.memory.records import CastMember
from memreel.model.protocol import Pictures
from memreel.world import palette
from memreel.world.reader import find_faces


class SketchLooker:
    """Looks with the rules of the drawn world."""

    name = "sketch reader"

    def look(self, picture: Pictures, member: CastMember, prompt: str) -> Looks:
        """Read the only person in a picture; say nothing of things, of crowds, of places unknown."""
        place = next((name for name in palette.PLACES if re.search(rf"\b{name}\b", prompt.lower())), None)
        faces = find_faces(picture.astype(np.float32) / 255.0, place) if place else []
        if member["kind"] != "character" or len(faces) != 1:
            return Looks(None, None, [f"sketch reader: {member['name']} is not alone in a place that it knows"])
        face, words = faces[0], lexicon()
        seen = {"hair": face.hair, "upper": face.top, "head": face.hat}
        attrs, right = [], []
        for attr in member["all_attrs"]:
            colour = words.colour(attr.split())
            there = seen.get(place_of(attr, words))
            if is_identity(attr, words, member["kind"]) or not colour or not there:
                attrs.append(attr)
                continue
            right.append(colour == there)
            attrs.append(attr if right[-1] or there == "none" else attr.replace(colour, there))
        return Looks(attrs, sum(right) / len(right) if right else None)
