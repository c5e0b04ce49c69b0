"""The attention context: what stands in sink, memory and local at every chunk, where in time, and never twice."""

from __future__ import annotations

import pytest
import torch

from memreel.errors import ModelError
from memreel.model.cache import StreamCache, Workspace
from memreel.model.context import FrameContext
from memreel.model.layout import ContextLayout
from memreel.model.protocol import EvictedChunk, MemoryFrame
from memreel.model.rotary import rotate, rotation

GRID = (2, 2)
TOKENS = GRID[0] * GRID[1]
HEAD = 12
LAYERS = 2


def chunk(index: int) -> EvictedChunk:
    """Return a chunk whose values say which chunk and frame they are of: 10 * index + frame."""
    draw = torch.Generator().manual_seed(index)
    keys = torch.randn(LAYERS, 3, TOKENS, 1, HEAD, generator=draw)
    values = torch.empty_like(keys)
    for frame in range(3):
        values[:, frame] = 10 * index + frame
    pictures = torch.zeros(3, 8, 8, 3, dtype=torch.uint8).numpy()
    return EvictedChunk(index, torch.zeros(3, 4, 4, 4), keys, values, torch.zeros(1, 3, TOKENS, 1, HEAD), pictures)


def remembered(index: int, frame: int) -> MemoryFrame:
    return chunk(index).frame(frame, f"p1_c{index + 1}_f{frame}")


def laid_out(cache: StreamCache, memory: list[MemoryFrame]) -> FrameContext | None:
    return Workspace(cache.layout).lay_out([cache.plan(memory)], GRID)


def attended(cache: StreamCache, memory: list[MemoryFrame]) -> list[int]:
    """Return the frames of the next chunk's context, in order, as 10 * chunk + frame."""
    context = laid_out(cache, memory)
    if context is None:
        return []
    room = cache.layout.chunk * TOKENS
    for values in context.values:
        assert torch.equal(values[:, :-room], context.values[0][:, :-room])
    return [int(v) for v in context.values[0][0, :-room:TOKENS, 0, 0]]


def whole(*indexes: int) -> list[int]:
    return [10 * index + frame for index in indexes for frame in range(3)]


def test_sink_memory_and_local_chunk_by_chunk() -> None:
    cache = StreamCache(ContextLayout(), GRID)
    memory: list[MemoryFrame] = []
    evicted, seen = [], []
    for index in range(9):
        seen.append(attended(cache, memory))
        left = cache.push(chunk(index))
        evicted.append(None if left is None else left.index)
        if left is not None:
            memory = [*memory, left.frame(0, f"p1_c{left.index + 1}_f0")][-3:]
    assert evicted == [None, None, 0, 1, 2, 3, 4, 5, 6]
    assert seen == [
        [],
        whole(0),
        whole(0, 1),
        whole(0, 1, 2),
        [*whole(0), 10, *whole(2, 3)],
        [*whole(0), 10, 20, *whole(3, 4)],
        [*whole(0), 10, 20, 30, *whole(4, 5)],
        [*whole(0), 20, 30, 40, *whole(5, 6)],
        [*whole(0), 30, 40, 50, *whole(6, 7)],
    ]


def test_no_frame_is_attended_twice_whatever_the_memory_holds() -> None:
    cache = StreamCache(ContextLayout(), GRID)
    for index in range(6):
        cache.push(chunk(index))
    for memory, recalled in (
        ([remembered(0, 1)], []),
        ([remembered(4, 0), remembered(5, 2)], []),
        ([remembered(2, 1), remembered(0, 0), remembered(2, 1)], [21]),
        ([remembered(3, 0), remembered(3, 1), remembered(1, 0)], [30, 31, 10]),
    ):
        seen = attended(cache, memory)
        assert seen == [*whole(0), *recalled, *whole(4, 5)]
        assert len(set(seen)) == len(seen)


def test_more_memory_frames_than_slots_are_refused() -> None:
    cache = StreamCache(ContextLayout(memory=2), GRID)
    memory = [remembered(9, frame) for frame in range(3)]
    with pytest.raises(ModelError, match="3 memory frames for 2 slots"):
        laid_out(cache, memory)
    cache.push(chunk(0))
    assert attended(cache, memory[:2]) == [*whole(0), 90, 91]


def test_each_part_has_slots_of_its_own_in_time() -> None:
    layout = ContextLayout()
    assert layout.positions(3, 3, 6) == [float(t) for t in range(12)]
    assert layout.current() == [12, 13, 14]
    assert layout.positions(3, 1, 3) == [0, 1, 2, 3, 9, 10, 11]
    assert layout.positions(3, 0, 0) == [0, 1, 2]
    assert ContextLayout(sink=0, memory=4, local=2, chunk=1).positions(0, 2, 1) == [0, 1, 5]


def test_keys_are_kept_as_they_came_and_turned_where_they_are_laid_out() -> None:
    cache = StreamCache(ContextLayout(), GRID)
    for index in range(5):
        cache.push(chunk(index))
    memory = [remembered(1, 2), remembered(2, 0)]
    context = laid_out(cache, memory)
    assert context is not None
    assert cache.sink is not None
    assert torch.equal(cache.sink.keys, chunk(0).keys)
    assert [torch.equal(c.keys, chunk(c.index).keys) for c in cache.local] == [True, True]
    raw = torch.cat(
        [chunk(0).keys, chunk(1).keys[:, 2:], chunk(2).keys[:, :1], chunk(3).keys, chunk(4).keys], 1
    ).flatten(1, 2)
    turn = rotation([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11], *GRID, HEAD)
    for layer in range(LAYERS):
        torch.testing.assert_close(context.keys[layer][0, : -3 * TOKENS], rotate(raw[layer], turn))
    assert all(torch.equal(frame.keys, chunk(frame.index).keys[:, frame.frame]) for frame in memory)


def test_positions_do_not_grow_with_the_stream() -> None:
    cache = StreamCache(ContextLayout(), GRID)
    for index in range(40):
        cache.push(chunk(index))
    early = StreamCache(ContextLayout(), GRID)
    for index in (0, 38, 39):
        early.push(chunk(index))
    late, short = laid_out(cache, []), laid_out(early, [])
    assert late is not None
    assert short is not None
    assert torch.equal(late.keys[0][:, : -3 * TOKENS], short.keys[0][:, : -3 * TOKENS])


def test_a_cleared_cache_holds_nothing() -> None:
    cache = StreamCache(ContextLayout(), GRID)
    cache.push(chunk(0))
    cache.clear()
    assert laid_out(cache, []) is None
    assert (cache.sink, cache.local) == (None, [])


def test_further_memory_frames_stand_before_the_sink_and_move_nothing_else() -> None:
    layout = ContextLayout(spare=3)
    assert (layout.slots, layout.whole, layout.current()) == (6, 18, ContextLayout().current())
    assert layout.positions(3, 3, 6) == ContextLayout().positions(3, 3, 6)
    times = layout.positions(3, 5, 6)
    assert times[3:8] == [3.0, 4.0, 5.0, -1.0, -2.0]
    assert len(set(times)) == len(times)
    cache = StreamCache(layout, GRID)
    for index in range(9):
        cache.push(chunk(index))
    six = [remembered(1 + i, 0) for i in range(6)]
    assert attended(cache, six) == [*whole(0), *(10 * (1 + i) for i in range(6)), *whole(7, 8)]
    with pytest.raises(ModelError, match="7 memory frames for 6 slots"):
        cache.plan([*six, remembered(1, 1)])


def test_a_workspace_in_e4m3_holds_what_a_plain_one_holds_but_for_rounding() -> None:
    layout, sink = ContextLayout(), chunk(0)
    plan = StreamCache(layout, GRID)
    plan.push(sink)
    exact = Workspace(layout).lay_out([plan.plan(())], GRID)
    rough = Workspace(layout, eight_bits=True).lay_out([plan.plan(())], GRID)
    assert exact is not None
    assert rough is not None
    assert rough.scales is not None
    held = 3 * TOKENS
    for layer in range(LAYERS):
        keys, values = rough.keys[layer][:, :held].float(), rough.values[layer][:, :held].float()
        torch.testing.assert_close(keys, exact.keys[layer][:, :held], rtol=0.07, atol=0.01)
        torch.testing.assert_close(
            values * rough.scales[layer][:, None, :, None], exact.values[layer][:, :held], rtol=0.07, atol=0.01
        )
