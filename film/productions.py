"""The films that this process has under way, by their folder; no other process can have them meanwhile.

A film begins with `open_production`; `production_of` finds it again for any later state, opening it from its folder if
need be. What a production does is not known here.
"""

from __future__ import annotations

import threading
from pathlib import Path

from memreel.errors import MemreelError, StoreError
from memreel.film.inputs import check_input, same_film
from memreel.film.production import Production, Write
from memreel.film.settings import FilmContext
from memreel.film.state import FilmState
from memreel.graph.binding import run_path
from memreel.output.run_folder import RunFolder

_open: dict[Path, Production] = {}
_lock = threading.Lock()


def open_production(state: FilmState, context: FilmContext, write: Write) -> FilmState:
    """Check a film's input, open its folder and the production in it; return the state's beginning.

    What a film that lay there cost stays in the ledger and counts against the budget.

    Raises:
        UserError: something about the input or the configuration is wrong; nothing was spent.
    """
    beginning = check_input(state)
    path = run_path(context, beginning["film_id"])
    close_production(path)
    config = context.run_config()
    folder = RunFolder(path)
    folder.require_free()
    production = Production(folder, config, context)
    try:
        if not (folder.exists() and folder.events.stat().st_size == 0):  # else made for it, checkpoints open in it
            RunFolder.create(path)
        before = production.ledger.begin_anew()
    except MemreelError:
        production.close()
        raise
    production.write = write
    with _lock:
        _open[path] = production
    production.emit(
        {"type": "run", "video_id": beginning["film_id"], "film": same_film(beginning), "prompts": []}
        | {"model": production.clips.name, "reader": production.reader.name, "eye": production.eye.name}
        | {"seed": config.seed, "config": config.model_dump(mode="json"), "budget": context.budget}
    )
    if before:
        production.emit({"type": "spent_before", "usd": before, "budget_usd": context.budget})
    return {**beginning, "logged": production.logged}


def production_of(state: FilmState, context: FilmContext, write: Write) -> Production:
    """Return this process's production of a film, opened again from its folder if need be.

    Raises:
        UserError: another process makes the film.
        StoreError: its folder is gone.
    """
    path = run_path(context, state["film_id"])
    with _lock:
        production = _open.get(path)
    if production is None:
        folder = RunFolder(path)
        if not folder.exists():
            raise StoreError(f"{path}: the film's folder is gone; start the film anew")
        production = Production(folder, context.run_config(), context)
        folder.reopen()
        folder.keep_events(state["logged"])
        production.logged = state["logged"]
        with _lock:
            _open[path] = production
    production.write = write
    return production


def close_production(path: Path) -> None:
    """Let go of the film in a folder, if this process has one open there."""
    with _lock:
        production = _open.pop(path, None)
    if production is not None:
        production.close()
