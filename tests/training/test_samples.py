"""Samples: what lies in a context, in which order, and who comes back."""

from __future__ import annotations

from random import Random

import pytest
import torch

from memreel.model.sketch.net import LAYOUT
from memreel.training.flow import layout_times
from memreel.training.samples import LAYOUTS, Moment, Sample, chunk_frames, make_sample

SHAPES = [layout for layout, _ in LAYOUTS]


def when(moment: Moment) -> tuple[int, int, int]:
    return moment.scene, moment.chunk, moment.frame


def seen(sample: Sample, moments: list[Moment]) -> set[int]:
    """Return who is drawn inside the picture, even in part, in any of the moments."""
    story = sample.story
    out: set[int] = set()
    for moment in moments:
        for t in moment.times():
            out |= story.visible(moment.scene, t, margin=-25)
    return out


@pytest.mark.parametrize("layout", SHAPES)
def test_layouts_have_the_stated_sizes(layout: tuple[int, int, int]) -> None:
    sample = make_sample(Random(1), layout)
    assert len(sample.context) == sum(layout)
    assert len(sample.target) == LAYOUT.chunk
    assert layout_times(sum(layout)) == LAYOUT.positions(*layout)


def test_the_occurrence_of_layouts_sums_to_one() -> None:
    assert sum(share for _, share in LAYOUTS) == pytest.approx(1.0)


@pytest.mark.parametrize("layout", SHAPES)
def test_context_lies_before_its_target(layout: tuple[int, int, int]) -> None:
    sink, memory, local = layout
    for seed in range(20):
        sample = make_sample(Random(seed), layout)
        parts = sample.context[:sink], sample.context[sink : sink + memory], sample.context[sink + memory :]
        assert all(when(m) < when(sample.target[0]) for m in sample.context)
        assert parts[0] == (chunk_frames(0, 0) if sink else [])
        assert [when(m) for m in parts[2]] == sorted(when(m) for m in parts[2])
        assert all(when(m) < when(parts[2][0]) for m in parts[1] if local)
        assert len(parts[2]) == local


def test_reentries_are_in_neither_sink_nor_local_but_met_before() -> None:
    returns = 0
    for seed in range(150):
        sample = make_sample(Random(seed), (3, 3, 6))
        scene = sample.target[0].scene
        near = seen(sample, sample.context[:3] + sample.context[6:])
        assert not sample.reentry & near
        for key in sample.reentry:
            assert sample.story.scenes[scene].mentions[key] is False
            assert any(key in s.mentions for s in sample.story.scenes[:scene])
        returns += bool(sample.reentry)
    assert returns > 10


def test_memory_shows_most_of_those_who_come_back() -> None:
    shown = []
    for seed in range(150):
        sample = make_sample(Random(seed), (3, 3, 6))
        shown += [key in seen(sample, sample.context[3:6]) for key in sample.reentry]
    assert sum(shown) > 0.7 * len(shown)


def test_those_described_were_not_met_before() -> None:
    for seed in range(60):
        sample = make_sample(Random(seed), (3, 3, 6))
        before = sample.story.scenes[: sample.target[0].scene]
        assert not any(key in scene.mentions for key in sample.described for scene in before)


def test_a_sample_follows_its_seed() -> None:
    one, two = (make_sample(Random(9), (3, 2, 6)) for _ in range(2))
    assert one.context == two.context
    assert one.text(one.target[0].scene) == two.text(two.target[0].scene)
    assert torch.equal(torch.tensor(one.target[0].times()), torch.tensor(two.target[0].times()))
