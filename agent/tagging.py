"""From a text to tagged tokens: words, sentences, parts of speech and lemmas.

The tags are those of the Hanover Tagger's English model (BNC basic tags: ``NN1`` singular noun, ``NP0`` proper noun,
``AJ0`` adjective, ``VVZ`` verb form, ``PNP`` pronoun, ``DPS`` possessive …). This module corrects, by the words around,
what a tagger of general English gets wrong in prompts (names at the start of a sentence, possessive "'s"); what a word
may be by itself it asks `memreel.agent.dictionary`. It knows nothing of phrases or entities. Text in other scripts
becomes ``FOREIGN`` tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from memreel.agent.dictionary import (
    LONGEST_WORD,
    is_in_dictionary,
    is_word,
    may_be_function_word,
    may_be_verb,
    might_be_verb,
    singular,
    starts_latin,
    tagger,
)
from memreel.agent.first_names import first_names
from memreel.agent.lexicon import lexicon

LONGEST_SENTENCE = 120
"""Tokens tagged together."""

_TOKEN = re.compile(
    r"(?:Dr|Mr|Mrs|Ms|Prof|Capt|Sgt|St|Lt)\.(?=\s)"
    r"|[^\W\d_]+(?=n't\b)|n't\b"
    r"|\b[A-Z][a-z]?'[A-Z][^\W\d_]+"
    r"|[^\W\d_]+(?:-[^\W_]+)*"
    r"|'(?:s|re|ll|ve|d|m)\b"
    r"|\d+(?:[.,]\d+)*(?:-[^\W\d_]+)*"
    r"|\S"
)
_HEADING = re.compile(
    r"\b(?:INT|EXT)\b[^a-z]{1,80}?[-–—] *(?:DAY|NIGHT|DAWN|DUSK|MORNING|EVENING|LATER|CONTINUOUS)\b\.?"
)
"""The heading of a screenplay's scene: "INT. KITCHEN - NIGHT"."""
_TITLE = re.compile(r"(?:Dr|Mr|Mrs|Ms|Prof|Capt|Sgt|St|Lt)\.$")


@dataclass(frozen=True)
class Token:
    """A word or a mark of a text, with its tag, lemma and the number of its sentence."""

    text: str
    tag: str
    lemma: str
    sentence: int

    @property
    def lower(self) -> str:
        """The token in lower case."""
        return self.text.lower()

    @property
    def is_noun(self) -> bool:
        """A common or proper noun."""
        return self.tag in ("NN0", "NN1", "NN2", "NP0")

    @property
    def is_verb(self) -> bool:
        """Any form of a verb."""
        return self.tag.startswith("V")

    @property
    def is_finite(self) -> bool:
        """A verb that can carry a clause."""
        return self.is_verb and self.tag not in ("VVG", "VVN", "VVI", "VBG", "VBN", "VBI", "VHG", "VHN", "VHI", "VDI")


def split(text: str) -> list[list[str]]:
    """Split a text into sentences of tokens."""
    sentences: list[list[str]] = [[]]
    for found in _TOKEN.finditer(_HEADING.sub(" ", text.replace("’", "'"))):
        word = found.group()
        whole = word.replace("-", "")
        if whole != word and lexicon().is_listed(whole):
            word = whole  # "saxophon-ist"
        sentences[-1].append(word)
        if word in ".!?;。！？；" or len(sentences[-1]) >= LONGEST_SENTENCE:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def tag(text: str, known_names: Collection[str] = ()) -> list[Token]:
    """Return the tagged tokens of a text.

    Args:
        text: any text.
        known_names: words that are names in this story, whatever else they mean ("Rose").
    """
    names = {word for name in known_names for word in name.split()}
    sentences = split(text)
    shouted = {
        word
        for sentence in sentences
        for before, word in pairwise(["", *sentence])
        if 1 < len(word) <= LONGEST_WORD and word.isupper() and word.isalpha() and _may_be_shouted_name(before, word)
    }
    names |= shouted | {word.upper() for word in names if len(word) > 1} | {word.capitalize() for word in shouted}
    # A word that is capitalised in mid-sentence is a name at the start of a sentence too.
    names |= {
        word
        for sentence in sentences
        for before, word in pairwise(sentence)
        if word[0].isupper() and word[1:].islower() and before not in ('"', "'", "“", ":")
    }
    common = {word.capitalize() for sentence in sentences for word in sentence if word.islower()} - names
    tokens: list[Token] = []
    for number, sentence in enumerate(sentences):
        tokens.extend(_tag_sentence(sentence, number, names, common))
    return tokens


def _may_be_shouted_name(before: str, word: str) -> bool:
    """Tell whether a word in capitals is a name so written ("VEX"), rather than an abbreviation or an emphasis."""
    small = word.lower()
    if len(word) > LONGEST_WORD:
        return False
    if before.lower() in lexicon().group("before_writing") or small in lexicon().group("abbreviations"):
        return False
    if lexicon().is_listed(small):
        return False
    return small not in lexicon().listed["adjectives"] and not may_be_function_word(small)


def _tag_sentence(words: list[str], number: int, names: Collection[str], common: Collection[str]) -> list[Token]:
    """Tag a sentence; ``names`` are names wherever they stand, ``common`` words no names just because they begin it."""
    plain = [
        word if len(word) <= LONGEST_WORD and (starts_latin(word) or not _is_foreign(word[0])) else "."
        for word in words
    ]
    tagged = tagger().tag_sent(plain, taglevel=1)
    tokens: list[Token] = []
    for i, (word, (_, lemma, mark)) in enumerate(zip(words, tagged, strict=True)):
        if plain[i] != word:
            mark = "FOREIGN"
        elif word == "'s":
            mark = "VBZ" if i and tagged[i - 1][2] in ("PNP", "EX0") else "POS"
        elif _TITLE.match(word) or (word in names and word[0].isupper() and mark != "PNP"):
            mark = "NP0"
        elif word.isupper() and len(word) > 1:
            mark, lemma = "NN1", word  # "AI", "TV"
        elif word[0].isupper() and not (i == 0 and word in common) and _is_name(i, mark, tagged):
            mark = "NP0"
        elif mark in ("NN1", "UNC") and _is_colour_of_what_follows(i, words, tagged):
            mark = "AJ0"
        elif (mark in ("UNC", "ITJ") and word.isalpha()) or (mark == "NP0" and word.islower()):
            mark = "NN1"
        elif mark == "NN2" and i and words[i - 1].lower() in ("a", "an") and not word.endswith("s"):
            mark, lemma = "NN1", word  # "a herder"
        elif mark == "AJ0" and _is_acting(i, words, tagged):
            mark = "NN1"
        elif mark == "NN1" and word in lexicon().listed["adjectives"] and _is_one_of_two(i, words, tagged):
            mark = "AJ0"
        elif mark == "NN2" and word.lower() in (f"{lemma}er".lower(), f"{lemma}or".lower()):
            mark, lemma = "NN1", word  # "the herder" is no herd
        elif mark == "NN2" and _is_verb_between_phrases(i, words, tagged, tokens):
            mark = "VVZ"
        elif mark in ("VVZ", "VVB") and i > 1 and _is_described(tagged[i - 2][2], tagged[i - 1]):
            mark, lemma = "NN2", singular(word.lower())
        elif mark == "NN2" and not word.endswith("s") and str(lemma).lower() == word.lower():
            mark = "NN1"  # "the surfer": a plural by its guessed ending only
        elif mark == "DPS" and word.lower() == "her" and _ends_phrase(i, words, tagged):
            mark = "PNP"  # "films her on his phone"
        elif mark in ("AJ0", "AV0", "VVB", "VVI", "VVD", "VVN") and _stands_for_noun(i, words, tagged):
            mark, lemma = "NN1", word if mark in ("VVD", "VVN") else lemma
        lemma = str(lemma).lower() if mark != "NP0" else word
        if mark == "NN2" and lemma.endswith("ie") and word.endswith("ies") and len(word) > 5:
            lemma = lemma[:-2] + "y"
        tokens.append(Token(word, mark, lemma, number))
    return _with_verb(tokens)


def _is_foreign(sign: str) -> bool:
    """Tell whether a sign is a letter, or a symbol that stands for words as emoji do."""
    return sign.isalpha() or unicodedata.category(sign) == "So"


def _is_acting(i: int, words: list[str], tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether an "adjective" is who acts, and the "noun" behind it the verb: "the general glares at …"."""
    if not i or i + 2 >= len(words) or tagged[i - 1][2] not in ("AT0", "DPS"):
        return False
    if lexicon().listed["nouns"].get(words[i].lower()) not in ("person", "animal", "being"):
        return False
    after = tagged[i + 2][2]
    follows = after.startswith(("PR", "AT0", "PN", "AV", "DPS", "CJ")) or words[i + 2] in ",."
    return tagged[i + 1][2] in ("NN1", "NN2") and might_be_verb(words[i + 1].lower()) and follows


def _is_colour_of_what_follows(i: int, words: list[str], tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a word that may be a thing is a colour before another adjective: "ebony curly hair"."""
    return i + 1 < len(words) and tagged[i + 1][2] == "AJ0" and lexicon().listed["adjectives"].get(words[i]) == "colour"


def _is_one_of_two(i: int, words: list[str], tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a word begins a pair of adjectives: "a giant, majestic ray"."""
    opened = i > 0 and tagged[i - 1][2] in ("AT0", "DPS")
    return opened and i + 3 < len(words) and words[i + 1] == "," and tagged[i + 2][2] == "AJ0"


def _is_verb_between_phrases(
    i: int, words: list[str], tagged: list[tuple[str, str, str]], before: Sequence[Token]
) -> bool:
    """Tell whether a "plural" joins two noun phrases, which only a verb does: "the janitor pockets the key"."""
    if not i or i + 1 >= len(words) or not words[i].endswith("s") or words[i - 1].lower() in ("a", "an"):
        return False
    after = tagged[i + 1][2]
    if before[-1].tag == "NP0" and (i == 1 or before[-2].tag not in ("AT0", "DPS", "AJ0", "CRD")):
        return after in ("AT0", "DPS", "PNP", "DT0", "PRP", "AVP", "AJ0", "AV0", "TO0", "CJS")  # "Ada pipes blue icing"
    if words[i - 1] in (",", "and") and i > 2 and after in ("AT0", "DPS", "PNP") and words[i] != words[i].title():
        return not any(mark == "NN2" for _, _, mark in tagged[i - 3 : i])  # "Leyla, who delivers bread, loads the …"
    if tagged[i - 1][2] not in ("NN1", "NP0", "NN0", "UNC") or tagged[i + 1][2] not in ("AT0", "DPS", "PNP", "DT0"):
        return False
    opened = i - 1
    while opened >= 0 and tagged[opened][2] in ("NN1", "NP0", "NN0", "UNC", "AJ0", "AT0", "DPS", "CRD"):
        opened -= 1
    if opened < 0 or not tagged[opened][2].startswith("PR"):
        return True  # but "in the palace gardens a girl waits"
    return opened > 0 and before[opened - 1].is_noun and not any(token.is_finite for token in before)


def _with_verb(tokens: list[Token]) -> list[Token]:
    """Give each clause the verb that it lacks: a "noun" that may be one and agrees with who stands before it.

    "A dog bounds after him", "The boy and the dog race down", "The two climb into …", "Bart, a terrier, barks."
    """
    apart = next(
        (
            i
            for i, (mark, after) in enumerate(pairwise(tokens))
            if mark.text == "," and i > 1 and (after.tag == "CJS" or after.lower in ("and", "but"))
        ),
        None,
    )
    if apart is not None and any(token.is_finite for token in tokens[apart:]):
        return _with_verb(tokens[:apart]) + _with_verb(tokens[apart:])
    if any(token.is_finite for token in tokens):
        return tokens
    for i in range(1, len(tokens)):
        word = tokens[i]
        if word.tag in ("NN1", "NN2") and word.text.islower() and might_be_verb(word.lower) and _lacks(tokens, i):
            return [*tokens[:i], Token(word.text, _FINITE[word.tag], word.lemma, word.sentence), *tokens[i + 1 :]]
    return tokens


_FINITE = {"NN1": "VVB", "NN2": "VVZ"}
_BEHIND_VERBS = ("PR", "AV", "AT0", "DPS", "PN", "DT0", "TO0", "CJ")


def _lacks(tokens: Sequence[Token], i: int) -> bool:
    """Tell whether the words before a "noun" are a subject that agrees with it, and those behind let it be a verb."""
    behind = tokens[i + 1] if i + 1 < len(tokens) else None
    if behind is not None and not (behind.tag.startswith(_BEHIND_VERBS) or behind.text in ",.;:!?"):
        return False
    if tokens[i - 1].text == ",":  # "Mia, in a red dress, steps …": the subject begins the sentence
        head = next((k for k in range(i) if not tokens[k + 1].is_noun and tokens[k].is_noun), None)
        several = any(token.lower == "and" for token in tokens[: i - 1])
        apposed = head is not None and head + 1 < i - 1 and tokens[head + 1].text == "," and not several
        return apposed and tokens[i].tag == "NN2" and all(t.tag in _IN_PHRASES for t in tokens[: (head or 0) + 1])
    if tokens[i - 1].tag == "CRD":
        return i > 1 and tokens[i - 2].lower == "the" and tokens[i].tag == "NN1"
    if not tokens[i - 1].is_noun:
        return False
    opened = i - 1
    while opened >= 0 and tokens[opened].tag in _IN_PHRASES:
        opened -= 1
    if opened >= 0 and tokens[opened].tag.startswith("PR"):  # "in the palace gardens", but "a man in a suit parks"
        return opened > 0 and tokens[opened - 1].is_noun and tokens[i].tag == "NN2"
    several = opened >= 0 and tokens[opened].lower == "and"
    if tokens[i - 1].tag == "NP0":
        return tokens[i].tag == ("NN1" if several else "NN2")
    return tokens[i].tag == ("NN1" if several or tokens[i - 1].tag == "NN2" else "NN2") and opened < i - 2


_IN_PHRASES = ("NN1", "NN2", "NN0", "NP0", "UNC", "AJ0", "AT0", "DPS", "CRD", "ORD")


def _stands_for_noun(i: int, words: list[str], tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a word closes a phrase that an article opens, so that it can but be its noun: "a machete,"."""
    if i == 0 or i + 1 >= len(words) or words[i].lower() in lexicon().listed["adjectives"] or not words[i].isalpha():
        return False
    opened = i - 1
    while opened > 0 and tagged[opened][2] == "AJ0":
        opened -= 1
    if tagged[opened][2] not in ("AT0", "DPS"):
        return False
    if lexicon().is_listed(words[i].lower()) and not tagged[i + 1][2].startswith(("NN", "AJ", "UNC")):
        return True
    if tagged[i][2] in ("VVD", "VVN"):
        return False
    after = tagged[i + 1][2]
    if words[i + 1] == "," or after == "CJC":
        return i + 2 < len(words) and not tagged[i + 2][2].startswith(("AJ", "AV0", "VVN", "NN"))
    return after.startswith(("PRP", "PRF", "CJS", "VVZ", "VVD", "VBZ", "VHZ", "AVP")) or words[i + 1] in ".;:!?"


def _ends_phrase(i: int, words: list[str], tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether no noun can follow here."""
    return (
        i + 1 == len(words) or words[i + 1] in ".,;:!?" or tagged[i + 1][2].startswith(("PR", "CJ", "AT0", "PN", "TO"))
    )


def _is_described(before: str, modifier: tuple[str, str, str]) -> bool:
    """Tell whether an adjective stands in front, as before a noun only: "with blond curls"."""
    word, _, mark = modifier
    adjective = mark == "AJ0" or lexicon().colour([word.lower()]) is not None
    return adjective and before in ("PRP", "AT0", "DPS", "AJ0")


def _is_name(i: int, mark: str, tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a capitalised word is a name: in mid-sentence, or alone at the start."""
    if i:
        said = tagged[i - 1][0] in ('"', "'", "“", "‘")
        orders = said and _may_be_order(str(tagged[i][0]).lower())  # "'Tell Mia to come,' he says"
        return not orders and mark in ("NN1", "NN2", "AJ0", "UNC", "VVB", "VVI", "ITJ", "NN0")
    word = str(tagged[0][0]).lower()
    if _is_introduced(tagged) or _is_part_of_name(word, tagged):
        return True
    if word in lexicon().group("names_too") and _acts_as_nobody_else(tagged):
        return True
    if lexicon().listed["nouns"].get(word) in ("sensory", "time", "nature", "place", "abstract", "furniture"):
        return False
    if mark == "AJ0" and word in lexicon().listed["adjectives"]:
        return False
    return mark in ("NN1", "NN0", "UNC", "AJ0") and _stands_alone(tagged)


def _may_be_order(word: str) -> bool:
    """Tell whether what somebody says may begin with a word as a verb, and hardly with it as a name."""
    return may_be_verb(word) and word not in first_names() and word not in lexicon().group("names_too")


def _is_part_of_name(word: str, tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a sentence begins with a title or an unknown word and a name ("Brother Benedict"), or "Tico"."""
    if len(tagged) > 2 and tagged[1][0] == "," and str(tagged[2][0]).lower() == "who":
        return True  # "Ole, who was sweeping, …"
    if len(tagged) < 2 or tagged[1][2] != "NP0" or not str(tagged[1][0])[:1].isupper():
        return not is_word(word) and (_stands_alone(tagged) or _is_verb_of_first(tagged))
    return word in lexicon().words["titles"] or (tagged[0][2] == "NN1" and not is_in_dictionary(word))


def _is_verb_of_first(tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether the second word is a verb that was taken for a plural: "Tico poles a canoe"."""
    after = tagged[2][2] if len(tagged) > 2 else ""
    return tagged[1][2] == "NN2" and might_be_verb(tagged[1][0]) and after.startswith(("AT0", "DPS", "PR", "PN"))


def _is_introduced(tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a sentence begins with one word and who that is: "Joy, a toddler with …", "Quill, her raven, …"."""
    if len(tagged) < 4 or tagged[1][0] != ",":
        return False
    if tagged[0][2] not in ("NN1", "NN0", "NP0", "UNC", "VVB", "VVI", "ITJ") and is_word(str(tagged[0][0]).lower()):
        return False
    if tagged[2][2] != "DPS" and str(tagged[2][0]).lower() not in ("a", "an"):
        return False
    said = takewhile(lambda item: item[0] != "," and not item[2].startswith(("PR", "VVZ")), tagged[3:10])
    last = [str(item[0]).lower() for item in said][-1:]
    return bool(last) and lexicon().noun_class(last[0]) in ("person", "animal", "being")


def _acts_as_nobody_else(tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a bare word that may be a name does what only people do: "Sky crouches", but "Hope fades"."""
    natural = str(tagged[1][1]).lower() in lexicon().group("natural_verbs") if len(tagged) > 1 else True
    return not natural and _stands_alone(tagged)


def _stands_alone(tagged: list[tuple[str, str, str]]) -> bool:
    """Tell whether a sentence begins with a bare singular noun that acts, as only a name does ("Rose waves")."""
    if len(tagged) < 3:
        return False
    word, _, after = tagged[1]
    if after == "NN2":
        return may_be_verb(word) and not tagged[2][2].startswith("V")
    if word == "," and tagged[0][2] != "AJ0":  # "Mia, a young woman,", "Hattie, eighty if a day,"
        return tagged[2][2] == "AT0" or not lexicon().is_listed(str(tagged[0][0]).lower())
    return after in ("VVZ", "VVD", "VBZ", "VHZ", "VDZ") or word == "the"
