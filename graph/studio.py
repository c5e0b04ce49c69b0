"""The entry for ``langgraph dev``: `langgraph.json` names what is here, and describes it.

Built when the server imports this module, because building reads the preset's file, and the server suffers no file
access while it answers requests. The server brings its own checkpointer; no model is loaded before a run.
"""

from __future__ import annotations

from memreel.graph.assembly import build_graph
from memreel.graph.reading import build_reading_graph

graph = build_graph()
"""The graph on the default preset; an assistant's context changes what it needs."""

reading = build_reading_graph()
"""Reads a script without rendering it."""
