"""The video: what goes in comes out, it plays while it grows, the end seeks, and a damaged piece is noticed."""

from __future__ import annotations

import http.server
import threading
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from memreel.errors import StoreError, UserError
from memreel.output.growing import GrowingPaths, GrowingVideo
from memreel.output.video import Chapter, h264_encoder, read_pictures


def moving_square(count: int, width: int = 192, height: int = 112) -> np.ndarray:
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[:] = (200, 60, 40)
    for i in range(count):
        pictures[i, 30:80, 2 * i : 2 * i + 50] = (20, 160, 90)
    return pictures


@pytest.fixture
def paths(tmp_path: Path) -> GrowingPaths:
    return GrowingPaths(tmp_path / "video.mp4", tmp_path / "live.mp4", tmp_path / "pieces", tmp_path / "live.m3u8")


def begin(paths: GrowingPaths, **options: Any) -> GrowingVideo:
    return GrowingVideo(paths, 192, 112, 16, **options)


def film(paths: GrowingPaths, pictures: np.ndarray, piece: int = 12, **options: Any) -> GrowingVideo:
    video = begin(paths, **options)
    for at in range(0, len(pictures), piece):
        video.add(pictures[at : at + piece])
    return video


def test_pictures_come_back_with_their_colours_and_in_order(paths: GrowingPaths) -> None:
    pictures = moving_square(40)
    video = film(paths, pictures, 9)
    video.close()
    assert video.count == 40
    back = read_pictures(paths.video, [0, 17, 39, 40])
    assert sorted(back) == [0, 17, 39]
    for number, picture in back.items():
        assert np.abs(picture.astype(int) - pictures[number]).mean() < 2.5
        assert np.abs(picture[55, 2 * number + 25].astype(int) - (20, 160, 90)).max() <= 4


def test_the_file_is_what_browsers_play_and_seek_with_a_chapter_a_prompt(paths: GrowingPaths) -> None:
    film(paths, moving_square(72)).close([Chapter("Mia waves.", 0, 36), Chapter("Rain.", 36, 72)])
    with av.open(str(paths.video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate, stream.start_time) == (72, 16, 0)
        assert float(stream.duration * stream.time_base) == pytest.approx(72 / 16)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        parts = [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
        ]
        assert parts == [("Mia waves.", 0, 2.25), ("Rain.", 2.25, 4.5)]
        container.seek(int(3.0 / stream.time_base), stream=stream)
        assert float(next(container.decode(stream)).pts * stream.time_base) == 3.0
    content = paths.video.read_bytes()
    assert content.find(b"moov") < content.find(b"mdat")


def test_the_same_pictures_give_the_same_bytes_whatever_lay_in_the_memory(paths: GrowingPaths) -> None:
    draw = np.random.default_rng(0)
    pictures = np.clip(moving_square(48) + draw.normal(0, 4, (48, 112, 192, 3)), 0, 255).astype(np.uint8)
    seen = set()
    for _ in range(6):
        left = [np.full(draw.integers(1_000, 400_000), draw.integers(255), np.uint8) for _ in range(20)]
        del left
        film(paths, pictures).close()
        seen.add(paths.video.read_bytes())
    assert len(seen) == 1


def test_it_plays_while_it_grows_and_a_player_may_hold_it_to_the_end(paths: GrowingPaths) -> None:
    video = begin(paths)
    for count in (12, 24, 36):
        video.add(moving_square(count)[-12:])
        assert not paths.video.exists()
        assert len(read_pictures(paths.growing, range(99))) == count
    with paths.growing.open("rb") as player:
        held = player.read(100)
        video.close()
        assert len(held + player.read()) > 1000
    assert not paths.growing.exists()
    before = paths.video.read_bytes()
    with paths.video.open("rb") as player:
        held = player.read(100)
        film(paths, moving_square(24)).close()
        assert held + player.read() == before
    assert len(read_pictures(paths.video, range(99))) == 24


def test_the_playlist_is_played_over_http_while_it_grows_and_after(paths: GrowingPaths) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(paths.video.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        video = film(paths, moving_square(36), playlist=True)
        text = paths.playlist.read_text()
        assert (text.count("#EXTINF:0.75"), "#EXT-X-ENDLIST" in text) == (3, False)
        video.close()
        with av.open(f"http://127.0.0.1:{server.server_port}/live.m3u8") as container:
            assert sum(1 for _ in container.decode(video=0)) == 36
    finally:
        server.shutdown()
        server.server_close()


def test_it_goes_on_after_any_piece_and_ends_with_the_same_bytes(paths: GrowingPaths) -> None:
    pictures = moving_square(60)
    film(paths, pictures).close()
    whole = paths.video.read_bytes()
    film(paths, pictures).abort()
    asked = []

    def again(number: int) -> np.ndarray:
        asked.append(number)
        return pictures[number * 12 : number * 12 + 12]

    damaged = paths.piece(1)
    content = bytearray(damaged.read_bytes())
    content[200] ^= 1
    damaged.write_bytes(content)
    paths.piece(2).write_bytes(paths.piece(2).read_bytes()[:-7])
    video = begin(paths)
    video.restore(4, again)
    assert (asked, video.count) == ([1, 2], 48)
    assert not paths.piece(4).exists()
    video.add(pictures[48:])
    video.close()
    assert paths.video.read_bytes() == whole


def test_a_shared_piece_is_not_written_into(paths: GrowingPaths, tmp_path: Path) -> None:
    film(paths, moving_square(24)).abort()
    (tmp_path / "shared").hardlink_to(paths.piece(1))
    before = paths.piece(1).read_bytes()
    video = begin(paths)
    video.restore(1, lambda _: moving_square(12))
    video.add(moving_square(24)[:12])
    assert (tmp_path / "shared").read_bytes() == before


def test_the_name_appears_only_with_the_whole_file(paths: GrowingPaths) -> None:
    paths.video.write_bytes(b"earlier")
    video = film(paths, moving_square(12))
    assert paths.video.read_bytes() == b"earlier"
    video.close()
    video.close()
    assert len(read_pictures(paths.video, range(20))) == 12
    assert not list(paths.video.parent.rglob("*.part"))


def test_a_growing_file_that_was_cut_is_not_passed_off_as_the_video(paths: GrowingPaths) -> None:
    video = film(paths, moving_square(36))
    paths.growing.write_bytes(paths.growing.read_bytes()[:-3000])
    with pytest.raises(StoreError, match=r"live\.mp4"):
        video.close()
    assert not paths.video.exists()


def test_a_video_without_pictures_is_an_error_and_no_file(paths: GrowingPaths) -> None:
    with pytest.raises(StoreError, match="no picture"):
        begin(paths).close()
    assert not paths.video.exists()


def test_odd_sizes_are_refused_with_the_nearest_that_works(paths: GrowingPaths) -> None:
    with pytest.raises(UserError, match=r"191×113.*even width and height; use 190×112"):
        GrowingVideo(paths, 191, 113, 16)
    assert list(paths.video.parent.iterdir()) == []


def test_pictures_of_another_size_are_refused(paths: GrowingPaths) -> None:
    video = begin(paths)
    with pytest.raises(ValueError, match="the video takes uint8"):
        video.add(moving_square(1, width=190))
    with pytest.raises(ValueError, match="the video takes uint8"):
        video.add(moving_square(1).astype(np.float32))


def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    gone = tmp_path / "missing"
    with pytest.raises(StoreError, match=r"cannot write .*live\.mp4"):
        begin(GrowingPaths(gone / "video.mp4", gone / "live.mp4", gone / "pieces", gone / "live.m3u8"))


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"not a video")
    with pytest.raises(StoreError, match=r"cannot read .*video\.mp4"):
        read_pictures(tmp_path / "video.mp4", [0])


def test_this_machine_has_an_encoder() -> None:
    assert "264" in h264_encoder()
