"""All that a stream's next chunk, and the next one to leave its window, depend on; as a snapshot, and back.

That is the sink and the local window, with the pictures of the chunks that have yet to leave it; the text that governs,
and the one that a soft switch is leaving; and what the codec remembers. Noise is a function of seed and place, and
memory frames are handed in, so neither is part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from memreel.errors import ModelError
from memreel.model.context import TextContext
from memreel.model.protocol import EvictedChunk, Log, Pictures, Snapshot

PARTS = ("latents", "keys", "values", "queries")
"""Tensors of a chunk in the sink or the window."""
NO_PICTURES: Pictures = torch.empty((0, 0, 0, 3), dtype=torch.uint8).numpy()
"""What a chunk in the window has for stills: they are put in when it leaves, long after they were developed."""


@dataclass(frozen=True)
class State:
    """A stream's state after ``index`` chunks; as it is here, the one before the first.

    ``text`` governs, ``leaving`` is what a soft switch still blends it with, the new text's part being ``shares`` in
    the chunks to come. ``pictures`` are those of the window's chunks, by index; ``past`` is the codec's.
    """

    index: int = 0
    sink: EvictedChunk | None = None
    local: Sequence[EvictedChunk] = ()
    text: str | None = None
    leaving: TextContext | None = None
    shares: Sequence[float] = ()
    pictures: Mapping[int, Pictures] = field(default_factory=dict)
    past: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def held(self) -> dict[int, EvictedChunk]:
        """The chunks of sink and window by index; one that is both is the same in both."""
        return {chunk.index: chunk for chunk in ([self.sink] if self.sink else []) + list(self.local)}

    def require_of(self, log: Log) -> None:
        """Compare the chunks held with a log's.

        Raises:
            ModelError: they are another video's.
        """
        for index, chunk in self.held.items():
            logged = log(index)
            if chunk.text != logged.text or not torch.equal(chunk.latents.cpu(), logged.latents.cpu()):
                raise ModelError(f"the snapshot after {self.index} chunks has another chunk {index} than the log")


def packed(state: State) -> Snapshot:
    """Return a state as a snapshot, its tensors copied to host memory."""
    tensors = {f"chunk.{i}.{part}": getattr(chunk, part) for i, chunk in state.held.items() for part in PARTS}
    tensors |= {f"pictures.{index}": torch.from_numpy(pictures) for index, pictures in state.pictures.items()}
    tensors |= {f"codec.{name}": seen for name, seen in state.past.items()}
    if state.leaving is not None:
        parts = {"leaving.keys": state.leaving.keys, "leaving.values": state.leaving.values}
        tensors |= {name: torch.stack(layers) for name, layers in parts.items()}
    facts = {
        "sink": None if state.sink is None else state.sink.index,
        "local": [chunk.index for chunk in state.local],
        "texts": {str(index): chunk.text for index, chunk in state.held.items()},
        "text": state.text,
        "shares": list(state.shares),
    }
    return Snapshot(state.index, {name: tensor.cpu() for name, tensor in tensors.items()}, facts)


def unpacked(snapshot: Snapshot, device: str) -> State:
    """Return the state that `packed` was given, its tensors on a device.

    Raises:
        ModelError: something is missing, as if another version had written it.
    """
    if not snapshot.index:
        return State()
    tensors, facts = snapshot.tensors, snapshot.facts
    try:
        held = {}
        for index, text in facts["texts"].items():
            latents, keys, values, queries = (tensors[f"chunk.{index}.{part}"].to(device) for part in PARTS)
            held[int(index)] = EvictedChunk(int(index), latents, keys, values, queries, NO_PICTURES, text)
        leaving = None
        if "leaving.keys" in tensors:
            parts = [tensors[f"leaving.{part}"].to(device) for part in ("keys", "values")]
            leaving = TextContext(list(parts[0]), list(parts[1]), None)
        return State(
            snapshot.index,
            None if facts["sink"] is None else held[facts["sink"]],
            [held[index] for index in facts["local"]],
            facts["text"],
            leaving,
            facts["shares"],
            {index: tensors[f"pictures.{index}"].numpy() for index in facts["local"]},
            {name.removeprefix("codec."): seen for name, seen in tensors.items() if name.startswith("codec.")},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the snapshot after {snapshot.index} chunks is not one of this version ({error})") from error
