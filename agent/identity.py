"""Who of the cast a referent surely is: what its own words decide.

A name decides; so does a description that fits. "The pilot" and "her sister" may be somebody of whom only a name and
deeds were told, and a new name somebody who had none: that is for `antecedents`. Pronouns and groups are the analyst's.
"""

from __future__ import annotations

from memreel.agent.antecedents import disagree
from memreel.agent.known import Known
from memreel.agent.lexicon import lexicon
from memreel.agent.matching import GOOD_ENOUGH, fit
from memreel.agent.names import is_short_for
from memreel.agent.referents import Referent


def decide(referent: Referent, cast: list[Known], taken: set[int]) -> int | None:
    """Return the cast member that a referent surely is, if there is one.

    A name decides. So does a definite description that fits; an indefinite one ("a man") is somebody known only if it
    repeats a noun that is not just anybody's, and does not arrive just now.
    """
    if referent.newcomer:
        return None
    mine = referent.profile
    scored = sorted(
        ((fit(mine, known.profile), known.last, known) for known in cast if known.global_id not in taken),
        key=lambda item: (item[0], item[1]),
        reverse=True,
    )
    if referent.other and sum(score >= GOOD_ENOUGH for score, *_ in scored) > 1:
        here = any(fit(mine, known.profile) >= GOOD_ENOUGH for known in cast if known.global_id in taken)
        if not here:  # "the other woman" is not the one spoken of last
            scored.remove(max((item for item in scored if item[0] >= GOOD_ENOUGH), key=lambda item: item[1]))
    if referent.earliest:
        scored.sort(key=lambda item: (item[0] < GOOD_ENOUGH, item[2].global_id))
    if not scored:
        return None
    best, _, known = scored[0]
    if referent.name and best < 2.0 and referent.first != "definite":
        # A new name is somebody new, unless "Mia, the woman in the red coat" says who, or it is short for one known.
        return _by_short_name(referent, [known for _, _, known in scored])
    if best < GOOD_ENOUGH:
        return None
    if referent.first == "indefinite" and not referent.weak and (best < 1.0 or _is_anybody(referent, known)):
        return None
    return known.global_id


def _by_short_name(referent: Referent, known: list[Known]) -> int | None:
    """Return whom a bare new name is short for ("Bea" for Beatriz), if that can be one member only."""
    if referent.attrs or referent.plural or referent.possessed:
        return None
    possible = [one for one in known if any(is_short_for(referent.name, name) for name in one.profile.names)]
    agreeing = [one for one in possible if not disagree(referent, one)]
    return agreeing[0].global_id if len(agreeing) == 1 else None


def _is_anybody(referent: Referent, known: Known) -> bool:
    """Tell whether an indefinite phrase introduces somebody: "a man enters", a general noun, a named member."""
    words = lexicon()
    if known.profile.names or referent.arriving:
        return True
    return words.is_generic(referent.entity) and not (referent.features or referent.adjectives)
