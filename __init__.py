"""memreel: long videos whose people and things stay themselves.

The public face; everything is imported when it is first used, so that importing memreel costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memreel.configs.schema import RunConfig
    from memreel.errors import MemreelError, ModelError, StoreError, UserError
    from memreel.graph.assembly import as_node, build_graph
    from memreel.graph.context import RunContext
    from memreel.graph.render import GeneratedChunk, generate
    from memreel.graph.stream import LiveStream
    from memreel.tools.toolset import toolset as tools

__all__ = [
    "GeneratedChunk",
    "LiveStream",
    "MemreelError",
    "ModelError",
    "RunConfig",
    "RunContext",
    "StoreError",
    "UserError",
    "as_node",
    "build_graph",
    "generate",
    "tools",
]

_HOME = {
    "GeneratedChunk": "memreel.graph.render",
    "LiveStream": "memreel.graph.stream",
    "MemreelError": "memreel.errors",
    "ModelError": "memreel.errors",
    "RunConfig": "memreel.configs.schema",
    "RunContext": "memreel.graph.context",
    "StoreError": "memreel.errors",
    "UserError": "memreel.errors",
    "as_node": "memreel.graph.assembly",
    "build_graph": "memreel.graph.assembly",
    "generate": "memreel.graph.render",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name == "tools":
        return import_module("memreel.tools")  # a module that can be called
    if name not in _HOME:
        raise AttributeError(f"module 'memreel' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
