"""The tools an LLM sees: names, schemas, descriptions, and errors as messages it can react to.

Each tool is a thin function over a `Reel`. What a tool returns is small JSON: ids, texts, scores and paths, never
tensors or pictures.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import Field

from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.errors import MemreelError, StoreError, UserError
from memreel.memory.records import Frame
from memreel.script import slug
from memreel.tools.reel import Reel

P = ParamSpec("P")
R = TypeVar("R")

Prompt = Annotated[str, Field(description="What happens, in one to three sentences; people by name once introduced.")]
NextPrompt = Annotated[
    str | None,
    Field(description="What happens next, in one to three sentences; leave out to go on with the current prompt."),
]
Chunks = Annotated[int, Field(ge=1, le=64, description="How many chunks to generate, 0.75 seconds each; 13 are 10 s.")]
Memory = Annotated[
    list[str] | None,
    Field(description="Ids of the memory frames that the next chunk attends to instead of those chosen by the bank."),
]
Kept = Annotated[int, Field(ge=0, description="How many chunks of the video to keep, from its beginning; 0: none.")]
GlobalId = Annotated[int, Field(ge=1, description="The global ID under which the current prompt has it.")]
Really = Annotated[
    int | None, Field(description="The global ID of the cast member that it really is; leave out if it is a new one.")
]
FrameId = Annotated[str, Field(description="A memory frame's id, such as p1_c3_f0.")]
Picture = Annotated[
    bool, Field(description="Also return the picture itself (PNG), for a model that can look at pictures.")
]
Phrases = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1, max_length=32, description="What to look for: 'Mia, red hair, blue sweater', 'red notebook'."),
]
GlobalIds = Annotated[list[int], Field(min_length=1, max_length=32, description="Global IDs, as in describe_cast.")]
Query = Annotated[str, Field(description="A description, a name or a situation.")]
Limit = Annotated[int, Field(ge=1, le=20, description="How many of each to return at most.")]


def toolset(
    config: RunConfig | str | None = None, *, out: str | Path = "runs", video_id: str = "video"
) -> list[BaseTool]:
    """Return the tools with which an agent makes a video: all of them share one cast, one memory and one stream.

    Nothing is loaded or written before the first call. After `finish_video` the next call begins another video, in a
    folder of its own.

    Args:
        config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset.
        out: folder in which the run folder is made.
        video_id: name of the run folder; a number is added where it is taken.

    Raises:
        UserError: the configuration is wrong, or ``video_id`` does not do as a folder name.
    """
    if video_id != slug(video_id):
        raise UserError(f"video_id '{video_id}' does not do as a folder name; use '{slug(video_id)}'")
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
    return tools_over(Reel(settings, out, video_id))


def tools_over(reel: Reel) -> list[BaseTool]:
    """Return the tools with which an agent makes the video of ``reel``; one more if that has a script."""

    def generate_chunk(prompt: NextPrompt = None, chunks: Chunks = 1, memory: Memory = None) -> dict[str, Any]:
        """Generate the next chunks of the video.

        With a prompt, the story moves on: its people and things are matched with the cast, their memory frames are
        recalled, and the new chunks show it. Without one, the current prompt goes on. Returns who is in the scene, and
        for each chunk which chunk left the attention window, which of its frames was kept, and which were attended to.
        """
        return reel.generate(prompt, chunks, memory)

    def score_evicted_chunk(phrases: Phrases) -> dict[str, Any]:
        """Score how visible people or things are in the chunk that last left the attention window.

        Returns a score from 0 to 1 for each of its frames and each phrase, by the video model's own cross-attention.
        """
        return reel.score_evicted(phrases)

    def match_entities(prompt: Prompt) -> list[dict[str, Any]]:
        """Say which people and things a prompt speaks of, and under which global IDs the cast knows them.

        Nothing is changed: use it to check a prompt before generating. An entity that is not 'known' would be new.
        """
        return reel.match(prompt)

    def recall_memory(global_ids: GlobalIds) -> list[Frame]:
        """Return the memory frames that show these cast members best, as a new prompt with them would start with."""
        return reel.recall(global_ids)

    def search_memory(query: Query, limit: Limit = 5) -> dict[str, Any]:
        """Search the video so far by meaning: the cast members and the earlier prompts nearest to a query."""
        return reel.search(query, limit)

    def describe_cast() -> list[dict[str, Any]]:
        """List everyone and everything that has appeared: global ID, name, attributes, prompts, memory frames."""
        return reel.cast()

    def show_frame(frame_id: FrameId, picture: Picture = False) -> Any:
        """Show a memory frame: who is in it with which scores, its prompt, where its picture lies; or the picture too.

        Use it to check that a frame shows whom it should before choosing it as memory.
        """
        frame = reel.frame(frame_id)
        return [text_block(frame), picture_block(frame["picture"])] if picture else frame

    def rewind(chunks: Kept) -> dict[str, Any]:
        """Go back in the video: keep its first chunks and forget the rest, cast and memory included.

        Then generate again, under the same prompt, another wording of it, or other memory frames. Returns where the
        video stands then.
        """
        return reel.rewind(chunks)

    def correct_identity(global_id: GlobalId, really: Really = None) -> dict[str, Any]:
        """Correct who somebody is: give an entity of the current prompt the global ID of another cast member.

        Use it where two people or things were taken for one, or one for two. The prompt's memory frames and its text
        are then made anew for the next chunk; chunks that are already made stay as they are.
        """
        return reel.correct(global_id, really)

    def finish_video() -> dict[str, Any]:
        """Complete the video file and its report, and return their paths; the next call begins another video."""
        return reel.finish()

    def next_prompt() -> dict[str, Any]:
        """Move on to the script's next prompt, as it is written there; nothing is rendered yet.

        Returns who is in it by global ID, the enriched text and the memory frames chosen: check them, then call
        generate_chunk without a prompt.
        """
        return reel.next_prompt()

    return [
        _tool(function)
        for function in (
            *((next_prompt,) if reel.has_script else ()),
            generate_chunk,
            score_evicted_chunk,
            match_entities,
            recall_memory,
            search_memory,
            describe_cast,
            show_frame,
            rewind,
            correct_identity,
            finish_video,
        )
    ]


def text_block(value: Any) -> dict[str, Any]:
    """Return a value as a content block that any chat model reads."""
    return {"type": "text", "text": json.dumps(value, ensure_ascii=False)}


def picture_block(path: str) -> dict[str, Any]:
    """Return a PNG file as a content block for a chat model that sees.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        content = base64.b64encode(Path(path).read_bytes()).decode()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return {"type": "image", "base64": content, "mime_type": "image/png"}


def _tool(function: Callable[..., Any]) -> BaseTool:
    return StructuredTool.from_function(
        _reporting(function), handle_tool_error=True, handle_validation_error=_explain_arguments
    )


def _reporting(function: Callable[P, R]) -> Callable[P, R]:
    """Turn memreel's errors into messages to the caller of the tool."""

    @functools.wraps(function)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except MemreelError as error:
            raise ToolException(f"Error: {error}") from error

    return reporting


def _explain_arguments(error: Any) -> str:
    """Name each wrong argument and what is wrong with it, in one line."""
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].lower()}" for fault in error.errors()]
    return f"Error: wrong arguments: {'; '.join(faults)}"
