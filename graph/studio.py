"""The entry for ``langgraph dev``: `langgraph.json` names `graph` here.

The server calls the factory again for every request, so it must stay cheap; the server brings its own checkpointer.
"""

from __future__ import annotations

from functools import cache

from memreel.graph.assembly import Graph, build_graph


@cache
def graph() -> Graph:
    """Return the graph on the default preset; an assistant's context changes what it needs."""
    return build_graph()
