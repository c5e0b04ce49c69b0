"""What a film starts from, checked: an idea, a script or a plan, its length, its reference pictures.

Everything here is refused before a folder is made, a model is asked or money is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from memreel.errors import StoreError, UserError
from memreel.film.plan import check_plan, require_seconds
from memreel.film.state import FilmState
from memreel.model.protocol import Pictures
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder
from memreel.script import check_prompts, slug

SECONDS = 45.0
LONGEST_IDEA = 20_000
MOST_PICTURES = 12
LONGEST_SIDE = 1536
KINDS = {"PNG", "JPEG", "WEBP"}


def check_input(state: FilmState) -> FilmState:
    """Return a film's input with its defaults, if it can be worked with.

    Raises:
        UserError: nothing or several things to film, an impossible length, a picture that is none, a bad folder name.
    """
    given = [name for name in ("idea", "prompts", "plan") if state.get(name) is not None]
    if len(given) != 1:
        has = " and ".join(given) or "nothing"
        raise UserError(f"give an idea, a script's prompts or a plan, one of them, not {has}")
    checked: FilmState = {"refs": [str(path) for path in given_pictures(state.get("refs") or [])]}
    seconds = state.get("seconds")
    if seconds is not None:
        require_seconds(seconds)
    if "plan" in given:
        plan = check_plan(state["plan"], "plan")
        checked["plan"] = plan.model_dump(mode="json")
        title = plan.title
    elif "prompts" in given:
        checked["prompts"] = list(check_prompts(state["prompts"], "script"))
        checked["seconds"] = seconds
        title = checked["prompts"][0]
    else:
        idea = state["idea"].strip() if isinstance(state["idea"], str) else ""
        if not any(character.isalnum() for character in idea):
            raise UserError("the idea is empty; say in a sentence or more what the film shows")
        if len(idea) > LONGEST_IDEA:
            raise UserError(f"the idea has {len(idea)} characters; {LONGEST_IDEA} at most, or give a script")
        checked |= {"idea": idea, "seconds": SECONDS if seconds is None else seconds}
        title = idea
    film_id = state.get("film_id") or film_name(title)
    if not isinstance(film_id, str) or film_id != slug(film_id):
        raise UserError(f"film_id {film_id!r} does not do as a folder name; use '{slug(str(film_id))}'")
    return {**checked, "film_id": film_id}


def film_name(title: str) -> str:
    """Return a folder's name for a film: the title's first words."""
    return slug("-".join(title.lower().split()[:6]))[:40].rstrip("-.,") or "film"


def given_pictures(refs: Sequence[str]) -> list[Path]:
    """Return the reference pictures' paths, each looked into.

    Raises:
        UserError: a file is missing or is no picture, or there are too many.
    """
    if len(refs) > MOST_PICTURES:
        raise UserError(f"--refs: {len(refs)} pictures; {MOST_PICTURES} at most")
    paths = [Path(ref).expanduser().absolute() for ref in refs]
    for path in paths:
        if not path.is_file():
            raise UserError(f"--refs {path}: no such file")
        try:
            with Image.open(path) as image:
                if image.format not in KINDS:
                    raise UserError(f"--refs {path}: a {image.format} picture; save it as PNG, JPEG or WebP")
                image.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise UserError(f"--refs {path}: not a picture, or a damaged one; save it as PNG, JPEG or WebP") from None
    return paths


def read_picture(path: Path) -> Pictures:
    """Return a reference picture, at most `LONGEST_SIDE` pixels long, upright.

    Raises:
        StoreError: it has vanished since it was checked.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise StoreError(f"cannot read the picture {path}: {error}") from error
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(upright)


def same_film(state: FilmState) -> dict[str, Any]:
    """Return what a film is made from, for its log: a film is gone on with only with the same."""
    return {key: state[key] for key in ("idea", "prompts", "plan", "seconds", "refs") if key in state}


def begun(folder: RunFolder) -> Event | None:
    """Return the event with which a film in ``folder`` began, or ``None``."""
    first = next(folder.read_events(), None) if folder.exists() else None
    return first if first is not None and "film" in first else None
