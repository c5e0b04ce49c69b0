"""Clips of different sizes, rates, time bases and lengths become one film, exact to the picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from memreel.errors import ModelError, UserError
from memreel.film.clips.footage import examine
from memreel.film.merge import RATE, Segment, merge

RED, GREEN, BLUE = (220, 40, 40), (40, 200, 60), (50, 60, 210)


def clip(
    path: Path,
    colour: tuple[int, int, int],
    seconds: float,
    *,
    size: tuple[int, int] = (128, 72),
    fps: Fraction | int = 24,
    time_base: Fraction | None = None,
    tone: int = 0,
    codec: str = "libx264",
    container: str | None = None,
) -> Path:
    """Make a clip of one colour whose left edge counts its pictures in brightness; ``tone``: Hz of its sound."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if time_base:
            stream.time_base = stream.codec_context.time_base = time_base
        sound = file.add_stream("aac", rate=44_100, layout="mono") if tone else None
        for number in range(round(seconds * fps)):
            picture = np.full((size[1], size[0], 3), colour, np.uint8)
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            if time_base:
                frame.pts, frame.time_base = round(number / fps / time_base), time_base
            else:
                frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None:
            wave = 0.5 * np.sin(2 * np.pi * tone * np.arange(round(seconds * 44_100)) / 44_100)
            played = AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
            played.sample_rate = 44_100
            file.mux(sound.encode(played))
            file.mux(sound.encode(None))
    return path


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], 1)


def loudest(samples: np.ndarray) -> float:
    """Return the strongest frequency in Hz."""
    return float(np.abs(np.fft.rfft(samples[0])).argmax() * RATE / samples.shape[1])


def test_sizes_rates_time_bases_and_codecs_are_conformed(tmp_path: Path) -> None:
    segments = [
        Segment(clip(tmp_path / "a.mp4", RED, 2), 32),
        Segment(clip(tmp_path / "b.mp4", GREEN, 2, size=(256, 144), fps=Fraction(30000, 1001)), 32),
        Segment(clip(tmp_path / "c.mov", BLUE, 2, fps=16, time_base=Fraction(1, 90_000)), 32),
        Segment(clip(tmp_path / "d.mkv", RED, 2, size=(64, 36), fps=25, codec="mpeg4"), 32),
    ]
    made = merge(segments, tmp_path / "film.mp4", width=160, height=90, fps=16)
    film = pictures(tmp_path / "film.mp4")
    assert film.shape == (128, 90, 160, 3)
    assert (made.pictures, made.seconds, made.sound) == (128, 8.0, False)
    for number, colour in enumerate((RED, GREEN, BLUE, RED)):
        shown = film[number * 32 : (number + 1) * 32]
        assert np.abs(shown.mean((1, 2)) - colour).max() < 12, number
    with av.open(str(tmp_path / "film.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.average_rate, stream.frames) == (16, 128)
        assert float(stream.duration * stream.time_base) == 8.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "c.mov", "d.mkv", "film.mp4"]


def test_a_film_is_as_long_as_planned_whatever_its_transitions(tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{name}.mp4", colour, 2) for name, colour in (("a", RED), ("b", GREEN), ("c", BLUE))]
    for fades in ((False, False), (True, False), (True, True)):
        segments = [Segment(paths[0], 40), Segment(paths[1], 41, fades[0]), Segment(paths[2], 37, fades[1])]
        merge(segments, tmp_path / "film.mp4", width=128, height=72, fps=24)
        assert len(pictures(tmp_path / "film.mp4")) == 118


def test_a_cross_fade_takes_six_pictures_and_a_cut_none(tmp_path: Path) -> None:
    red, green = clip(tmp_path / "a.mp4", RED, 2), clip(tmp_path / "b.mp4", GREEN, 2)
    for fade in (True, False):
        merge([Segment(red, 24), Segment(green, 24, fade)], tmp_path / "film.mp4", width=128, height=72, fps=24)
        means = pictures(tmp_path / "film.mp4").mean((1, 2))
        share = (means[:, 1] - means[0, 1]) / (means[-1, 1] - means[0, 1])  # of green
        mixed = [number for number, part in enumerate(share) if 0.05 < part < 0.95]
        assert mixed == (list(range(24, 30)) if fade else [])
        if fade:
            assert share[24:30] == pytest.approx(np.arange(1, 7) / 7, abs=0.04)


def test_a_clip_that_is_longer_is_cut_and_one_a_little_shorter_is_held(tmp_path: Path) -> None:
    long, short = clip(tmp_path / "a.mp4", RED, 4), clip(tmp_path / "b.mp4", GREEN, 1.8)
    merge([Segment(long, 48), Segment(short, 48)], tmp_path / "film.mp4", width=128, height=72, fps=24)
    film = pictures(tmp_path / "film.mp4")
    assert len(film) == 96
    assert np.abs(film[95].mean((0, 1)) - GREEN).max() < 12


def test_a_clip_that_is_much_shorter_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", RED, 1)
    with pytest.raises(ModelError, match=r"a\.mp4 has 24 pictures at 24 a second, 48 were planned"):
        merge([Segment(path, 48)], tmp_path / "film.mp4", width=128, height=72, fps=24)
    assert [left.name for left in tmp_path.iterdir()] == ["a.mp4"]


def test_another_shape_is_shown_whole_between_black(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", RED, 1, size=(72, 128))
    merge([Segment(path, 24)], tmp_path / "film.mp4", width=128, height=72, fps=24)
    picture = pictures(tmp_path / "film.mp4")[12]
    assert np.abs(picture[:, 50:78].mean((0, 1)) - RED).max() < 12
    assert picture[:, :36].mean() < 6 > picture[:, 92:].mean()


def test_sound_is_kept_and_cut_with_the_pictures(tmp_path: Path) -> None:
    segments = [
        Segment(clip(tmp_path / "a.mp4", RED, 2, tone=440), 36),
        Segment(clip(tmp_path / "b.mp4", GREEN, 2), 36),
        Segment(clip(tmp_path / "c.mp4", BLUE, 2, tone=880), 36, fade=True),
    ]
    made = merge(segments, tmp_path / "film.mp4", width=128, height=72, fps=24)
    assert made.sound
    heard = sound(tmp_path / "film.mp4")
    assert examine(tmp_path / "film.mp4").pictures == 108
    assert heard.shape[0] == 2
    assert heard.shape[1] == pytest.approx(108 * RATE / 24, abs=2048)  # AAC comes in frames of 1024
    first, silent, last = (heard[:, round(at * RATE) : round((at + 1) * RATE)] for at in (0.2, 1.7, 3.4))
    assert loudest(first) == pytest.approx(440, abs=3)
    assert np.abs(silent).max() < 0.02
    assert loudest(last) == pytest.approx(880, abs=3)
    edge = np.abs(heard[0, round(1.4 * RATE) : round(1.6 * RATE)])
    cut = 1.4 + (np.nonzero(edge > 0.1)[0].max() / RATE)
    assert cut == pytest.approx(1.5, abs=0.01)


def test_chapters_begin_with_their_scenes(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", RED, 2)
    segments = [Segment(path, 24, chapter="The quay"), Segment(path, 12), Segment(path, 30, True, "Träume & “Tränen”")]
    assert merge(segments, tmp_path / "film.mp4", width=128, height=72, fps=24).chapters == 2
    with av.open(str(tmp_path / "film.mp4")) as file:
        told = [
            (
                mark["metadata"]["title"],
                float(mark["start"] * mark["time_base"]),
                float(mark["end"] * mark["time_base"]),
            )
            for mark in file.chapters()
        ]
    assert told == [("The quay", 0.0, 1.5), ("Träume & “Tränen”", 1.5, 2.75)]


def test_the_same_clips_give_the_same_file(tmp_path: Path) -> None:
    segments = [
        Segment(clip(tmp_path / "a.mp4", RED, 1, tone=300), 20, chapter="one"),
        Segment(clip(tmp_path / "b.mp4", BLUE, 1), 20, True),
    ]
    for name in ("x.mp4", "y.mp4"):
        merge(segments, tmp_path / name, width=128, height=72, fps=24)
    assert (tmp_path / "x.mp4").read_bytes() == (tmp_path / "y.mp4").read_bytes()


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ModelError, match=r"a\.mp4 cannot be decoded"):
        merge([Segment(tmp_path / "a.mp4", 24)], tmp_path / "film.mp4", width=128, height=72, fps=24)
    with pytest.raises(UserError, match="even"):
        merge([Segment(tmp_path / "a.mp4", 24)], tmp_path / "film.mp4", width=127, height=72, fps=24)
    with pytest.raises(ValueError, match="segments"):
        merge([], tmp_path / "film.mp4", width=128, height=72, fps=24)
