"""Clauses: what the words around a phrase say of its part in the sentence.

Whether it acts, whether it comes or goes or is only thought of, whether a pronoun need stand for anybody, which list it
stands in. This module looks at grammar alone; what a phrase refers to is the question of `mentions`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memreel.agent.lexicon import lexicon
from memreel.agent.phrases import ANIMATE, Phrase, phrases
from memreel.agent.tagging import Token, tag

QUOTES = ('"', "'", "“", "”", "‘", "«", "»")
_POSSESSIVE = {"she": "her", "he": "his", "it": "its"}


class Clauses:
    """One text's tokens and phrases, and what may be asked of them."""

    def __init__(self, text: str, known_names: Collection[str]) -> None:
        """Tag a text and find its phrases; ``known_names`` are names whatever they look like."""
        self.words = lexicon()
        self.tokens: Sequence[Token] = tag(text, known_names)
        self.phrases = phrases(self.tokens, self.words)

    def is_followed_by_possession(self, phrase: Phrase) -> bool:
        """Tell whether a phrase is followed by "'s"."""
        return phrase.end < len(self.tokens) and self.tokens[phrase.end].tag == "POS"

    def possesses(self, i: int) -> str:
        """Return the class of what a phrase is said to have: "body" for "Lucia's dark hair", else an empty string."""
        if i + 1 < len(self.phrases) and self.phrases[i + 1].possessor == i:
            return self.words.noun_class(self.phrases[i + 1].compound)
        return ""

    def adjectives_behind(self, i: int) -> list[str]:
        """Return the adjectives that follow a phrase: "Freya, red-haired and broad, …", "He is bald."."""
        k = self.phrases[i].end
        if k >= len(self.tokens) or self.tokens[k].lower not in (",", "is", "was", "'s"):
            return []
        opened = k
        k += 1
        found: list[str] = []
        while k < len(self.tokens) and self.tokens[k].sentence == self.phrases[i].sentence:
            token = self.tokens[k]
            if token.tag in ("AJ0", "AJC", "VVN", "VVD") and (token.tag == "AJ0" or "-" in token.text):
                found.append(token.lower)
            elif token.lower not in (",", "and") and token.tag != "AV0":
                break
            k += 1
        rest = self.tokens[k] if k < len(self.tokens) and self.tokens[k].sentence == self.phrases[i].sentence else None
        closed = rest is None or rest.text in ".;" or (self.tokens[k - 1].text == "," and k - 1 > opened)
        is_noun = rest is not None and rest.is_noun and rest.tag != "NP0"
        told = closed or (rest is not None and rest.tag in ("PRP", "CJS") and self.tokens[opened].text != ",")
        return found if told and not is_noun else []

    def is_naming(self, i: int) -> str:
        """Return whom a name is said to be the name of, as a pronoun: "her" for "Her name is …", "calls herself …"."""
        if i == 0 or not self.phrases[i].name:
            return ""
        before = self.phrases[i - 1]
        between = self.between(before, self.phrases[i])
        if before.head == "name" and between in (["is"], ["was"], [":"], ["'s"]):
            return self._speaker(i) if before.possessive == "my" else before.possessive
        if before.pronoun == "i" and between in (["'m"], ["am"]):
            return self._speaker(i)
        if between in ([], ["as"]) and self.lemma_before(before) in ("call", "introduce", "name"):
            return {"herself": "her", "himself": "his", "itself": "its"}.get(before.pronoun, "")
        return ""

    def _speaker(self, i: int) -> str:
        """Return the pronoun of who says the words that a name ends, or none: "her" for "'I am Sora,' she says"."""
        said_by = self.speaker(i)
        return _POSSESSIVE.get(self.phrases[said_by].pronoun, "") if said_by is not None else ""

    def speaker(self, i: int) -> int | None:
        """Return the phrase that stands by the verb behind the words that a name ends: "'Sora,' says the girl"."""
        end = self.phrases[i].end
        while end < len(self.tokens) and not (self.tokens[end].is_verb or self.tokens[end].is_noun):
            end += 1
        quoted = any(token.text in QUOTES for token in self.tokens[self.phrases[i].end : end])
        near = (k for k in range(i + 1, len(self.phrases)) if self.phrases[k].start <= end + 1)
        return next(near, None) if quoted else None

    def introduces_itself(self, i: int) -> int | None:
        """Return who says but a name that is their own: "'What is your name?' … 'Petro,' the soldier whispers"."""
        phrase = self.phrases[i]
        before = [token.lower for token in self.tokens[max(0, phrase.start - 4) : phrase.start]]
        asked = any(p.head == "name" and p.possessive == "your" for p in self.phrases[:i])
        alone = before[-1:] and before[-1] in QUOTES and (asked or " " in phrase.name)
        told = before[-2:] in (["i", "'m"], ["i", "am"]) or before[-3:] in (["my", "name", "is"], ["my", "name", "'s"])
        return self.speaker(i) if alone or told else None

    def is_handled(self, i: int) -> bool:
        """Tell whether hands or mouth do something to what a phrase names: "finds a deed", "tosses him a fan"."""
        phrase = self.phrases[i]
        if self.words.is_handling(self.lemma_before(phrase)):
            return True
        if i == 0 or self.phrases[i - 1].end != phrase.start or not phrase.determiners:
            return False
        receiver = self.phrases[i - 1]
        person = receiver.name or receiver.pronoun or self.words.noun_class(receiver.compound) in ANIMATE
        return bool(person) and self.words.is_handling(self.lemma_before(receiver))

    def is_called_out(self, i: int) -> bool:
        """Tell whether a name is whom somebody speaks to: '"Don't move, Bianca," says …'."""
        phrase = self.phrases[i]
        before = self.tokens[phrase.start - 1].text if phrase.start else ""
        after = [token.text for token in self.tokens[phrase.end : phrase.end + 2]]
        opens, closes = before in QUOTES, len(after) == 2 and after[0] in ",.!?" and after[1] in QUOTES
        return (opens and after[:1] in ([","], ["!"])) or (before == "," and closes)

    def is_beside_somebody(self, i: int, known: Collection[str]) -> bool:
        """Tell whether a name is joined by "and" to one that is known: "at Sky and Ash"."""
        return any(
            0 <= k < len(self.phrases)
            and self.phrases[k].name.rsplit(" ", 1)[-1].lower() in known
            and self.between(self.phrases[min(i, k)], self.phrases[max(i, k)]) == ["and"]
            for k in (i - 1, i + 1)
        )

    def is_subject(self, phrase: Phrase) -> bool:
        """Tell whether a phrase acts in its clause."""
        if phrase.acts:
            return True
        if phrase.end < len(self.tokens):
            after = self.tokens[phrase.end]
            if after.sentence == phrase.sentence and (after.is_verb and after.tag not in ("VVG", "VVN", "VVI")):
                return True
        return phrase.governor == "" or phrase.start == 0

    def lemma_before(self, phrase: Phrase) -> str:
        """Return the lemma of the verb in front, past its particle: "picks up the …"."""
        k = phrase.start - 1
        while k > 0 and self.tokens[k].tag == "AVP":
            k -= 1
        return self.tokens[k].lemma if k >= 0 and self.tokens[k].is_verb else ""

    def says_what_it_is(self, i: int) -> bool:
        """Tell whether a phrase is what a pronoun is said to be: "She is a tall woman"."""
        phrase = self.phrases[i]
        if i == 0 or not self.phrases[i - 1].pronoun:
            return False
        if phrase.plural and self.between(self.phrases[i - 1], phrase) in (["are"], ["were"]):
            return not phrase.is_definite
        if not {"a", "an"} & {*phrase.determiners}:
            return False
        return self.between(self.phrases[i - 1], phrase) in (["is"], ["was"], ["'s"])

    def is_predicate(self, i: int) -> bool:
        """Tell whether a phrase says what the one before it is or becomes, and brings in nobody: "remains a host"."""
        phrase = self.phrases[i]
        if i == 0 or phrase.name or self.phrases[i - 1].pronoun or self.phrases[i - 1].sentence != phrase.sentence:
            return False
        subject = self.phrases[i - 1]
        between = self.tokens[subject.end : phrase.start]
        verbs = [token for token in between if token.is_verb]
        if subject.governor_tag.startswith("PR") or len(verbs) != 1 or subject.name:
            return False
        rest = all(token.is_verb or token.tag in ("AV0", "XX0") for token in between)
        return rest and verbs[0].lower in ("is", "are", "was", "were", "'s", "remains", "becomes", "remain", "become")

    def presence(self, phrase: Phrase, subject: bool) -> str:
        """Return whether the phrase comes or goes by its own verb, or is but what somebody thinks or speaks of."""
        if self.is_thought_of(phrase):
            return "mentioned"
        if not subject:
            return ""
        acts = False
        for k in range(phrase.end, min(phrase.end + 16, len(self.tokens))):
            token = self.tokens[k]
            if token.sentence != phrase.sentence or token.text == ";":
                break
            if not token.is_finite or token.tag.startswith(("VB", "VH", "VD")):
                continue
            if acts and self.tokens[k - 1].tag != "CJC":
                break  # somebody else's verb
            acts = True
            after = next((p for p in self.phrases if p.start == k + 1), None)
            particle = {t.lower for t in self.tokens[k + 1 : k + 3] if t.tag in ("AVP", "AV0", "PRP")}
            if token.lemma in self.words.group("leaving"):
                gone = after is None or not after.head or self.words.noun_class(after.compound) in ("place", "vehicle")
                return "leaves" if gone else ""
            if token.lemma in self.words.group("moving"):
                if particle & {"in", "into", "onto"}:
                    return "enters" if not particle & {"out", "onto"} else ""
                return "leaves" if particle & {"away", "off", "out"} else ""
            if token.lemma in self.words.group("entering"):
                return "enters"
        return ""

    def is_faced(self, phrase: Phrase) -> bool:
        """Tell whether a phrase is whom a look or a word is meant for: "glares at Mia"."""
        before = self.tokens[phrase.start - 2].lemma if phrase.start > 1 else ""
        return phrase.governor == "at" and before in self.words.group("facing")

    def is_thought_of(self, phrase: Phrase) -> bool:
        """Tell whether a phrase is what somebody thinks or speaks of: "dreams of Tom", "remembers her"."""
        before = self.tokens[phrase.start - 2].lemma if phrase.start > 1 else ""
        of_it = phrase.governor in ("about", "of") and before in self.words.group("thinking")
        return of_it or self.lemma_before(phrase) in ("remember", "miss")

    def list_governor(self, i: int) -> str:
        """Return the word that governs a phrase, through a list: "with a book, a pen and a key"."""
        return self.phrases[self.list_lead(i)].governor

    def list_lead(self, i: int) -> int:
        """Return the first phrase of the list that a phrase stands in."""
        while i > 0 and self.phrases[i].governor in (",", "and"):
            previous = self.phrases[i - 1]
            if self.words.noun_class(previous.compound) in ANIMATE or previous.name or previous.pronoun:
                break
            between = self.between(previous, self.phrases[i])
            if not between or not all(word in (",", "and") for word in between):
                break
            i -= 1
        return i

    def between(self, left: Phrase, right: Phrase) -> list[str]:
        """Return the words between two phrases, in lower case."""
        return [token.lower for token in self.tokens[left.end : right.start]]
