"""Pictures that come late are in the video when the next ones are taken, in order, and errors are not lost."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from memreel.errors import ModelError
from memreel.output.behind import Behind
from memreel.output.growing import GrowingPaths, GrowingVideo
from memreel.output.video import Pictures


@pytest.fixture
def video(tmp_path: Path) -> GrowingVideo:
    paths = GrowingPaths(tmp_path / "v.mp4", tmp_path / "l.mp4", tmp_path / "pieces", tmp_path / "l.m3u8")
    return GrowingVideo(paths, 32, 16, 16)


def grey(value: int) -> Pictures:
    return np.full((4, 16, 32, 3), value, np.uint8)


def test_late_pictures_are_encoded_beside_their_maker_one_piece_behind(video: GrowingVideo) -> None:
    behind, there = Behind(video), threading.Event()

    def developed() -> Pictures:
        assert there.wait(10)
        return grey(50)

    behind.add(developed, late=True)
    assert video.count == 0, "add has not waited"
    there.set()
    behind.add(lambda: grey(100), late=True)
    assert video.count >= 4, "what was taken before is in the video"
    behind.add(lambda: grey(200), late=False)
    assert video.count == 12
    assert video.starts == [0, 4, 8]
    behind.close()


def test_an_error_of_late_pictures_is_raised_by_whoever_comes_next(video: GrowingVideo) -> None:
    behind = Behind(video)

    def failing() -> Pictures:
        raise ModelError("the device was lost")

    behind.add(failing, late=True)
    with pytest.raises(ModelError, match="the device was lost"):
        behind.add(lambda: grey(1), late=True)
    behind.add(failing, late=True)
    with pytest.raises(ModelError, match="the device was lost"):
        behind.settle()
    behind.add(failing, late=True)
    behind.abort()
    assert video.count == 0
