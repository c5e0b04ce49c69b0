"""Who is who inside one prompt: mentions joined into referents, pronouns tied to what they stand for.

A `Referent` is one character or object of the prompt with everything the prompt says of it. What cannot be resolved
in the text alone ("She waves" as a beginning, "the two of them") is left as an `Open` reference for the analyst, who
knows the cast. Nothing here knows of global IDs.
"""

from __future__ import annotations

from functools import lru_cache

from memreel.agent.lexicon import Gender, lexicon
from memreel.agent.mention import NOTHING, Mention, Told
from memreel.agent.mentions import mentions_and_place
from memreel.agent.names import is_name, share_name
from memreel.agent.referents import Discourse, Open, Referent
from memreel.memory.records import Kind

SINGULAR: dict[str, Gender] = {
    "he": "male",
    "him": "male",
    "his": "male",
    "she": "female",
    "her": "female",
    "hers": "female",
}
PLURAL = ("they", "them")


@lru_cache(maxsize=256)
def read(text: str, story: Told = NOTHING) -> Discourse:
    """Return the referents and open references of a prompt. The result is shared: treat it as frozen.

    Args:
        text: one prompt.
        story: what earlier prompts told.
    """
    told, place = mentions_and_place(text, story)
    discourse = _Scene(story).tell(told)
    discourse.place = place
    return discourse


class _Scene:
    """Joins mentions one after the other."""

    def __init__(self, story: Told) -> None:
        self.words = lexicon()
        self.genders = dict(story.genders)
        self.nouns, self.called = story.nouns, story.characters
        self.referents: list[Referent] = []
        self.open: list[Open] = []
        self.of: dict[int, Referent | Open] = {}

    def tell(self, told: list[Mention]) -> Discourse:
        for mention in told:
            if mention.role == "pronoun":
                self._pronoun(mention)
            elif mention.role == "feature":
                self._feature(mention)
            else:
                owner = self.of.get(mention.owner.position) if mention.owner is not None else None
                if mention.pronoun:
                    whose = Mention(
                        "pronoun", mention.position, mention.sentence, pronoun=mention.pronoun, determines=True
                    )
                    whose.dummy = mention.dummy
                    owner = self._pronoun(whose)
                self._name_or_noun(mention, owner)
        nameless = any(not r.name and r.kind_of == "person" and not r.weak for r in self.referents)
        for referent in self.referents:  # else it may be the nameless one who calls
            referent.called_out = referent.called_out and not nameless and not self.open
        return Discourse(self.referents, self.open)

    # Names and nouns.

    def _name_or_noun(self, mention: Mention, owner: Referent | Open | None) -> None:
        found = None if mention.newcomer or mention.other else self._same(mention, owner)
        if found is None:
            kind: Kind = "character" if mention.role == "character" else "object"
            found = Referent(
                kind,
                mention.kind_of,
                name=mention.name,
                surface=mention.surface,
                plural=mention.plural,
                number=mention.number,
                first="definite" if mention.definite else "name" if mention.name else "indefinite",
                newcomer=mention.newcomer,
                other=mention.other,
                earliest=mention.first,
                arriving=mention.arriving,
                weak=mention.weak,
                possessed=bool(mention.pronoun) or mention.possessed,
                owner=owner,
                called_out=mention.called_out,
                position=mention.position,
            )
            self.referents.append(found)
            if found.name:
                found.known_as = frozenset(noun for name, noun in self.nouns if share_name(found.name, name))
                kinds = {self.words.noun_class(noun) for noun in found.known_as}
                if found.kind_of == "person" and kinds and kinds <= {"animal", "being"}:
                    found.kind_of = kinds.pop()
        found.weak = found.weak and mention.weak
        told = self._told_gender(mention) if found.first != "indefinite" and not mention.plural else None
        found.gender = found.gender or mention.gender or told
        found.last, found.sentence, found.subject = mention.position, mention.sentence, mention.subject
        found.clause = mention.clause
        if mention.name and (not found.name or len(mention.name) > len(found.name)):
            found.name = mention.name
        for description in mention.descriptions:
            if not any(_covers(known, description) for known in found.descriptions):
                found.descriptions.append(description)
        self._describe(found, mention.attrs)
        found.seen.append(mention.presence)
        self.of[mention.position] = found

    def _told_gender(self, mention: Mention) -> Gender | None:
        """Return the gender that earlier prompts gave to whom a mention's words stand for: "curator" of a museum."""
        if mention.name in self.genders:
            return self.genders[mention.name]
        told = {
            gender
            for called, gender in self.genders.items()
            for description in mention.descriptions
            if _covers(called, description)
        }
        return told.pop() if len(told) == 1 else None

    def _describe(self, referent: Referent, attrs: list[str]) -> None:
        """Sort what is said of a referent into adjectives and features (phrases that end in a noun worn or borne)."""
        for attr in attrs:
            words = attr.rsplit(" ", 1)
            last = words[-1]
            is_feature = (
                self.words.noun_class(last) in ("garment", "body")
                if attr not in self.words.listed["adjectives"]
                else False
            )
            is_feature = is_feature and (last in self.words.covers or len(words) > 1 or self.words.is_listed(last))
            place = referent.features if is_feature else referent.adjectives
            if attr not in place:
                place.append(attr)

    def _same(self, mention: Mention, owner: Referent | Open | None) -> Referent | None:
        """Return the referent that a mention repeats, the latest first, one of the same noun before a general one."""
        kind = "character" if mention.role == "character" else "object"
        known = sorted(
            (r for r in self.referents if r.kind == kind and r is not owner), key=lambda referent: -referent.last
        )
        if mention.name:
            return next((r for r in known if r.name and share_name(mention.name, r.name)), None)
        if not mention.definite or not mention.descriptions:
            return None
        called = mention.descriptions[0]
        possible = [
            r
            for r in known
            if r.plural == mention.plural
            and not (mention.gender and r.gender and mention.gender != r.gender)
            and not self._is_another_colour(mention.attrs, r)
            and not (mention.attrs and r.sentence == mention.sentence and {*r.attrs}.isdisjoint(mention.attrs))
        ]
        for referent in possible:
            if any(_covers(own, called) or _covers(called, own) for own in referent.descriptions):
                return referent
        if not self.words.is_generic(called):
            told = [r for r in possible if r.clause != mention.clause and self._is_known_as(r, called)]
            if not told and mention.described and called not in self.called:
                told = [r for r in possible if r.name and r.sentence != mention.sentence and not r.descriptions]
                told = told if len(told) == 1 and told[0].kind_of == mention.kind_of else []
            return told[0] if told else None
        if mention.attrs:
            return None
        for referent in possible:
            gender = referent.gender or self._guess(referent)
            fits = gender == mention.gender or (gender is None and len(possible) == 1)
            if referent.kind_of == mention.kind_of and referent.sentence != mention.sentence and fits:
                return referent
        return None

    def _is_known_as(self, referent: Referent, called: str) -> bool:
        """Tell whether earlier prompts call a referent so, or by a word for the same: "the dog", a terrier."""
        families = [family for family in self.words.words["same_thing"] if called in family]
        return any(
            _covers(noun, called) or any(noun.rsplit(" ", 1)[-1] in family for family in families)
            for noun in referent.known_as
        )

    def _is_another_colour(self, attrs: list[str], referent: Referent) -> bool:
        """Tell whether attributes give another colour for the same thing than the referent has."""
        mine = {
            attr.rsplit(" ", 1)[-1] if self._is_phrase(attr) else "": self.words.colour(attr.split()) for attr in attrs
        }
        for attr in (*referent.adjectives, *referent.features):
            place = attr.rsplit(" ", 1)[-1] if self._is_phrase(attr) else ""
            colour = self.words.colour(attr.split())
            if colour and mine.get(place) and mine[place] != colour:
                return True
        ages = {
            self.words.is_young(word)
            for word in (*attrs, *referent.adjectives)
            if self.words.listed["adjectives"].get(word) == "age"
        }
        if len(ages) > 1:
            return True
        if mine and not any(mine.values()):
            return False
        worn = {attr.rsplit(" ", 1)[-1] for attr in attrs if self._is_phrase(attr)}
        return bool(worn) and worn.isdisjoint(known.rsplit(" ", 1)[-1] for known in referent.features)

    def _is_phrase(self, attr: str) -> bool:
        return " " in attr and self.words.listed["adjectives"].get(attr.rsplit(" ", 1)[-1]) is None

    # Features and pronouns.

    def _feature(self, mention: Mention) -> None:
        target: Referent | Open | None = None
        if mention.owner is not None:
            target = self.of.get(mention.owner.position)
        elif mention.pronoun:
            owner = Mention("pronoun", mention.position, mention.sentence, pronoun=mention.pronoun, determines=True)
            owner.dummy, owner.human, owner.clause = mention.dummy, mention.human, mention.clause
            target = self._pronoun(owner)
        if isinstance(target, Referent):
            self._describe(target, mention.attrs)
            target.name = target.name or mention.name
            target.descriptions.extend(said for said in mention.descriptions if said not in target.descriptions)
        elif isinstance(target, Open) and target.number == 1:
            target.attrs.extend(attr for attr in mention.attrs if attr not in target.attrs)
            target.name = target.name or mention.name

    def _pronoun(self, mention: Mention) -> Referent | Open | None:
        pronoun = mention.pronoun
        target: Referent | Open | None = None
        if pronoun in SINGULAR:
            target = self._antecedent(SINGULAR[pronoun], mention)
            if target is None:
                target = self._open(mention, SINGULAR[pronoun], 1)
            elif isinstance(target, Referent):
                target.gender = SINGULAR[pronoun]
        elif pronoun in PLURAL:
            target = self._plural(mention)
        elif pronoun in ("it", "its"):
            things = [r for r in self.referents if r.kind == "object" or r.kind_of in ("animal", "being")]
            if mention.bound and pronoun == "it":
                things = [r for r in things if not (r.subject and r.sentence == mention.sentence)]
            if things:
                target = max(things, key=lambda referent: referent.last)
            elif not mention.dummy:
                target = self._open(mention, None, 1)
        if isinstance(target, Referent):
            target.last = mention.position
            if mention.subject:
                target.subject, target.sentence = True, mention.sentence
            self._describe(target, mention.attrs)
        elif isinstance(target, Open) and target.number == 1:
            target.attrs.extend(attr for attr in mention.attrs if attr not in target.attrs)
        if target is not None:
            if not mention.pronoun.startswith(("his", "her", "its")) or mention.presence:
                target.seen.append(mention.presence)
            self.of[mention.position] = target
        return target

    def _antecedent(self, gender: Gender, mention: Mention) -> Referent | Open | None:
        for waiting in self.open:
            if waiting.gender == gender and waiting.number == 1:
                return waiting
        people = [r for r in self.referents if r.kind == "character" and not r.plural and not r.weak]
        if mention.human:  # "a cat darts between her ankles"
            people = [r for r in people if r.kind_of != "animal" or r.name]
        if mention.bound:
            actors = [r for r in people if r.subject and r.sentence == mention.sentence]
            actors.sort(key=lambda actor: actor.last)
            people = [r for r in people if r not in actors[-1:]]
        sure = [r for r in people if r.gender == gender]
        if not sure:
            sure = [r for r in people if r.gender is None and self._guess(r) == gender]
        if not sure:
            unknown = [r for r in people if r.gender is None]
            sure = [r for r in unknown if self._guess(r) is None] or unknown  # a name is but a hint
            sure = [r for r in sure if r.kind_of == "person"] or sure
            if sure and self._is_told_elsewhere(gender) and not any(self._may_be(r, gender, mention) for r in sure):
                return None  # "Missy, a parrot, rides on his shoulder"
        if not sure:
            return None
        return max(sure, key=lambda referent: referent.last + (3 if referent.subject else 0))

    def _is_told_elsewhere(self, gender: Gender) -> bool:
        """Tell whether earlier prompts speak of somebody of a gender whom this one has not named so far."""
        here = {called for r in self.referents for called in (r.name, *r.descriptions)}
        return any(
            theirs == gender and called not in here and (is_name(called) or self.words.noun_class(called) == "person")
            for called, theirs in self.genders.items()
        )

    def _may_be(self, referent: Referent, gender: Gender, mention: Mention) -> bool:
        """Tell whether "he" or "she" may be somebody of no told gender, if there is another who surely may.

        Who acts in a clause is no object of it ("Bell holds an umbrella over her"), and need not be said again in the
        next ("A knight stands guard, and she bumps into him").
        """
        hint = self._guess(referent)
        if hint != gender and referent.subject and referent.sentence == mention.sentence and not mention.determines:
            again = mention.subject and referent.clause != mention.clause
            actors = [r for r in self.referents if r.subject and r.sentence == mention.sentence]
            if again or (not mention.subject and referent is max(actors, key=lambda actor: actor.last)):
                return False
        return hint == gender or (hint is None and (referent.kind_of == "person" or bool(referent.name)))

    def _guess(self, referent: Referent) -> Gender | None:
        return self.words.gender_of_name(referent.name) if referent.name else None

    def _plural(self, mention: Mention) -> Referent | Open | None:
        people = [r for r in self.referents if r.kind == "character" and not r.weak]
        wanted = mention.number or 2
        groups = [r for r in people if r.plural]
        if groups:
            return groups[-1]
        if len(people) + sum(waiting.number == 1 for waiting in self.open) >= wanted:
            return None
        if len(people) == 1 and mention.number is None and people[0].gender is None and not people[0].name:
            waiting = self._open(mention, None, wanted)
            waiting.perhaps = people[0]
            return waiting
        return self._open(mention, None, wanted)

    def _open(self, mention: Mention, gender: Gender | None, number: int) -> Open:
        for waiting in self.open:
            if waiting.gender == gender and waiting.number == number:
                return waiting
        found = Open(mention.position, mention.pronoun, gender, number, subject=mention.subject, clause=mention.clause)
        self.open.append(found)
        return found


def _covers(longer: str, shorter: str) -> bool:
    """Tell whether a compound is the other or ends in it: "food critic" covers "critic"."""
    return longer == shorter or longer.endswith(f" {shorter}")
