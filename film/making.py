"""Plain Python over the film graph: an idea goes in, events come out while the film is made.

`make_film` drives one film and keeps its checkpoints in the film's folder; an unfinished film is gone on with, by
another process too. `plan_film` makes the plan alone and leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from memreel.errors import StoreError, UserError
from memreel.film.clips.ledger import Books
from memreel.film.graph import FilmGraph, build_film_graph
from memreel.film.inputs import begun, check_input, same_film
from memreel.film.models import clip_model
from memreel.film.plan import Plan, check_plan
from memreel.film.productions import close_production
from memreel.film.settings import FilmContext
from memreel.film.state import FilmInput, FilmState
from memreel.graph.binding import run_path
from memreel.graph.same import differences
from memreel.output.run_folder import RunFolder

Event = dict[str, Any]
Review = Callable[[dict[str, Any]], bool | dict[str, Any]]
"""Sees plan, routes and cost; returns whether to go on, or an edited plan."""


def make_film(
    given: FilmInput, context: FilmContext, *, resume: bool = False, review: Review | None = None
) -> Iterator[Event]:
    """Make one film in ``context.out/<film id>``, yielding every event as it happens; the last is ``done``.

    Args:
        given: an idea, a script's prompts or a plan.
        context: where, with what, within which budget; with ``context.review`` nothing is spent before ``review`` said
            yes.
        resume: go on with an unfinished film of the same; otherwise what lies in the folder is replaced.
        review: asked when ``context.review`` is set; its no ends the film with ``done`` and status ``declined``.

    Raises:
        UserError: the input or the configuration is wrong, the film cannot be made or paid for, another process makes
            it, or the film to go on with was made from something else.
        ModelError: a model failed, after its retries and failovers.
        StoreError: the disk failed, or the film to go on with is damaged.
    """
    beginning = check_input({**given})  # type: ignore[typeddict-item]
    folder = RunFolder(run_path(context, beginning["film_id"]))
    going_on = resume and _same(folder, beginning, context)
    if not going_on:
        clip_model(context.model, context.run_config(), Books(context.budget))  # a wrong name leaves no folder behind
        close_production(folder.path)
        RunFolder.create(folder.path)
    thread: RunnableConfig = {"configurable": {"thread_id": beginning["film_id"]}}
    try:
        with SqliteSaver.from_conn_string(str(folder.checkpoints)) as saver:
            graph = build_film_graph(context.run_config(), saver)
            going_on = going_on and bool(graph.get_state(thread).values.get("logged"))
            start: Any = None if going_on else {**given, "film_id": beginning["film_id"]}
            yield from _driven(graph, start, thread, context, review)
    except sqlite3.Error as error:
        raise StoreError(f"{folder.checkpoints}: {error}") from error
    finally:
        close_production(folder.path)


def plan_film(given: FilmInput, context: FilmContext) -> tuple[Plan, dict[str, Any], list[str]]:
    """Plan a film; return the plan, the offer (routes and cost) and the planner's notes. Nothing is sent or kept.

    Raises:
        UserError: the input or the configuration is wrong, or a scene is none that the clip model can make.
    """
    with tempfile.TemporaryDirectory(prefix="memreel-plan-") as folder:
        there = context.model_copy(update={"out": folder, "review": True})
        thread: RunnableConfig = {"configurable": {"thread_id": "plan"}}
        graph = build_film_graph(context.run_config(), InMemorySaver())
        notes: list[str] = []
        try:
            for event in graph.stream({**given, "film_id": "plan"}, thread, context=there, stream_mode="custom"):
                if event["type"] == "plan":
                    notes = [f"planned by {event['by']}", *event["notes"]]
            offer: dict[str, Any] = graph.get_state(thread).interrupts[0].value
        finally:
            close_production(Path(folder) / "plan")
    return check_plan(offer["plan"], "plan"), offer, notes


def _driven(
    graph: FilmGraph, start: Any, thread: RunnableConfig, context: FilmContext, review: Review | None
) -> Iterator[Event]:
    while True:
        stream = graph.stream(start, thread, context=context, stream_mode="custom", durability="sync")
        with closing(stream) as events:  # type: ignore[type-var]
            yield from events
        waiting = graph.get_state(thread).interrupts
        if not waiting:
            return
        answer = review(waiting[0].value) if review is not None else False
        if answer is False:
            yield {"type": "done", "status": "declined"}
            return
        start = Command(resume=answer)


def _same(folder: RunFolder, beginning: FilmState, context: FilmContext) -> bool:
    """Tell whether there is an unfinished film in ``folder`` to go on with.

    Raises:
        UserError: it was made from something else, or is finished.
    """
    made = begun(folder)
    if made is None:
        return False
    if folder.finished():
        raise UserError(f"{folder.path} already holds a finished film; choose another --out, or --force to replace it")
    now = same_film(beginning)
    for key in sorted({*made["film"], *now}):
        if made["film"].get(key) != now.get(key):
            raise UserError(
                f"{folder.path} holds an unfinished film of another {key}: go on with the same, choose another --out, "
                "or --force to start over"
            )
    differs = next(differences(made, context.run_config()), None)
    if differs is not None:
        raise UserError(f"{folder.path} holds an unfinished film {differs}: go on with the same, or --force")
    return True
