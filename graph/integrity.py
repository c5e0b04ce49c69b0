"""Whether a run folder is whole: everything in it that carries a checksum, read and compared; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from memreel.errors import StoreError
from memreel.graph.checkpoints import checkpoints
from memreel.graph.latents import read_latents
from memreel.graph.snapshots import files_of, snapshots_of
from memreel.output.checksums import unlike_listed
from memreel.output.durable import read_tensors
from memreel.output.growing import read_piece
from memreel.output.run_folder import RunFolder


def damages(folder: RunFolder) -> Iterator[str]:
    """Yield a line for everything in the folder that is damaged or lost, naming the file.

    Looked at are the log, and by it the latents and the video's pieces of every chunk; memory frames; the stream's
    snapshots; the states that the checkpoints keep; and what a finished run ended with.
    """
    chunks: list[int] = []

    def log() -> None:
        chunks.extend(event["index"] for event in folder.read_events() if event["type"] == "chunk")

    yield from _failing(log)
    for index in chunks:
        yield from _failing(lambda index=index: read_latents(folder, index))  # type: ignore[misc]
        yield from _failing(lambda index=index: read_piece(folder.film, index))  # type: ignore[misc]
    for path in sorted((folder.stream / "memory").glob("*.safetensors")):
        yield from _failing(lambda path=path: read_tensors(path))  # type: ignore[misc]
    for snapshot in snapshots_of(folder).values():
        for path in files_of(snapshot):
            yield from _failing(lambda path=path: read_tensors(path))  # type: ignore[misc]
    if folder.checkpoints.is_file():
        yield from _failing(lambda: _read_states(folder.checkpoints))
    try:
        yield from unlike_listed(folder.checksums)
    except StoreError as error:
        yield str(error)


def _read_states(path: Path) -> None:
    with checkpoints(path) as saver:
        for _ in saver.list(None):
            pass


def _failing(read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except StoreError as error:
        yield str(error)
