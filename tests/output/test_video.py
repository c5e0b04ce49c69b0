"""The MP4: what goes in comes out, a browser can play and seek it, and half a file never has its name."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from memreel.errors import StoreError, UserError
from memreel.output.video import VideoWriter, h264_encoder, read_pictures


def moving_square(count: int, width: int = 192, height: int = 112) -> np.ndarray:
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[:] = (200, 60, 40)
    for i in range(count):
        pictures[i, 30:80, 2 * i : 2 * i + 50] = (20, 160, 90)
    return pictures


def test_pictures_come_back_with_their_colours_and_in_order(tmp_path: Path) -> None:
    pictures = moving_square(40)
    with VideoWriter(tmp_path / "video.mp4", 192, 112, 16) as writer:
        writer.add(pictures[:24])
        writer.add(pictures[24:])
    assert writer.count == 40
    back = read_pictures(tmp_path / "video.mp4", [0, 17, 39, 40])
    assert sorted(back) == [0, 17, 39]
    for number, picture in back.items():
        assert np.abs(picture.astype(int) - pictures[number]).mean() < 2.5
        assert np.abs(picture[55, 2 * number + 25].astype(int) - (20, 160, 90)).max() <= 4


def test_the_file_is_what_browsers_play_and_seek(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with VideoWriter(path, 192, 112, 16) as writer:
        writer.add(moving_square(70))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert (stream.frames, stream.average_rate) == (70, 16)
        assert float(stream.duration * stream.time_base) == pytest.approx(70 / 16)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        keys = [float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.is_keyframe]
    assert max(np.diff([*keys, 70 / 16])) <= 1.0
    content = path.read_bytes()
    assert content.find(b"moov") < content.find(b"mdat")


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, 192, 112, 16) as writer:
            writer.add(moving_square(30))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_name_appears_only_with_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"earlier")
    writer = VideoWriter(path, 192, 112, 16)
    writer.add(moving_square(12))
    assert path.read_bytes() == b"earlier"
    writer.close()
    writer.close()
    assert len(read_pictures(path, range(20))) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["video.mp4"]


def test_giving_up_leaves_nothing(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with VideoWriter(tmp_path / "video.mp4", 192, 112, 16) as writer:
            writer.add(moving_square(12))
            assert list(tmp_path.iterdir()) != []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_pictures_is_an_error_and_no_file(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "video.mp4", 192, 112, 16)
    with pytest.raises(StoreError, match="no picture"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_refused_with_the_nearest_that_works(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"191×113.*even width and height; use 190×112"):
        VideoWriter(tmp_path / "video.mp4", 191, 113, 16)
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "video.mp4", 192, 112, 16)
    with pytest.raises(ValueError, match="the video takes uint8"):
        writer.add(moving_square(1, width=190))
    with pytest.raises(ValueError, match="the video takes uint8"):
        writer.add(moving_square(1).astype(np.float32))
    writer.abort()


def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*video\.mp4"):
        VideoWriter(tmp_path / "missing" / "video.mp4", 192, 112, 16)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"not a video")
    with pytest.raises(StoreError, match=r"cannot read .*video\.mp4"):
        read_pictures(tmp_path / "video.mp4", [0])


def test_this_machine_has_an_encoder() -> None:
    assert "264" in h264_encoder()
