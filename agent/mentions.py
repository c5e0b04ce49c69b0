"""Mentions: the noun phrases of a prompt that speak of a character or an object, with what is said of their look.

This module reads one text. It decides which phrases are people, animals, robots and things with a role, which are
garments and features and whose ("with red hair", "wearing a blue coat", "her green hat"), which names belong to which
description ("Mia, a young woman", "a dog named Rex"). Whether two mentions are one and the same, and
who they were in earlier prompts, is the question of `hearing`.
"""

from __future__ import annotations

from memreel.agent import appositions
from memreel.agent.clauses import QUOTES
from memreel.agent.descriptions import modifiers
from memreel.agent.mention import NOTHING, Mention, Role, Told
from memreel.agent.phrases import ANIMATE, Phrase
from memreel.agent.worn import Worn

PLACE_PREPOSITIONS = frozenset(
    ["in", "at", "into", "through", "across", "over", "from", "of", "inside", "outside", "around", "along"]
)
BESIDE = ("beside", "next", "to", "near", "behind", "around", "with")
PAIRS = {"pair": 2, "couple": 2, "duo": 2, "trio": 3}


def mentions(text: str, story: Told = NOTHING) -> list[Mention]:
    """Return the mentions of one prompt in order, read by what its ``story`` told before."""
    return mentions_and_place(text, story)[0]


def mentions_and_place(text: str, story: Told = NOTHING) -> tuple[list[Mention], str]:
    """Return the mentions of a text in order, and where it plays ("" if it does not say); see `mentions`."""
    reader = Grammar(text, story)
    return reader.read(), reader.place()


class Grammar(Worn):
    """Reads one text: its mentions, where they stand, and where it plays."""

    def __init__(self, text: str, story: Told) -> None:
        super().__init__(text, story.names)
        self.known = {word.lower() for name in story.names for word in name.split()}
        self.characters, self.things = story.characters, story.things
        self.text, self._starts = text, list[int]()
        self.nobody = set[int]()
        """Phrases that speak of nobody and nothing by themselves."""
        self.joined: dict[int, Mention] = {}

    def read(self) -> list[Mention]:
        """Return the text's mentions in order."""
        skipped: set[int] = set()
        for i, phrase in enumerate(self.phrases):
            if i in skipped:
                continue
            mention = self._mention(i, phrase, skipped)
            if mention is not None:
                mention.presence = self.presence(phrase, mention.subject)
                if mention.role in ("character", "pronoun"):
                    mention.attrs.extend(self._looks(Phrase(0, 0, 0, modifiers=self.adjectives_behind(i))))
                self.mentions[i] = mention
        for i in list(self.mentions):
            if self.mentions[i].role == "feature" and self.mentions[i].owner is None:
                self.attach(i)
        for i in list(self.mentions):
            said_by = self.introduces_itself(i) if self.mentions[i].name else None
            if said_by is not None and said_by in self.mentions and self.mentions[said_by].role == "character":
                self.mentions[said_by].name = self.mentions.pop(i).name
        self.joined = appositions.join(self.mentions, self.phrases, self.tokens)
        return [self.mentions[i] for i in sorted(self.mentions)]

    def silent(self) -> set[int]:
        """Return where words begin that are no mention by themselves: verbs, parts of names, of compounds, similes.

        "Beside them" at a sentence's beginning speaks of who has just been told of, if only of one.
        """
        found = {self.start_of(self.phrases[i].end - 1) for i in self.nobody}
        found |= {self.start_of(k) for k, token in enumerate(self.tokens) if token.is_finite and token.text.islower()}
        for phrase in self.phrases:
            begins = next(k for k, token in enumerate(self.tokens) if token.sentence == phrase.sentence)
            if phrase.pronoun == "them" and {t.lower for t in self.tokens[begins : phrase.start]} <= {*BESIDE}:
                found.add(self.start_of(phrase.start))
            ends = phrase.name.rsplit(" ", 1)[-1].lower()
            tower = "the" in phrase.determiners and self.words.noun_class(ends) == "place"  # "the Eiffel Tower"
            if phrase.name and (tower or self._is_quoted(phrase)):
                found |= {self.start_of(k) for k in range(phrase.start, phrase.end)}
        for i, mention in self.mentions.items():
            last = self.phrases[i].end - 1
            if mention.role == "feature" and self.words.noun_class(self.phrases[i].head) == "body":
                found.add(self.start_of(last))
            found |= {self.start_of(k) for k in range(last + 1 - max(1, len(self.phrases[i].nouns)), last)}
        for i, mention in self.mentions.items():
            parts = len(mention.name.split()) - 1
            last = self.phrases[i].end - 1
            if parts > 0 and self.tokens[last].text == mention.name.rsplit(" ", 1)[-1]:
                found |= {self.start_of(k) for k in range(max(self.phrases[i].start, last - parts), last)}
        return found

    def _is_quoted(self, phrase: Phrase) -> bool:
        """Tell whether several words with capital letters stand in quotes by themselves: sings 'Happy Birthday'."""
        around = [self.tokens[k].text for k in (phrase.start - 1, phrase.end) if 0 <= k < len(self.tokens)]
        return phrase.end - phrase.start > 1 and len(around) > 1 and all(mark in QUOTES for mark in around)

    def is_in_list(self, mention: Mention) -> bool:
        """Tell whether a mention is one of three or more behind commas and "and": "a baker, a pilot, …"."""
        items = [
            phrase
            for phrase in self.phrases
            if phrase.sentence == mention.sentence and {"a", "an"} & {*phrase.determiners}
            if phrase.governor in (",", "and")
        ]
        return len(items) > 2 and self.phrases[mention.position] in items

    def start_of(self, token: int) -> int:
        """Return where a token begins in the text."""
        if not self._starts:
            at = 0
            for each in self.tokens:
                found = self.text.find(each.text, at)
                at = found if found >= 0 else at
                self._starts.append(at)
                at += len(each.text) if found >= 0 else 0
        return self._starts[token]

    def by_word(self) -> dict[int, Mention]:
        """Return mentions by each place in the text where the head word of theirs, or of an apposition, begins."""
        found = {}
        for i, mention in {**self.joined, **self.mentions}.items():
            token = self.phrases[i].end - 1
            begun = self.start_of(token)
            found.update(dict.fromkeys(range(begun, begun + len(self.tokens[token].text)), mention))
        return found

    def place(self) -> str:
        """Return the first place that something is said to be in or at: "old library"."""
        for phrase in self.phrases:
            where = phrase.governor in PLACE_PREPOSITIONS and phrase.governor != "of"
            if not where or not phrase.head or phrase.head in self.words.group("parts_of_places"):
                continue
            if self.words.noun_class(phrase.compound) == "place":
                return " ".join([*phrase.modifiers, *phrase.nouns])
        return ""

    # What a phrase is.

    def _mention(self, i: int, phrase: Phrase, skipped: set[int]) -> Mention | None:
        if phrase.pronoun:
            return Mention(
                "pronoun",
                i,
                phrase.sentence,
                pronoun=phrase.pronoun,
                subject=self.is_subject(phrase),
            )
        if not phrase.head and not phrase.name:
            number = phrase.number if phrase.governor not in PLACE_PREPOSITIONS or phrase.determiners[1:] else None
            return Mention("pronoun", i, phrase.sentence, pronoun="they", number=number) if number else None
        if phrase.head in PAIRS and phrase.is_definite:
            return Mention("pronoun", i, phrase.sentence, pronoun="they", number=PAIRS[phrase.head])
        if phrase.head in self.words.listed["adjectives"] and (
            phrase.governor == "of" or phrase.governor_tag.startswith("VB")
        ):
            self.nobody.add(i)
            return None  # "the sky is a deep orange"
        coloured = self.words.colour([phrase.head]) and not (phrase.determiners and self.is_handled(i))
        if coloured or self._is_piece(phrase):
            self.nobody.add(i)
            return None  # "its skin a brilliant red", "slides his queen"
        if phrase.governor == "like" and phrase.governor_tag != "VVB" and {"a", "an"} & {*phrase.determiners}:
            self.nobody.add(i)
            return None  # "falls like a tree"
        if phrase.governor == "as" and self.tokens[phrase.start - 2].tag == "AJ0" and not self.is_subject(phrase):
            self.nobody.add(i)
            return None  # "pink as a shrimp"
        if self.is_predicate(i):
            self.nobody.add(i)
            return None  # "the portrait is still the centerpiece"
        if pronoun := self.is_naming(i):
            return Mention("feature", i, phrase.sentence, name=phrase.name, pronoun=pronoun)
        if phrase.name and i > 1 and self.between(self.phrases[i - 2], phrase)[-3:] == ["whose", "name", "is"]:
            return Mention("feature", i, phrase.sentence, name=phrase.name, owner=self.mentions.get(i - 2))
        kind_of = self._kind_of(i, phrase, skipped)
        if kind_of in ANIMATE and self.says_what_it_is(i):
            seen, nouns = modifiers(phrase, self.words)
            gender = self.words.gender_of_noun(phrase.head)
            subject = self.mentions[i - 1]
            return Mention(
                "feature", i, phrase.sentence, "", [" ".join(nouns)], attrs=seen, gender=gender, owner=subject
            )
        if kind_of in ("garment", "body") and (kind_of == "body" or self.is_worn(i)):
            return self.feature(i, phrase)
        role: Role
        if kind_of in ANIMATE:
            role = "character"
        elif kind_of in ("portable", "vehicle", "garment"):
            role = "object"
        else:
            return None
        seen, nouns = modifiers(phrase, self.words)
        described = " ".join([*nouns[:-1], phrase.head]) if nouns else ""
        words = {*phrase.determiners, *phrase.modifiers}
        mention = Mention(
            role,
            i,
            phrase.sentence,
            name=phrase.name,
            descriptions=[described] if described else [],
            surface=" ".join(nouns),
            kind_of=kind_of,
            attrs=seen,
            gender=self.words.gender_of_noun(phrase.head) if phrase.head else None,
            plural=phrase.plural,
            number=phrase.number if phrase.plural else None,
            definite=phrase.is_definite or self._is_bare_pair(i),
            newcomer="another" in words or ("a" in words and bool(words & {"second", "third", "different", "new"})),
            subject=self.is_subject(phrase),
            pronoun=phrase.possessive,
            owner=self.mentions.get(phrase.possessor) if phrase.possessor is not None else None,
        )
        if "female" in words or "male" in words:
            mention.gender = "female" if "female" in words else "male"
        mention.attrs = self._looks(phrase) if kind_of == "person" else seen
        mention.attrs = [attr for attr in mention.attrs if attr not in ("female", "male")]
        mention.weak = self._is_weak(i, phrase, mention)
        return mention

    def _looks(self, phrase: Phrase) -> list[str]:
        """Return what can be seen of a person: "ginger" is said of the hair."""
        hair = self.words.group("hair_colours")
        return [f"{attr} hair" if attr in hair else attr for attr in modifiers(phrase, self.words)[0]]

    def _is_piece(self, phrase: Phrase) -> bool:
        """Tell whether a noun is a piece of the game that the text speaks of, unless the story has such a character."""
        pieces = self.words.words["pieces"]
        played = {piece for token in self.tokens for piece in pieces.get(token.lower, ())}
        return phrase.head in played and len(phrase.nouns) == 1 and phrase.head not in self.characters

    def _kind_of(self, i: int, phrase: Phrase, skipped: set[int]) -> str:
        """Return the noun class of a phrase, looking through "a pair of …" and past places' names."""
        if phrase.head:
            kind_of = self.words.noun_class(phrase.compound)
            if phrase.compound in self.characters and kind_of not in ANIMATE:
                return "being"
            if self._is_thing(i, phrase, kind_of):
                kind_of = "portable"
            owned = phrase.possessive or phrase.possessor is not None
            if owned and phrase.compound in self.words.words["nouns"]["body"]:
                kind_of = "body"  # "Mia's chest", but "a chest"
            follower = self.phrases[i + 1] if i + 1 < len(self.phrases) else None
            if follower is not None and follower.governor == "of" and follower.start == phrase.end + 1:
                if phrase.head in self.words.group("measures") or kind_of == "group":
                    follower.determiners = [*phrase.determiners]
                    follower.governor, follower.governor_tag = phrase.governor, phrase.governor_tag
                    return "measure"
                if phrase.head in self.words.group("depictions") or (
                    kind_of == "portable" and not follower.determiners
                ):
                    skipped.add(i + 1)
            if phrase.name and kind_of not in ANIMATE:
                kind_of = "person" if not self.words.is_listed(phrase.head) else kind_of
            return kind_of
        last = phrase.name.rsplit(" ", 1)[-1]
        if self.is_called_out(i):
            return "person"
        if (
            last.lower() not in self.known
            and phrase.start
            and self.tokens[phrase.start - 1].text in ('"', "'", "“", "‘", "«")
        ):
            return "abstract"  # a title
        if last.lower() in self.known or self._is_explained(i) or self._explains(i):
            return "person"
        listed = self.words.listed["nouns"].get(phrase.name.lower()) or self.words.listed["nouns"].get(last.lower())
        acts = any(p.name == phrase.name and self.is_subject(p) for p in self.phrases)
        follower = self.phrases[i + 1] if i + 1 < len(self.phrases) else None
        if follower is not None and follower.head == "year" and self.between(phrase, follower) == [","]:
            return "person"
        if "the" in phrase.determiners and not acts and last.lower() not in self.known:
            return "place"  # "the whole Earth"
        if listed in ("place", "furniture") or (listed in ("nature", "time") and not acts):
            return listed
        spoken_of = self.is_thought_of(phrase) or self.is_faced(phrase) or self.is_followed_by_possession(phrase)
        if self.possesses(i) in ("body", "garment") or self.is_beside_somebody(i, self.known):
            return "person"
        if phrase.governor in PLACE_PREPOSITIONS and not acts and not spoken_of:
            return "place"
        if not acts and phrase.governor_tag == "PRP" and self.words.noun_class(phrase.name) in ("time", "place"):
            return "place"
        return "person"

    def _is_thing(self, i: int, phrase: Phrase, kind_of: str) -> bool:
        """Tell whether something that is no thing by its class is one here: in this story, or in somebody's hands."""
        if kind_of in ANIMATE or phrase.plural:
            return False
        if phrase.compound in self.things and kind_of != "body":
            return True
        if kind_of == "unsure":
            return self.is_handled(i)
        part = phrase.head in self.words.group("human_parts") or phrase.head in self.words.covers
        loose = kind_of == "nature" or (kind_of == "body" and not part)  # "blows a horn", but "lays a hand on …"
        given = self.lemma_before(phrase) == "give"  # "gives a wave"
        return loose and not given and bool({"a", "an"} & {*phrase.determiners}) and self.is_handled(i)

    def _explains(self, i: int) -> bool:
        """Tell whether a name says who the person before it is: "its driver, Sol,"."""
        if i == 0:
            return False
        previous, phrase = self.phrases[i - 1], self.phrases[i]
        behind = self.tokens[phrase.end].text if phrase.end < len(self.tokens) else "."
        return (
            self.between(previous, phrase) == [","]
            and behind in (",", ".")
            and bool(previous.head)
            and self.words.noun_class(previous.compound) in ANIMATE
        )

    def _is_explained(self, i: int) -> bool:
        """Tell whether the next phrase is an apposition that says who the name is."""
        phrase = self.phrases[i]
        if i + 1 >= len(self.phrases):
            return False
        nearest = self.phrases[i + 1]
        between = self.between(phrase, nearest)
        return (
            between == [","]
            and bool({"a", "an"} & {*nearest.determiners})
            and self.words.noun_class(nearest.compound) in ANIMATE
        )

    def _is_bare_pair(self, i: int) -> bool:
        """Tell whether a phrase is half of "brother and sister": two known ones without an article."""
        pairs = ((i, i + 1), (i - 1, i))
        return any(
            left >= 0
            and right < len(self.phrases)
            and self.between(self.phrases[left], self.phrases[right]) == ["and"]
            and all(
                phrase.head
                and not (phrase.determiners or phrase.modifiers or phrase.plural or phrase.name)
                and self.words.listed["nouns"].get(phrase.compound) in ANIMATE
                for phrase in (self.phrases[left], self.phrases[right])
            )
            for left, right in pairs
        )

    def _is_weak(self, i: int, phrase: Phrase, mention: Mention) -> bool:
        if mention.role == "character":
            if not mention.name and self.possesses(i) in ("furniture", "place"):
                return True  # "the pilot's seat"
            if mention.name or mention.number or mention.definite:
                return False
            if phrase.governor == "," and phrase.head in self.words.group("epithets"):
                return True  # "… follows him, a silent companion"
            if not mention.plural:
                return not phrase.determiners and phrase.governor_tag in ("PRP", "PRF")  # "instead of cod"
            return mention.kind_of != "person" or not phrase.determiners
        if mention.plural:
            return True
        if not phrase.determiners and phrase.possessor is None:
            return True
        governor = self.list_governor(i)
        if governor == "of" and not (mention.kind_of == "vehicle" and self.tokens[phrase.start - 2].lower == "out"):
            return not (phrase.determiners and self.list_lead(i) == i and self._is_part(i))
        if mention.kind_of == "vehicle":
            return False
        told = bool(mention.attrs or mention.pronoun or phrase.modifiers)
        return governor in self.words.group("locative") and not told

    def _is_part(self, i: int) -> bool:
        """Tell whether the phrase before "of" is a part of a thing: "the lens of her camera"."""
        whole = self.phrases[i - 1] if i else None
        parts = ("portable", "vehicle", "furniture", "place", "body")
        joined = whole is not None and whole.end + 1 == self.phrases[i].start
        if whole is None or not joined or not whole.determiners:
            return False  # "in front of a tent"
        return bool(whole.head) and self.words.noun_class(whole.compound) in parts
