"""memreel's services as LangChain tools, for the director and for any other agent.

``memreel.tools(...)`` is short for `memreel.tools.toolset.toolset`: this module can be called, because a package and a
function cannot share the name otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from memreel.configs.schema import RunConfig


class _Tools(ModuleType):
    """This module's type: calling the module makes a set of tools."""

    def __call__(
        self, config: RunConfig | str | None = None, *, out: str | Path = "runs", video_id: str = "video"
    ) -> list[BaseTool]:
        """Return tools that make one video together; see `memreel.tools.toolset.toolset`."""
        from memreel.tools.toolset import toolset

        return toolset(config, out=out, video_id=video_id)


sys.modules[__name__].__class__ = _Tools
