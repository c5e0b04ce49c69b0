"""Prompt switches: what each strategy does to the text and to the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_wan import settings

from memreel.model import load
from memreel.model.cache import Plan
from memreel.model.context import TextContext
from memreel.model.wan.model import WanModel
from memreel.model.wan.stream import WanStream
from memreel.model.wan.switch import LONGEST, SHORTEST, Governing, alphas, distance, window

MIA = "mia, a young woman with red hair, walks in the park"
TOM = "tom waits in the library"


def text_of(value: float) -> TextContext:
    return TextContext([torch.full((1, 2, 1, 4), value)], [torch.full((1, 2, 1, 4), -value)], None)


def test_a_soft_switch_blends_over_several_chunks_in_even_steps() -> None:
    assert alphas(3) == pytest.approx([0.25, 0.5, 0.75])
    governing = Governing()
    governing.set("old", text_of(0.0))
    governing.set("new", text_of(1.0), 3)
    shares = []
    for _ in range(5):
        context = governing.context()
        assert torch.equal(context.values[0], -context.keys[0])
        shares.append(float(context.keys[0].mean()))
        governing.advance()
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert governing.text == "new"


def test_a_soft_switch_within_a_soft_switch_starts_from_where_it_stands() -> None:
    governing = Governing()
    governing.set("a", text_of(0.0))
    governing.set("b", text_of(1.0), 3)
    governing.advance()
    governing.set("c", text_of(2.5), 2)
    assert float(governing.context().keys[0].mean()) == pytest.approx(0.5 + 2 / 3)


def test_the_farther_apart_two_prompts_are_the_longer_a_soft_switch_takes() -> None:
    one, other = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 8)
    assert distance(one, one.repeat(2, 1)) == pytest.approx(0, abs=1e-6)
    assert distance(one, other - one.mean(0)) == pytest.approx(1)
    found = [window(apart / 10) for apart in range(11)]
    assert (found[0], found[-1], found) == (SHORTEST, LONGEST, sorted(found))
    assert SHORTEST >= 2


def standing_after(folder: Path, switch: str, chunks: int = 5, local: int = 6) -> WanStream:
    model = load(settings(folder, codec="tiny", switch=switch, local=local))
    assert isinstance(model, WanModel)
    stream = model.open(3)
    stream.set_prompt(MIA)
    for _ in range(chunks):
        stream.generate()
    return stream


@pytest.mark.parametrize("switch", ["hard", "soft"])
def test_hard_and_soft_leave_the_cache_as_it_is(folder: Path, switch: str) -> None:
    stream = standing_after(folder, switch)
    before = [*stream.cache.local, stream.cache.sink]
    stream.set_prompt(TOM)
    assert all(a is b for a, b in zip(before, [*stream.cache.local, stream.cache.sink], strict=True))
    shares = len(stream._governing._shares)
    assert shares == 0 if switch == "hard" else SHORTEST <= shares <= LONGEST


def test_recache_encodes_the_window_again_under_the_new_text_and_leaves_the_sink(folder: Path) -> None:
    stream = standing_after(folder, "recache")
    before, sink = list(stream.cache.local), stream.cache.sink
    stream.set_prompt(TOM)
    after = stream.cache.local
    assert stream.cache.sink is sink
    assert [chunk.index for chunk in after] == [3, 4]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new.latents, old.latents)
        assert (new.text, torch.equal(new.queries, old.queries)) == (MIA, True)
        assert not torch.allclose(new.keys[-1], old.keys[-1], atol=1e-4)
    with torch.inference_mode():
        stream.cache.local = []
        text = stream.model.read(TOM)
        times = stream.cache.current()
        first = stream._encode(before[0].latents, text, stream.cache.plan(()), times)
        stream.cache.local = [after[0]]
        second = stream._encode(before[1].latents, text, stream.cache.plan(()), times)
    for sheet, chunk in ((first, after[0]), (second, after[1])):
        assert torch.equal(sheet.row(0, 3)[0], chunk.keys)
        assert torch.equal(sheet.row(0, 3)[1], chunk.values)


def test_a_sink_that_is_still_in_the_window_is_encoded_again_with_it(folder: Path) -> None:
    stream = standing_after(folder, "recache", chunks=2)
    old = stream.cache.sink
    stream.set_prompt(TOM)
    assert stream.cache.sink is stream.cache.local[0]
    assert stream.cache.sink is not old
    with torch.inference_mode():
        assert old is not None
        alone, times = Plan([], []), stream.cache.current()
        sheet = stream._encode(old.latents, stream.model.read(TOM), alone, times)
    assert torch.equal(sheet.row(0, 3)[0], stream.cache.local[0].keys)


@pytest.mark.parametrize("switch", ["recache", "soft", "hard"])
def test_the_same_text_again_is_no_switch(folder: Path, switch: str) -> None:
    stream = standing_after(folder, switch, chunks=2)
    before = list(stream.cache.local)
    stream.set_prompt(MIA)
    assert all(a is b for a, b in zip(before, stream.cache.local, strict=True))
    assert stream._governing._shares == []
