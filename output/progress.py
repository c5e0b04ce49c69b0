"""A run on the terminal while it goes: a live display on a terminal, plain lines in a pipe.

Fed with the event log's events, so it can show any run, its own process's or another's. It decides nothing and reads no
files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memreel.output.events import Event

COLOURS = ("blue", "red", "green", "magenta", "yellow", "cyan")
"""Cast colours by global ID; after the last they repeat."""


def cast_colour(global_id: int) -> str:
    """Return a cast member's colour on the terminal."""
    return COLOURS[(global_id - 1) % len(COLOURS)]


class RunProgress:
    """Shows one video's making; `update` with each event, inside a ``with`` block."""

    def __init__(
        self, console: Console, video_id: str, prompts: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare the display of a video of so many prompts, ``None`` if it is live; nothing is shown yet."""
        self.console = console
        self.video_id = video_id
        self.prompts = prompts
        self.chunks = 0
        self._earlier = 0
        self._before = 0
        self._clock = clock
        self._began = clock()
        self._first_chunk: float | None = None
        self._last_chunk = 0.0
        self._run: Event = {}
        self._prompt: Event = {}
        self._chunk: Event = {}
        self._names: dict[int, str] = {}
        self._notes: list[str] = []
        self._waiting = False
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> RunProgress:
        """Begin to show."""
        if self.console.is_terminal:
            self._live.start()
        else:
            self._line(f"{self.video_id}: {'live' if self.prompts is None else f'{self.prompts} prompts'}, loading")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Clear the live display."""
        if self.console.is_terminal:
            self._live.stop()

    def update(self, event: Event) -> None:
        """Take the next event of the run; unknown ones are passed over."""
        match event.get("type"):
            case "run":
                self._begin(event)
                if "reader" in event:
                    reader = "the built-in analyst" if event["reader"] == "analyst" else event["reader"]
                    self._line(f"{self.video_id}: prompts are read by {reader}")
            case "prompt":
                self._prompt_begins(event)
            case "chunk":
                self._chunk_done(event)
            case "snapshot":
                self._line(f"{self.video_id}: snapshot after {event['index']} chunks {event['fault']}")
            case "waiting" if not self._waiting:
                self._waiting = True
                if not self.console.is_terminal:
                    self._line(f"{self.video_id}: waiting for a prompt after {self.chunks} chunks")

    def catch_up(self, events: Iterable[Event]) -> None:
        """Take the events of the part of the run that an earlier process made."""
        self.recall(events)
        self._earlier = self.chunks
        self._first_chunk = self._clock()
        if self.chunks and not self.console.is_terminal:
            self._line(f"{self.video_id}: goes on after chunk {self.chunks}/{self.total or '?'}")

    def recall(self, events: Iterable[Event]) -> None:
        """Take the events so far, without a word."""
        for event in events:
            match event.get("type"):
                case "run":
                    self._begin(event)
                case "prompt":
                    self._enter(event)
                case "chunk":
                    self._chunk, self.chunks = event, int(event["index"]) + 1

    @property
    def total(self) -> int | None:
        """Chunks of the whole video, once it is known; prompts that are behind may have been cut short."""
        each = self._run.get("chunks_per_prompt")
        if not each or self.prompts is None:
            return None
        left = self.prompts - int(self._prompt["prompt_id"]) + 1 if self._prompt else self.prompts
        return self._before + left * int(each)

    @property
    def pictures_per_second(self) -> float | None:
        """The rate of making since the first prompt began, or since the run goes on."""
        made = self.chunks - self._earlier
        if self._first_chunk is None or made <= 0 or self._last_chunk <= self._first_chunk:
            return None
        return made * float(self._run.get("chunk_pictures", 12)) / (self._last_chunk - self._first_chunk)

    @property
    def seconds_left(self) -> float | None:
        """Time until the last chunk at the present rate."""
        rate, total = self.pictures_per_second, self.total
        if rate is None or total is None:
            return None
        return (total - self.chunks) * float(self._run.get("chunk_pictures", 12)) / rate

    def render(self) -> RenderableType:
        """Return what the terminal shows now."""
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        total = self.total
        head.add_row(
            Text(self.video_id, style="bold"),
            ProgressBar(total=float(total or 1), completed=float(self.chunks)),
            Text(self._rate_line()),
        )
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        if self._prompt:
            number = self._number(self._prompt)
            chunk = f"{self._chunk['chunk_id']}" if self._in_prompt() else "0"
            each = self._run.get("chunks_per_prompt", "?")
            rows.add_row("prompt", Text(f"{number}  {self._prompt['prompt']}"))
            rows.add_row("chunk", Text(f"{chunk}/{each}"))
            rows.add_row("cast", self._cast() or Text("nobody", style="dim"))
            rows.add_row("memory", Text(", ".join(self._memory()) or "none yet", style="" if self._memory() else "dim"))
            if self._waiting:
                rows.add_row("", Text("waiting for a prompt", style="bold"))
        else:
            rows.add_row("", Text(f"loading the model … {self._clock() - self._began:.0f} s", style="dim"))
        return Group(head, rows)

    def _begin(self, event: Event) -> None:
        self._run = event
        if event.get("live"):
            self.prompts = None

    def _number(self, event: Event) -> str:
        return f"{event['prompt_id']}" + (f"/{self.prompts}" if self.prompts is not None else "")

    def _prompt_begins(self, event: Event) -> None:
        self._enter(event)
        self._waiting = False
        if self._first_chunk is None:
            self._first_chunk = self._clock()
        if not self.console.is_terminal:
            cast = ", ".join(f"{e['entity']} #{e['global_id']}" for e in event.get("entities", [])) or "nobody"
            memory = ", ".join(event.get("memory", [])) or "none"
            self._line(f"{self.video_id}: prompt {self._number(event)}: cast {cast}; memory {memory}")
        notes = list(event.get("notes", []))
        if notes and notes != self._notes:  # what goes wrong at every prompt is told once
            self._line(f"{self.video_id}: prompt {self._number(event)}: {'; '.join(notes)}")
        self._notes = notes

    def _enter(self, event: Event) -> None:
        if event["prompt_id"] != self._prompt.get("prompt_id"):  # else the same one is told again
            self._before = self.chunks
        self._prompt = event
        for entity in event.get("entities", []):
            self._names.setdefault(int(entity["global_id"]), str(entity["entity"]))

    def _chunk_done(self, event: Event) -> None:
        self._chunk = event
        self.chunks = int(event.get("index", self.chunks)) + 1
        self._last_chunk = self._clock()
        each = self._run.get("chunks_per_prompt")
        if not self.console.is_terminal and event["chunk_id"] == each:
            self._line(f"{self.video_id}: prompt {self._number(event)}: done, {self._rate_line()}")

    def _rate_line(self) -> str:
        total, rate, left = self.total, self.pictures_per_second, self.seconds_left
        parts = [f"{self.chunks}/{total or '?'} chunks"]
        if rate is not None:
            parts.append(f"{rate:.1f} pictures/s")
        if left is not None:
            parts.append(f"{_clock_text(left)} left")
        return " · ".join(parts)

    def _in_prompt(self) -> bool:
        return bool(self._chunk) and self._chunk["prompt_id"] == self._prompt["prompt_id"]

    def _memory(self) -> list[str]:
        current: list[Any] = self._chunk.get("memory_next", []) if self._in_prompt() else self._prompt.get("memory", [])
        return [str(name) for name in current]

    def _cast(self) -> Text:
        here = {int(e["global_id"]) for e in self._prompt.get("entities", [])}
        text = Text()
        for global_id, name in sorted(self._names.copy().items()):
            text.append("● ", style=cast_colour(global_id) if global_id in here else "dim")
            text.append(f"{name} #{global_id}   ", style="" if global_id in here else "dim")
        return text

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _clock_text(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
