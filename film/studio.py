"""The film graph's entry for ``langgraph dev``: `langgraph.json` names `graph` here.

Built when the server imports this module; no model is loaded before a film begins. The server brings its checkpointer.
"""

from __future__ import annotations

from memreel.film.graph import build_film_graph

graph = build_film_graph()
"""The film graph on the default preset; an assistant's context changes what it needs."""
