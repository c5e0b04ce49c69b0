"""A live stream in Python: chunks come out of an iterator while prompts are pushed from any thread.

``for chunk in stream`` renders; `push` and `end` leave word in the run's inbox. With nothing left to show the iterator
waits. Leaving the loop, or `close`, stops the run; the same call with ``resume`` goes on with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType

from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.graph.binding import run_path
from memreel.graph.context import RunContext
from memreel.graph.inbox import When, end, push
from memreel.graph.render import GeneratedChunk, Rendered, render
from memreel.output.run_folder import RunFolder
from memreel.script import Script, check_prompts, slug


class LiveStream:
    """One live stream: iterate over its chunks in one thread, push prompts from any."""

    def __init__(
        self,
        prompts: Sequence[str] = (),
        out: str | Path = "runs",
        config: RunConfig | str | None = None,
        *,
        video_id: str = "live",
        resume: bool = False,
    ) -> None:
        """Prepare a stream that begins with ``prompts``; nothing is loaded or written before it is iterated over.

        Args:
            prompts: what to begin with; without any, the stream begins by waiting.
            out: folder in which the run folder is made.
            config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset.
            video_id: name of the run folder.
            resume: go on with a stream of the same prompts and configuration that was stopped or killed.

        Raises:
            UserError: the configuration or a prompt is wrong, or ``video_id`` does not do as a folder name.
        """
        if video_id != slug(video_id):
            raise UserError(f"video_id '{video_id}' does not do as a folder name; use '{slug(video_id)}'")
        settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")
        script = Script(video_id, check_prompts(prompts, "prompts") if prompts else ())
        self.folder = RunFolder(run_path(RunContext(out=str(out)), video_id))
        self._early: list[tuple[str, When] | None] = []
        self._begun = False
        self._lock = threading.Lock()
        self._events = render(script, out, settings, resume=resume, live=True)

    def push(self, prompt: str, when: When = "next") -> None:
        """Give the stream a prompt: after those that are waiting (``next``), or from the next chunk on (``now``).

        Raises:
            UserError: the prompt is empty, or ``when`` is unknown.
            StoreError: it could not be written.
        """
        with self._lock:
            if self._begun:
                push(self.folder, prompt, when)
            else:
                check_prompts([prompt], "push")
                self._early.append((prompt, when))

    def end(self) -> None:
        """Let the stream end once it has nothing left to show; its video is complete then.

        Raises:
            StoreError: it could not be written.
        """
        with self._lock:
            if self._begun:
                end(self.folder)
            else:
                self._early.append(None)

    def events(self) -> Iterator[Rendered]:
        """Yield every event, also those of waiting; see `memreel.graph.render.render`. Closing it stops the run."""
        with closing(self._events) as events:  # type: ignore[type-var]
            for rendered in events:
                with self._lock:
                    if not self._begun:  # the folder is the run's by now
                        self._begun = True
                        for early in self._early:
                            end(self.folder) if early is None else push(self.folder, *early)
                yield rendered

    def __iter__(self) -> Iterator[GeneratedChunk]:
        """Yield each chunk as soon as it is finished, until the stream ends."""
        with closing(self.events()) as events:  # type: ignore[type-var]
            for rendered in events:
                if rendered.chunk is None:
                    continue
                yield GeneratedChunk(rendered.video_id, rendered.event, rendered.chunk.pictures)

    def close(self) -> None:
        """Stop the run where it is; call it from the thread that iterates. After the end this does nothing."""
        self._events.close()  # type: ignore[attr-defined]

    def __enter__(self) -> LiveStream:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Stop the run, if it has not ended."""
        self.close()
