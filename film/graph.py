"""The film graph: parse input → plan → review → generate segments ⇄ ensure consistency → merge → report.

Nodes are thin: they read the state, call one verb of the film's `Production`, return its update. Where a review is
asked for, the graph interrupts with the plan and its cost before anything is spent; it is resumed with ``True``, with
``False`` to stop, or with an edited plan.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer, interrupt

from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.film.plan import Plan, check_plan
from memreel.film.production import Production
from memreel.film.productions import close_production, open_production, production_of
from memreel.film.settings import FilmContext
from memreel.film.state import FilmInput, FilmState
from memreel.graph.binding import run_path

FilmGraph = CompiledStateGraph[FilmState, FilmContext, FilmInput, FilmState]
STEPS = 10**6


class Node(Protocol):
    """A node of the film graph: a plain function, since making clips computes and waits."""

    def __call__(self, state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
        """Do the node's work and return the state's update."""


def parse_input(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Check what was given and open the film's folder; nothing is planned, sent or spent yet."""
    return open_production(state, runtime.context, runtime.stream_writer)


def plan_scenes(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Make the plan, unless the user brought one; enter its characters and the reference pictures into the bank."""
    return _production(state, runtime).plan(state)


def review(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Ask a person where that is wanted; refuse what no clip model can do and what the budget does not allow."""
    production = _production(state, runtime)
    if runtime.context.review:
        answer = interrupt(production.offer(state))
        if isinstance(answer, dict) and answer:
            plan: Plan = check_plan(answer.get("plan", answer), "the edited plan")
            return production.replanned(state, plan)
        if not answer:
            return {"approved": False}
    production.require(state)
    return {"approved": True}


def generate_segments(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Make the takes that are due; where none is, read the next scenes first and see what can be made of them."""
    return _production(state, runtime).shoot(state)


def ensure_consistency(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Judge what was made: the bank takes in the pictures of what is good enough, the rest is due again."""
    return _production(state, runtime).judge(state)


def merge_film(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Join the chosen clips to one file."""
    return _production(state, runtime).merge(state)


def report(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
    """Write run.json, the bank and the report, and let go of the film's folder."""
    update = _production(state, runtime).report(state)
    close_production(run_path(runtime.context, state["film_id"]))
    return update


def after_review(state: FilmState) -> Literal["generate_segments", "review", "__end__"]:
    """Shoot an approved plan, look at an edited one again, end with one that was turned down."""
    if "approved" not in state or state["approved"] is None:
        return "review"
    return "generate_segments" if state["approved"] else "__end__"


def after_consistency(state: FilmState) -> Literal["generate_segments", "merge_film"]:
    """Go on until every scene has its shot."""
    return "merge_film" if len(state["shots"]) == len(state["plan"]["scenes"]) else "generate_segments"


NODES: dict[str, Node] = {
    "parse_input": parse_input,
    "plan_scenes": plan_scenes,
    "review": review,
    "generate_segments": generate_segments,
    "ensure_consistency": ensure_consistency,
    "merge_film": merge_film,
    "report": report,
}


def build_film_graph(
    config: RunConfig | str | None = None, checkpointer: Checkpointer = None, **compile_args: Any
) -> FilmGraph:
    """Build the film graph.

    Invoke it with ``{"idea": "...", "seconds": 45}``, a plan or prompts (see `FilmInput`) and, if wanted, a context
    (see `FilmContext`); stream it with ``stream_mode="custom"`` for the film's events.

    Args:
        config: what films are configured by unless their context says otherwise.
        checkpointer: LangGraph's; with one, a film can be reviewed, stepped and gone on with by thread.
        compile_args: passed on to LangGraph's ``compile``.

    Raises:
        UserError: the configuration is wrong.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    builder = StateGraph(FilmState, context_schema=FilmContext, input_schema=FilmInput)
    for name, node in NODES.items():
        builder.add_node(name, _bound(node, settings))
    builder.add_edge(START, "parse_input")
    builder.add_edge("parse_input", "plan_scenes")
    builder.add_edge("plan_scenes", "review")
    builder.add_conditional_edges("review", after_review)
    builder.add_edge("generate_segments", "ensure_consistency")
    builder.add_conditional_edges("ensure_consistency", after_consistency)
    builder.add_edge("merge_film", "report")
    builder.add_edge("report", END)
    graph = builder.compile(checkpointer=checkpointer, name="film", **compile_args)
    return graph.with_config(recursion_limit=STEPS)


def _bound(node: Node, config: RunConfig) -> Node:
    """Return ``node`` with its context completed."""

    @functools.wraps(node)
    def bound(state: FilmState, runtime: Runtime[FilmContext]) -> FilmState:
        context = FilmContext.model_validate(runtime.context or {})
        if context.config is None and not context.preset:
            context = context.model_copy(update={"config": config})
        return node(state, runtime.override(context=context))

    return bound


def _production(state: FilmState, runtime: Runtime[FilmContext]) -> Production:
    if "film_id" not in state:
        raise UserError("the film has no folder yet; start it with an idea, prompts or a plan")
    return production_of(state, runtime.context, runtime.stream_writer)
