"""Noun phrases: determiner, modifiers, compound and head, with what stands before them.

A small chunker over tagged tokens. It joins what belongs to one noun ("the ancient, stone-walled chamber", "a chess
grandmaster"), keeps pronouns as phrases of their own, and notes possessors and governors (the preposition or verb in
front). What a phrase denotes is not its business, except that a person or animal is not the modifier of a noun that
is itself no thing ("the bird watches": a verb that was taken for a plural).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memreel.agent.dictionary import may_be_verb, might_be_verb
from memreel.agent.lexicon import Lexicon
from memreel.agent.tagging import Token

DETERMINERS = ("AT0", "DPS", "DT0", "CRD", "ORD")
ADJECTIVES = ("AJ0", "AJC", "AJS")
PARTICIPLES = ("VVN", "VVD", "VVG")
NUMBERS = {"both": 2, "two": 2, "three": 3, "four": 4, "five": 5}
ANIMATE = ("person", "animal", "being")
SCENERY = ("place", "furniture", "nature", "time", "sensory", "substance")
CAUSING = ("let", "lets", "make", "makes", "help", "helps", "see", "sees", "watch", "watches", "hear", "hears")
THINGS = ("portable", "vehicle", "garment", "furniture", "place")


@dataclass
class Phrase:
    """A noun phrase: tokens ``start`` to ``end`` (exclusive) of a text.

    ``determiners``, ``modifiers`` are lower case; ``nouns`` are the words of the compound as written, ``head`` its last
    word's lemma. ``name`` holds a proper name, ``pronoun`` a pronoun. ``possessor`` is the index of the phrase before
    "'s"; ``governor`` the word in front of the phrase, ``governor_tag`` its tag. ``acts``: the word behind it, tagged
    as a noun, is its verb.
    """

    start: int
    end: int
    sentence: int
    determiners: list[str] = field(default_factory=list)
    modifiers: list[str] = field(default_factory=list)
    nouns: list[str] = field(default_factory=list)
    head: str = ""
    name: str = ""
    pronoun: str = ""
    plural: bool = False
    possessor: int | None = None
    governor: str = ""
    governor_tag: str = ""
    acts: bool = False

    @property
    def compound(self) -> str:
        """The nouns as one lower-case term with the head as a lemma: "food critic"."""
        return " ".join([*(noun.lower() for noun in self.nouns[:-1]), self.head])

    @property
    def number(self) -> int | None:
        """The count that a determiner or modifier gives, if it gives one."""
        return next((NUMBERS[word] for word in (*self.determiners, *self.modifiers) if word in NUMBERS), None)

    @property
    def is_definite(self) -> bool:
        """Introduced by "the", "this", a possessive …: speaks of something the reader knows or can find."""
        words = {*self.determiners}
        return self.possessor is not None or bool(
            words & {"the", "this", "that", "these", "those", "both"} | words & _POSSESSIVES
        )

    @property
    def possessive(self) -> str:
        """The possessive pronoun in front ("his"), or an empty string."""
        return next((word for word in self.determiners if word in _POSSESSIVES), "")


_POSSESSIVES = {"his", "her", "its", "their", "my", "your", "our"}


def phrases(tokens: Sequence[Token], lexicon: Lexicon) -> list[Phrase]:
    """Return the noun phrases of a tagged text, in order."""
    found: list[Phrase] = []
    with_verb = {token.sentence for token in tokens if token.is_finite}
    i = 0
    while i < len(tokens):
        phrase = _read(tokens, i, tokens[i].sentence not in with_verb, lexicon)
        if phrase is None:
            i += 1
            continue
        before = i - 1
        if before >= 0 and tokens[before].tag == "POS" and found and found[-1].end == before:
            phrase.possessor = len(found) - 1
            phrase.governor, phrase.governor_tag = found[-1].governor, found[-1].governor_tag
        found.append(phrase)
        i = phrase.end + phrase.acts
    return found


def _read(tokens: Sequence[Token], start: int, verbless: bool, lexicon: Lexicon) -> Phrase | None:
    """Read the phrase that starts at a token, or return none."""
    first = tokens[start]
    phrase = Phrase(start, start, first.sentence)
    if start and tokens[start - 1].sentence == first.sentence:
        phrase.governor, phrase.governor_tag = tokens[start - 1].lower, tokens[start - 1].tag
    if first.tag == "PNP":
        phrase.pronoun, phrase.end = first.lower, start + 1
        return phrase
    i = start
    while i < len(tokens) and _is_determiner(tokens, i):
        phrase.determiners.append(tokens[i].lower)
        i += 1
    i = _read_modifiers(tokens, i, phrase)
    nouns_from = i
    others = {"other", "another"} & {*phrase.determiners, *phrase.modifiers}
    if others and i < len(tokens) and _is_its_verb(tokens[i], lexicon):
        return _without_noun(tokens, phrase, i)
    while i < len(tokens) and tokens[i].is_noun and tokens[i].sentence == first.sentence:
        if i > nouns_from and (
            _is_verb_of(tokens[nouns_from:i], tokens[i : i + 3], phrase, lexicon, _lacks_verb(tokens, start))
            or _ends_before(tokens[nouns_from:i], tokens[i], phrase, verbless, lexicon)
        ):
            phrase.acts = tokens[i].tag != "NP0"
            break
        i += 1
    nouns = tokens[nouns_from:i]
    bare = bool(nouns) and nouns_from == start and nouns[0].tag != "NP0"
    if bare and phrase.governor == "to" and may_be_verb(nouns[0].lower):
        return None  # "continues to fish"
    if not nouns:
        return _without_noun(tokens, phrase, i)
    phrase.end = i
    proper = [token for token in nouns if token.tag == "NP0"]
    if len(nouns) == 1 and proper and phrase.determiners and _is_listed_animate(nouns[0].lower, lexicon):
        proper = []  # "the Viking"
        nouns = [Token(nouns[0].lower, "NN1", nouns[0].lower, nouns[0].sentence)]
    common = [token for token in nouns if token.tag != "NP0"]
    if nouns[-1].tag == "NP0":
        phrase.name = " ".join(token.text for token in proper)
    else:
        common = list(nouns)  # "the Amazon rainforest": the name only modifies
    if common:
        phrase.nouns = [token.text for token in common]
        phrase.head = common[-1].lemma if common[-1].tag != "NP0" else common[-1].lower
        phrase.plural = common[-1].tag == "NN2"
    return phrase


def _is_listed_animate(noun: str, lexicon: Lexicon) -> bool:
    return lexicon.is_listed(noun) and lexicon.noun_class(noun) in ANIMATE


def _is_its_verb(token: Token, lexicon: Lexicon) -> bool:
    """Tell whether a "plural" behind "the other" is its verb: "the other waits"."""
    if token.tag != "NN2" or not may_be_verb(token.lower):
        return False
    return lexicon.noun_class(token.lemma) not in (*ANIMATE, *THINGS)


def _is_determiner(tokens: Sequence[Token], i: int) -> bool:
    return tokens[i].tag in DETERMINERS or tokens[i].lower in ("another", "both")


def _read_modifiers(tokens: Sequence[Token], i: int, phrase: Phrase) -> int:
    """Consume adjectives, participles and adverbs before a noun; return the position after them."""
    begin = i
    while i < len(tokens) and tokens[i].sentence == phrase.sentence:
        token = tokens[i]
        opened = bool(phrase.determiners) or i > begin
        if token.tag in ADJECTIVES or token.lower == "other":
            if not _noun_follows(tokens, i + 1):
                break
            phrase.modifiers.append(token.lower)
        elif token.tag in PARTICIPLES and opened and _noun_follows(tokens, i + 1):
            phrase.modifiers.append(token.lower)
        elif token.tag == "AV0" and opened and i + 1 < len(tokens) and tokens[i + 1].tag in (*ADJECTIVES, *PARTICIPLES):
            pass
        elif token.tag in ("CRD", "ORD") and opened:
            phrase.modifiers.append(token.lower)
        elif (
            (token.text == "," or token.lower == "and")
            and i > begin
            and tokens[i - 1].tag in ADJECTIVES
            and i + 1 < len(tokens)
            and tokens[i + 1].tag in (*ADJECTIVES, "VVN")
            and _noun_follows(tokens, i + 2)
        ):
            pass
        else:
            break
        i += 1
    return i


def _noun_follows(tokens: Sequence[Token], i: int) -> bool:
    """Tell whether only further modifiers stand between here and a noun."""
    while i < len(tokens):
        token = tokens[i]
        if token.is_noun:
            return True
        if not (token.tag in (*ADJECTIVES, *PARTICIPLES, "AV0", "CRD") or token.text in (",", "and")):
            return False
        if token.text in (",", "and") and (i + 1 >= len(tokens) or tokens[i + 1].tag not in (*ADJECTIVES, "VVN")):
            return False
        i += 1
    return False


def _lacks_verb(tokens: Sequence[Token], start: int) -> bool:
    """Tell whether no verb stands in a sentence before a phrase, so that its own is still to come."""
    before = [token for token in tokens[:start] if token.sentence == tokens[start].sentence]
    return bool(before) and not any(token.is_finite for token in before)


def _is_verb_of(
    nouns: Sequence[Token], rest: Sequence[Token], phrase: Phrase, lexicon: Lexicon, lacks_verb: bool
) -> bool:
    """Tell whether a "noun" is the verb of who is named before it, by what stands behind: "Igor trips, and …"."""
    if len(rest) < 2 or rest[0].tag not in ("NN1", "NN2") or not might_be_verb(rest[0].lower):
        return False
    following, behind = rest[:2]
    goes_on = (
        behind.lower == "home"
        or behind.tag.startswith(("AT0", "DPS", "PR", "PN", "AV", "CJ", "DT0", "TO0"))
        or behind.text in ",."
    )
    name = nouns[-1].tag == "NP0" and not phrase.determiners and not phrase.modifiers
    if following.tag == "NN2":
        if name:
            return goes_on and phrase.governor_tag != "PRP"
        actor = lexicon.noun_class(" ".join(token.lower for token in nouns)) in ANIMATE
        joined = behind.lower == "and" and len(rest) > 2 and rest[2].tag == "VVZ"  # "a whale surfaces and looks"
        return actor and (joined or behind.tag in ("NP0", "AT0", "DPS", "PNP"))  # "the sherpa ties Tom to …"
    kind = lexicon.noun_class(" ".join(token.lower for token in nouns))
    if kind == "place" and phrase.governor_tag == "PRP":
        return lacks_verb and behind.tag in ("CJS", "AT0", "DPS")  # "a wizard and a dragon in the chamber watch as …"
    made_to = phrase.governor in CAUSING
    actor = name or (kind in (*ANIMATE, *THINGS) and made_to and behind.tag.startswith(("AVP", "PRP", "AT0")))
    return actor and (made_to or phrase.governor == "and") and goes_on


def _ends_before(nouns: Sequence[Token], following: Token, phrase: Phrase, verbless: bool, lexicon: Lexicon) -> bool:
    """Tell whether a following "noun" is rather the verb of what is named before it.

    ``verbless``: nothing in the sentence was tagged as its verb.
    """
    last = nouns[-1]
    behind = following.tag == "NN2" or last.tag in ("NN2", "NP0")
    if verbless and behind and following.tag != "NP0" and may_be_verb(following.lower):
        return True
    if following.tag == "NP0" and last.tag != "NP0":
        kind = lexicon.noun_class(last.lower)
        there = phrase.governor_tag in ("PRP", "PRF") and phrase.determiners and kind not in ANIMATE
        return last.tag == "NN2" or kind in SCENERY or bool(there)  # "In the hallway Tom waits"
    if last.tag == "NP0":
        return following.lower == "home" or (following.tag == "NN2" and may_be_verb(following.lower))
    if last.tag == "NN2":
        return True
    if lexicon.is_listed(f"{last.lower} {following.lemma}") or lexicon.colour([last.lower]):
        return False
    kind = lexicon.noun_class(" ".join(token.lower for token in nouns))
    if following.lower.endswith("ing") and kind in (*ANIMATE, *THINGS) and may_be_verb(following.lower[:-3]):
        return lexicon.noun_class(following.lemma) not in THINGS  # "the saxophone wailing", but "the pearl earring"
    if following.tag == "NN2" and kind in THINGS and phrase.is_definite and may_be_verb(following.lower):
        return lexicon.noun_class(following.lemma) not in (*ANIMATE, *THINGS, "body")  # "the unicycle collapses"
    if kind in ANIMATE:
        if following.tag == "NN1" and following.lower.endswith("s") and may_be_verb(following.lower):
            return True  # "the penguin waddles"
        if following.tag == "NN2" or phrase.governor == "and":
            unlike = lexicon.noun_class(following.lemma) not in (*ANIMATE, *THINGS, "body")
            if following.tag == "NN2":
                return verbless or may_be_verb(following.lower) or unlike
            return may_be_verb(following.lower) and unlike
        return lexicon.noun_class(following.lemma) not in (*ANIMATE, *THINGS, "body")
    return kind == "body" and lexicon.noun_class(following.lemma) not in (*ANIMATE, *THINGS)


def _without_noun(tokens: Sequence[Token], phrase: Phrase, i: int) -> Phrase | None:
    """Return "the two of them", "both", "another", "the other" as phrases without a head."""
    words = {*phrase.determiners, *phrase.modifiers}
    if i < len(tokens) and tokens[i].lower in ("other", "one", "ones"):
        phrase.modifiers.append(tokens[i].lower)
        words.add(tokens[i].lower)
        i += 1
    if i == phrase.start:
        return None
    if phrase.number or words & {"another", "other"}:
        of_them = [token.lower for token in tokens[i : i + 2]]
        phrase.end = i + 2 if of_them in (["of", "them"], ["of", "us"]) else i
        return phrase
    return None
