"""Puts a story's schedule into words, in the manner of real scripts: described once, then named.

The first mention states how somebody looks; later ones use the name, a role, a partial description or, where nobody
else could be meant, a pronoun. `enrich_clause` writes the clauses in the form of `memreel.agent.enrich`.
"""

from __future__ import annotations

from random import Random

from memreel.world import palette
from memreel.world.stories import Being, Exit, Scene, Spot, Story

VERBS: dict[str, tuple[str, ...]] = {
    "stand": ("stands", "waits", "stands quietly", "looks around", "smiles", "is standing", "pauses to think", "rests"),
    "wave": ("waves", "waves hello", "raises a hand and waves", "greets everyone with a wave", "is waving"),
    "jump": ("jumps up and down", "jumps for joy", "hops happily", "is jumping"),
    "talk": ("talks", "is talking", "tells a story", "speaks and laughs", "chats cheerfully"),
    "dance": ("dances", "is dancing", "sways to the music", "starts to dance"),
}
PLURAL: dict[str, tuple[str, ...]] = {
    "stand": ("stand side by side", "wait together", "stand together", "look at each other", "are standing"),
    "wave": ("wave", "wave hello", "are waving"),
    "jump": ("jump up and down", "jump for joy", "are jumping"),
    "talk": ("talk", "are talking", "chat with each other", "talk and laugh"),
    "dance": ("dance", "are dancing", "dance together"),
}
ARRIVES = (
    "walks in from the {side}",
    "enters from the {side}",
    "arrives from the {side}",
    "walks in",
    "enters",
    "comes in",
)
RETURNS = ("returns from the {side}", "comes back", "returns", "is back, walking in from the {side}", "walks back in")
LEAVES = (
    "walks away to the {side}",
    "leaves",
    "walks out",
    "leaves to the {side}",
    "says goodbye and walks off",
    "exits",
)
CARRIES = ("holding", "carrying", "with", "holding")
LIES = (
    "{A} is on the ground",
    "{A} lies on the ground",
    "on the ground is {a}",
    "there is {a}",
    "{A} stands on the floor",
)


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def attributes(being: Being) -> list[str]:
    """Return the visual attributes as short noun phrases, as an agent would extract them."""
    return list(being.words.values())


def head(being: Being) -> str:
    """Return what an enrichment clause calls the being: its name, role or bare noun."""
    if being.name:
        return being.name
    return (being.role or (being.noun if being.look.kind in palette.PEOPLE else being.noun.split()[-1])).capitalize()


def enrich_clause(being: Being) -> str:
    """Return ``Name: attribute, attribute.``, the form in which known attributes are put back into a prompt."""
    return f"{head(being)}: {', '.join(attributes(being))}."


def _dress(random: Random, being: Being) -> str:
    words = being.words
    hat = words.get("hat")
    style = random.randrange(5)
    if style == 0:
        return f"with {words['hair']} and {_article(words['top'])}" + (f", wearing {_article(hat)}" if hat else "")
    if style == 1:
        return f"with {words['hair']}, wearing {_article(words['top'])}" + (f" and {_article(hat)}" if hat else "")
    if style == 2:
        return f"in {_article(words['top'])}" + (f" and {_article(hat)}" if hat else "") + f", with {words['hair']}"
    if style == 3:
        parts = [words["hair"], _article(words["top"])] + ([_article(hat)] if hat else [])
        return "with " + (", ".join(parts[:-1]) + " and " + parts[-1])
    return f"wearing {_article(words['top'])}" + (f" and {_article(hat)}" if hat else "") + f" over {words['hair']}"


def describe(random: Random, being: Being) -> str:
    """Return a first mention that states the whole look."""
    if being.look.kind in palette.PEOPLE:
        noun, dress = being.noun, _dress(random, being)
        if being.name and being.role:
            return f"{being.name}, a {being.role}, {_article(noun)} {dress},"
        if being.name:
            if random.random() < 0.6:
                return f"{being.name}, {_article(noun)} {dress},"
            return f"{_article(noun)} named {being.name} {dress}"
        if being.role:
            return random.choice(
                (
                    f"{_article(being.role)}, {_article(noun)} {dress},",
                    f"{_article(being.look.kind + ' ' + being.role)} {dress}",
                )
            )
        return f"{_article(noun)} {dress}"
    phrase = f"{being.words['colour']} {being.noun}"
    if being.noun.split()[0] in ("small", "fluffy", "curious", "friendly"):
        size, noun = being.noun.split(" ", 1)
        phrase = f"{size} {being.words['colour']} {noun}"
    if being.name:
        return random.choice((f"{being.name}, {_article(phrase)},", f"{_article(phrase)} named {being.name}"))
    return _article(phrase)


def refer(being: Being) -> str:
    """Return a later mention that leaves the look to memory."""
    if being.name:
        return being.name
    if being.role:
        return f"the {being.role}"
    return f"the {being.noun.split()[-1] if being.look.kind not in palette.PEOPLE else being.noun}"


def hint(random: Random, being: Being) -> str:
    """Return a later mention by part of the look."""
    if being.look.kind in palette.PEOPLE:
        return f"the {being.noun} " + random.choice((f"in the {being.words['top']}", f"with the {being.words['hair']}"))
    return f"the {being.words['colour']} {being.noun.split()[-1]}"


class _Teller:
    def __init__(self, random: Random, story: Story) -> None:
        self.random, self.story = random, story
        self.met: set[int] = set()

    def mention(self, scene: Scene, key: int, pronoun_ok: bool) -> str:
        being, random = self.story.beings[key], self.random
        first = key not in self.met
        self.met.add(key)
        roll = random.random()
        if first:
            scene.mentions[key] = True
            return describe(random, being)
        scene.mentions[key] = False
        if pronoun_ok and roll < 0.12 and being.look.kind in palette.PEOPLE:
            return "she" if being.look.kind == "woman" else "he"
        if roll < 0.84:
            return refer(being)
        if roll < 0.92 and not being.name:
            return hint(random, being)
        if roll < 0.94:
            return refer(being)
        scene.mentions[key] = True
        return describe(random, being)

    def spot(self, scene: Scene, spot: Spot, known: set[int], pronoun_ok: bool) -> str:
        random, being = self.random, self.story.beings[spot.key]
        who = self.mention(scene, spot.key, pronoun_ok)
        if being.is_object:
            return random.choice(LIES).format(A=who, a=who)
        carried = ""
        if spot.holds is not None:
            carried = f"{random.choice(CARRIES)} {self.mention(scene, spot.holds, False)}"
        if spot.enters:
            verb = random.choice(RETURNS if spot.key in known else ARRIVES).format(side=spot.enters)
            if spot.action != "stand":
                verb += " and " + random.choice(VERBS[spot.action])
        else:
            verb = random.choice(VERBS[spot.action])
        return f"{who} {verb}" + (f", {carried}" if carried else "")

    def leave(self, exit_: Exit) -> str:
        self.met.add(exit_.key)
        who = refer(self.story.beings[exit_.key])
        return f"{who} {self.random.choice(LEAVES).format(side=exit_.side)}"

    def scene(self, scene: Scene, before: Scene | None) -> None:
        random = self.random
        known = set(self.met)
        alone = len(scene.spots) == 1 and before is not None and [s.key for s in before.spots] == [scene.spots[0].key]
        clauses: list[str] = []
        spots = list(scene.spots)
        while spots:
            first = spots.pop(0)
            pair = spots[0] if spots else None
            if (
                pair is not None
                and {first.key, pair.key} <= known
                and first.action == pair.action
                and not (first.enters or pair.enters or first.holds is not None or pair.holds is not None)
                and not (self.story.beings[first.key].is_object or self.story.beings[pair.key].is_object)
                and random.random() < 0.8
            ):
                spots.pop(0)
                names = [self.mention(scene, k, False) for k in (first.key, pair.key)]
                clauses.append(
                    f"{names[0].rstrip(',')} and {names[1].rstrip(',')} {random.choice(PLURAL[first.action])}"
                )
            else:
                clauses.append(self.spot(scene, first, known, alone))
        where = self._where(scene, before)
        if random.random() < 0.5:
            clauses[0] = f"{where}, {clauses[0]}"
        else:
            clauses[0] = f"{clauses[0]} {where}"
        told = [self.leave(e) for e in scene.exits if e.told]
        sentences = self._join(clauses)
        sentences = told + sentences if random.random() < 0.5 else sentences + told
        if random.random() < 0.45:
            sentences.insert(random.choice((0, len(sentences))), random.choice(palette.PLACE_DETAILS[scene.place]))
        text = " ".join(s[0].upper() + s[1:].rstrip(",") + ("" if s.endswith(".") else ".") for s in sentences)
        scene.text = text.replace(",,", ",").replace(" ,", ",")
        hidden = [self.story.beings[k] for k, described in scene.mentions.items() if not described]
        hidden += [self.story.beings[e.key] for e in scene.exits if e.told and random.random() < 0.6]
        scene.enriched = " ".join([scene.text, *(enrich_clause(b) for b in hidden)])

    def _where(self, scene: Scene, before: Scene | None) -> str:
        words = palette.PLACE_WORDS[scene.place]
        word = self.random.choice(words)
        preposition = palette.PLACE_PREPOSITION[scene.place]
        article = "the" if before is not None and self.random.random() < 0.5 else self.random.choice(("a", "the"))
        return f"{preposition} {_article(word) if article == 'a' else 'the ' + word}"

    def _join(self, clauses: list[str]) -> list[str]:
        out = [clauses[0]]
        for clause in clauses[1:]:
            if self.random.random() < 0.4 and len(out[-1]) < 110:
                out[-1] += self.random.choice((", and ", " while ", ". ")).replace(". ", ", and ") + clause
            else:
                out.append(
                    self.random.choice(("", "", "next to them, ", "beside them, ")) + clause
                    if self.random.random() < 0.4
                    else clause
                )
        return out


def tell(random: Random, story: Story) -> None:
    """Give every scene of a story its text, its enriched text and the record of who is described in it."""
    teller = _Teller(random, story)
    before: Scene | None = None
    for scene in story.scenes:
        teller.scene(scene, before)
        before = scene
