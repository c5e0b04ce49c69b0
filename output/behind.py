"""Puts pictures into a growing video while their maker goes on, at most one piece behind.

Pictures that are there are encoded at once. Those that a device is still at work on are waited for and encoded in a
thread of its own: the next ones wait for that thread, and its errors are raised by whoever comes next. A piece that a
killed process left out is made again when the run goes on, as a damaged one is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from memreel.errors import MemreelError
from memreel.output.growing import GrowingVideo
from memreel.output.video import Pictures


class Behind:
    """The way into one growing video."""

    def __init__(self, video: GrowingVideo) -> None:
        """Stand before a video; no thread is begun before one is needed."""
        self._video = video
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def add(self, developed: Callable[[], Pictures], *, late: bool) -> None:
        """Take the next pictures.

        Args:
            developed: gives them, waiting for them if need be.
            late: whether they may have to be waited for.

        Raises:
            MemreelError: these, or if they are late those before, could not be made or written.
        """
        self.settle()
        if not late:
            self._video.add(developed())
            return
        self._thread = self._thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix="video")
        self._last = self._thread.submit(lambda: self._video.add(developed()))

    def settle(self) -> None:
        """Wait until everything that was taken is in the video.

        Raises:
            MemreelError: it could not be made or written.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def abort(self) -> None:
        """Let what is under way end, and give up the video."""
        with contextlib.suppress(MemreelError):
            self.settle()
        self.close()
        self._video.abort()

    def close(self) -> None:
        """Let go of the thread."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
