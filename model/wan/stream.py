"""One running video of a Wan model, and several that run together.

The clean pass attends to the same context as the denoising steps did, so a frame's keys and values depend on the whole
video before it: a stream is restored by clean passes in order, from the beginning or from a snapshot of its state on,
which the log of latents, texts and memory frames determines. That costs a fifth of making the chunks, and equals them
bit for bit. How a chunk is made stands in `memreel.model.wan.making`, what a snapshot holds in
`memreel.model.wan.state`; a stream says what it attends to, and keeps what was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from memreel.errors import ModelError
from memreel.model.cache import Plan, StreamCache
from memreel.model.clock import on_gpu
from memreel.model.context import TextContext
from memreel.model.passes import Sheet
from memreel.model.protocol import (
    BEGINNING,
    Chunk,
    EvictedChunk,
    Log,
    MemoryFrame,
    Pictures,
    Place,
    Snapshot,
    place_of,
)
from memreel.model.sampler import noise
from memreel.model.wan.decoding import Timeline, at_hand
from memreel.model.wan.making import Made, Order, make, within_memory
from memreel.model.wan.state import NO_PICTURES, State, packed, unpacked
from memreel.model.wan.switch import Governing, distance, window
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.model.wan.model import WanModel

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of a chunk or of a memory frame."""
PINNED = 64_000_000
"""Bytes of a tensor below which it travels through pinned memory."""


class WanStream:
    """One running video; see `memreel.model.protocol.Stream`."""

    def __init__(self, model: WanModel, seed: int) -> None:
        """Start before the first chunk, without a prompt."""
        self.model, self.seed, self.index = model, seed, 0
        self._open = True
        self._begin(State())

    def _begin(self, state: State) -> None:
        """Stand in a state; no prompt is set then."""
        model = self.model
        self.index = state.index
        absolute = model.config.rotary == "absolute"
        self.cache = StreamCache(model.layout, model.grid, absolute=absolute)
        self.cache.sink, self.cache.local = state.sink, list(state.local)
        self._governing = Governing()
        if state.text is not None:
            self._governing.stand(state.text, model.read(state.text), state.leaving, list(state.shares))
        self._prompted = False
        self._decoding = model.codec.begin(state.past)
        self._remembered: dict[Place, Pair] = {}
        self._developed = {index: at_hand(pictures) for index, pictures in state.pictures.items()}
        self._drawn: tuple[int, torch.Tensor] | None = None

    @property
    def snapshot_every(self) -> int:
        """After how many chunks a snapshot is worth its room; 0: never."""
        return self.model.config.snapshot_every

    @on_model_thread
    @torch.inference_mode()
    def snapshot(self) -> Snapshot:
        """Return the stream's state, copied to host memory.

        Raises:
            ModelError: the stream is finalized.
        """
        self._require_open()
        self.model.darkroom.settle()
        pictures = {index: developed() for index, developed in self._developed.items()}
        governing, past = self._governing, self._decoding.past()
        leaving, shares = governing.standing()
        return packed(
            State(self.index, self.cache.sink, self.cache.local, governing.text, leaving, shares, pictures, past)
        )

    def set_prompt(self, text: str) -> None:
        """Let the following chunks be governed by ``text``; the same text again changes nothing.

        Raises:
            UserError: the text is too long for the model to read.
        """
        self._require_open()
        self.model.text.require_short(text)
        self._switch(text)
        self._prompted = True

    def generate(self, memory: Sequence[MemoryFrame] = ()) -> Chunk:
        """Make the next chunk; its pictures are developed while the next one is made.

        Raises:
            ModelError: no prompt was set, the stream is finalized, too many memory frames were given, the device ran
                out of memory, or the latents are not finite. The stream stays where it was.
        """
        return make([self], [memory])[0]

    def order(self, memory: Sequence[MemoryFrame]) -> Order:
        """Say what the next chunk needs.

        Raises:
            ModelError: no prompt was set, the stream is finalized, or too many memory frames were given.
        """
        self._require_open()
        if not self._prompted:
            raise ModelError("no prompt is set; call set_prompt before generate")
        return Order(
            stream=self,
            attended=[frame.frame_id for frame in memory],
            plan=self.cache.plan(self._ready(memory)),
            text=self._governing.context(),
            times=tuple(self.cache.current()),
            draws=self._draws(self.index),
        )

    def draw_ahead(self) -> None:
        """Draw the noise of the chunk after the next one."""
        self._drawn = self.index + 1, self._draws(self.index + 1)

    def finish(self, made: Made, attended: list[str], seconds: dict[str, float]) -> Chunk:
        """Take in what was made, and move on.

        Args:
            made: the next chunk.
            attended: ids of its memory frames.
            seconds: what it cost so far.
        """
        later = {} if on_gpu(self.model.device) else seconds
        developed = self.model.darkroom.develop(self._decoding, made.latents, later, clean=made.clean)
        return self._push(made.held, made.written, developed, attended, seconds, later)

    @on_model_thread
    @torch.inference_mode()
    def restore(self, log: Log, index: int, snapshot: Snapshot = BEGINNING) -> Chunk | None:
        """Stand where a stream stood after ``index`` chunks; see `memreel.model.protocol.SnapshotStream`.

        Raises:
            ModelError: the stream is finalized, the log says that a chunk attended to one that was still to come, or
                the snapshot is not one of the log's video, after fewer chunks.
        """
        self._require_open()
        self._begin(State())
        if not index:
            return None
        begun = snapshot.index
        if begun >= index:
            raise ModelError(f"a stream is restored to {index} chunks from a snapshot after fewer, not {begun}")
        state = unpacked(snapshot, self.model.device)
        state.require_of(log)
        self._begin(state)
        model = self.model
        own = Timeline(model.codec, log, model.darkroom, begun, self._decoding) if begun else None
        timeline = own or model.timeline(log)
        wanted = {place: number for number in range(begun, index) for place in log(number).places}
        kept: dict[Place, MemoryFrame] = {}
        last: Chunk | None = None
        for number in range(begun, index):
            logged = log(number)
            self._switch(logged.text)
            for name, place in zip(logged.attended, logged.places, strict=True):
                if place not in kept:
                    kept[place] = _earlier(snapshot, name, place)
            memory = [kept[place] for place in logged.places]
            latents = logged.latents.to(self.model.device)
            plan = self.cache.plan(self._ready(memory))
            sheet = self._encode(latents, self._governing.context(), plan, self.cache.current())
            pictures = timeline.pictures(number)
            last = self._push(latents, sheet.row(0, len(latents)), at_hand(pictures), logged.attended, {}, {})
            if last.evicted is not None:
                kept |= _frames(last.evicted, wanted)
            kept = {place: frame for place, frame in kept.items() if wanted[place] > number}
        self._decoding = timeline.take(index)
        return last

    def finalize(self) -> None:
        """Release the cache; the stream cannot generate any more."""
        self.cache.clear()
        self._remembered.clear()
        self._developed.clear()
        self._drawn, self._open = None, False

    def _require_open(self) -> None:
        if not self._open:
            raise ModelError("the stream is finalized; open another one")

    def _switch(self, text: str) -> None:
        before = self._governing.text
        if text == before:
            return
        model, how = self.model, self.model.config.switch
        context = model.read(text)
        if before is None:
            self._governing.set(text, context)
        elif how == "soft":
            apart = distance(model.text.states(before), model.text.states(text))
            self._governing.set(text, context, window(apart))
        else:
            if how == "recache":
                self._recache(context)
            self._governing.set(text, context)

    @on_model_thread
    @torch.inference_mode()
    def _recache(self, text: TextContext) -> None:
        """Encode the chunks of the local window again, oldest first, each attending to those before it."""
        cache, held, sink = self.cache, self.cache.local, self.cache.sink
        try:
            with within_memory(self.model.device, f"at the prompt of chunk {self.index}"):
                cache.local = []
                for chunk in held:
                    self._encode_again(chunk, text)
        except BaseException:
            cache.local, cache.sink = held, sink
            raise

    def _encode_again(self, chunk: EvictedChunk, text: TextContext) -> None:
        """Encode the next chunk of the local window; where it is the sink too, it does not attend to itself."""
        cache, sink = self.cache, self.cache.sink
        first = sink is not None and chunk.index == sink.index
        cache.sink = None if first else sink
        sheet = self._encode(self._there(chunk.latents), text, cache.plan(()), self._times_of(chunk))
        keys, values, _ = sheet.row(0, len(chunk.latents))
        again = replace(chunk, keys=keys, values=values)
        cache.sink = again if first else sink
        cache.local.append(again)

    def _times_of(self, chunk: EvictedChunk) -> list[float]:
        if not self.cache.absolute:
            return self.model.layout.current()
        frames = self.model.layout.chunk
        return [float(chunk.index * frames + i) for i in range(frames)]

    def _ready(self, memory: Sequence[MemoryFrame]) -> list[MemoryFrame]:
        """Return memory frames with keys and values on the device; what is there already is not copied again."""
        there = self._remembered
        self._remembered = {}
        ready = []
        for frame in memory:
            place = Place(frame.index, frame.frame, frame.keys is None)
            pair = there.get(place) or self._remembered.get(place) or self._tensors(frame)
            self._remembered[place] = pair
            ready.append(replace(frame, keys=pair[0], values=pair[1]))
        return ready

    def _tensors(self, frame: MemoryFrame) -> Pair:
        if frame.keys is not None and frame.values is not None:
            return self._there(frame.keys), self._there(frame.values)
        latent = self._there(frame.latent).unsqueeze(0)
        keys, values, _ = self._encode(latent, self.model.read(frame.text), Plan([], []), [0.0]).row(0, 1)
        return keys[:, 0], values[:, 0]

    def _there(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor on the device, without waiting for the copy unless it is a large one.

        Pinned memory is never given back, so keys and values of the bank, hundreds of megabytes, are not put there.
        """
        pinned = on_gpu(self.model.device) and not tensor.is_cuda and tensor.nbytes < PINNED
        return (tensor.pin_memory() if pinned else tensor).to(self.model.device, non_blocking=True)

    def _draws(self, index: int) -> torch.Tensor:
        """Return the noise of a chunk's steps on the device; it may have been drawn ahead."""
        if self._drawn is not None and self._drawn[0] == index:
            return self._drawn[1]
        spec = self.model.spec
        shape = (spec.chunk_frames, spec.latent_channels, spec.latent_height, spec.latent_width)
        return self._there(
            torch.stack([noise(shape, self.seed, index, step) for step in range(len(self.model.sigmas))])
        )

    def _encode(self, latents: torch.Tensor, text: TextContext, plan: Plan, times: Sequence[float]) -> Sheet:
        """Run the clean pass over latent frames that stand at ``times`` and attend to a plan."""
        model = self.model
        context = model.workspace.lay_out([plan], model.grid)
        return model.passes.write(latents.unsqueeze(0), [text], model.passes.turn(tuple(times)), context)

    def _push(
        self,
        latents: torch.Tensor,
        written: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        developed: Callable[[], Pictures],
        attended: list[str],
        seconds: dict[str, float],
        later: dict[str, float],
    ) -> Chunk:
        """Take a chunk into the cache and move on."""
        finished = EvictedChunk(self.index, latents, *written, NO_PICTURES, self._governing.text or "")
        self._developed[self.index] = developed
        evicted = self.cache.push(finished)
        if evicted is not None:
            every = self.model.spec.pictures_per_latent
            evicted = replace(evicted, pictures=self._developed.pop(evicted.index)()[every - 1 :: every])
        self._governing.advance()
        self.index = finished.index + 1
        return Chunk(finished.index, latents, developed, evicted, attended, seconds, later)


class Together:
    """Several videos of one model whose chunks are made in one go, each the video that it would be alone.

    A prompt is set on each of ``streams``; nothing else of them is called meanwhile.
    """

    def __init__(self, streams: Sequence[WanStream]) -> None:
        """Put opened streams together."""
        self.streams = tuple(streams)

    def generate(self, memories: Sequence[Sequence[MemoryFrame]] | None = None) -> list[Chunk]:
        """Make every video's next chunk, in the order of ``streams``; ``memories`` has each one's memory frames.

        Raises:
            ModelError: see `WanStream.generate`; no stream has moved on.
        """
        return make(self.streams, memories if memories is not None else [()] * len(self.streams))


def _earlier(snapshot: Snapshot, name: str, place: Place) -> MemoryFrame:
    """Return a memory frame of a chunk that had left the window before the snapshot was taken."""
    frame = snapshot.frame(name)
    if place_of(frame) != place:
        raise ModelError(f"the snapshot after {snapshot.index} chunks has another memory frame {name} than the log")
    return frame


def _frames(evicted: EvictedChunk, wanted: dict[Place, int]) -> dict[Place, MemoryFrame]:
    """Return those frames of a chunk that some later chunk attends to, in host memory."""
    found = {}
    for frame in range(len(evicted.latents)):
        for latent_only in (False, True):
            place = Place(evicted.index, frame, latent_only)
            if place in wanted:
                kept = evicted.frame(frame, f"{place}", latent_only=latent_only)
                if kept.keys is not None and kept.values is not None:
                    kept = replace(kept, keys=kept.keys.cpu(), values=kept.values.cpu())
                found[place] = kept
    return found
