"""The frame store: exact, whole or absent, bounded in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memreel.errors import StoreError
from memreel.memory.frames import FrameStore
from memreel.model.protocol import EvictedChunk, MemoryFrame

Paint = Callable[..., EvictedChunk]


LATENT, KEYS = 5 * 2 * 2 * 4, 2 * 4 * 1 * 2 * 4
TWO = {"kv": 2 * (LATENT + 2 * KEYS), "latent": 2 * LATENT}
"""Bytes that two painted frames take."""


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "stream" / "memory", tmp_path / "frames", TWO)


def reopened(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "stream" / "memory", tmp_path / "frames")


def test_a_frame_comes_back_bit_for_bit_in_another_process(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    chunk = paint(4, Mia=0.3)
    frame = chunk.frame(1, "p1_c5_f1")
    store.put(frame, chunk.pictures[1])
    again = reopened(tmp_path).get("p1_c5_f1")
    assert (again.frame_id, again.index, again.frame) == ("p1_c5_f1", 4, 1)
    for name in ("latent", "keys", "values"):
        assert torch.equal(getattr(again, name), getattr(frame, name))
        assert torch.equal(getattr(store.get("p1_c5_f1"), name), getattr(frame, name))


def test_half_precision_survives(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    frame = paint(1).frame(0, "p1_c2_f0")
    half = type(frame)("p1_c2_f0", 1, 0, frame.latent.bfloat16(), frame.keys.bfloat16(), frame.values.half())
    store.put(half, np.zeros((4, 4, 3), np.uint8))
    again = reopened(tmp_path).get("p1_c2_f0")
    assert (again.latent.dtype, again.values.dtype) == (torch.bfloat16, torch.float16)
    assert torch.equal(again.keys, half.keys)


def test_the_picture_lies_where_its_path_says(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    chunk = paint(9)
    path = store.put(chunk.frame(2, "p1_c10_f2"), chunk.pictures[2])
    assert path == "frames/p1_c10_f2.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / path)), chunk.pictures[2])


def test_no_temporary_file_is_left(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    chunk = paint(0)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["frames/p1_c1_f0.png", "stream/memory/p1_c1_f0.safetensors"]


def test_a_failed_write_leaves_the_earlier_frame_whole(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    chunk, later = paint(0), paint(5)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memreel.output.durable.os.fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*p1_c1_f0.safetensors: No space left"):
        store.put(later.frame(0, "p1_c1_f0"), later.pictures[0])
    assert torch.equal(reopened(tmp_path).get("p1_c1_f0").keys, chunk.keys[:, 0])


def test_a_missing_frame_is_named(store: FrameStore) -> None:
    with pytest.raises(StoreError, match=r"memory/p1_c1_f0.safetensors: memory frame p1_c1_f0 is missing"):
        store.get("p1_c1_f0")


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "bit", "renamed"])
def test_a_damaged_frame_is_named(store: FrameStore, tmp_path: Path, damage: str, paint: Paint) -> None:
    chunk = paint(0)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    path = tmp_path / "stream" / "memory" / "p1_c1_f0.safetensors"
    content = path.read_bytes()
    frame_id = "p1_c1_f0"
    if damage == "renamed":
        frame_id = "p2_c1_f0"
        path.rename(path.with_name("p2_c1_f0.safetensors"))
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
        path.write_bytes({"cut": content[:-7], "empty": b"", "garbage": b"\xff" * 400, "bit": flipped}[damage])
    with pytest.raises(StoreError, match=rf"memory/{frame_id}.safetensors"):
        reopened(tmp_path).get(frame_id)


def test_a_dropped_frame_can_be_gone_back_to_until_the_store_settles(
    store: FrameStore, tmp_path: Path, paint: Paint
) -> None:
    chunk = paint(0)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    store.drop("p1_c1_f0")
    store.drop("p1_c1_f0")
    assert torch.equal(reopened(tmp_path).get("p1_c1_f0").keys, chunk.keys[:, 0])
    store.settle()
    store.settle()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.raises(StoreError, match="missing"):
        store.get("p1_c1_f0")


def test_only_the_newest_few_are_served_without_the_disk(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    for index in range(3):
        chunk = paint(index)
        store.put(chunk.frame(0, f"p1_c{index + 1}_f0"), chunk.pictures[0])
    for path in (tmp_path / "stream" / "memory").iterdir():
        path.unlink()
    assert store.get("p1_c3_f0").index == 2
    assert store.get("p1_c2_f0").index == 1
    with pytest.raises(StoreError, match="p1_c1_f0 is missing"):
        store.get("p1_c1_f0")


@pytest.mark.parametrize(("kind", "most", "frames"), [("kv", 2e9, 6), ("latent", 50e6, 112)])
def test_frames_of_full_size_are_held_within_bounds_however_many_come(
    tmp_path: Path, kind: str, most: float, frames: int
) -> None:
    """Wan 2.1 1.3B at 832x480; the tensors have their sizes and take no memory."""
    store = FrameStore(tmp_path / "t", tmp_path / "p")
    with torch.device("meta"):
        latent, keys = torch.empty(16, 60, 104), torch.empty(30, 1560, 12, 128, dtype=torch.bfloat16)
    pair = (keys, keys) if kind == "kv" else (None, None)
    for index in range(300):
        store._hold(MemoryFrame(f"p1_c{index}_f0", index, 0, latent, *pair))
        assert store.bytes_held(kind) < most
    assert [int(name.split("_")[1][1:]) for name in store._held] == list(range(300 - frames, 300))


def test_both_kinds_are_held_beside_each_other(store: FrameStore, paint: Paint) -> None:
    for index in range(4):
        chunk = paint(index)
        store.put(chunk.frame(0, f"p1_c{index}_f0"), chunk.pictures[0])
        store.put(chunk.frame(0, f"p1_c{index}_f1", latent_only=True), chunk.pictures[0])
    assert {kind: store.bytes_held(kind) for kind in TWO} == TWO


@pytest.mark.parametrize("frame_id", ["../secret", "a/b", "", "/etc/passwd"])
def test_an_id_cannot_leave_the_folder(store: FrameStore, frame_id: str) -> None:
    with pytest.raises(StoreError, match="is no memory frame's id"):
        store.get(frame_id)


def test_a_frame_put_again_after_it_was_dropped_stays(store: FrameStore, paint: Paint) -> None:
    chunk = paint(0)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    store.drop("p1_c1_f0")
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    store.settle()
    assert store.intact("p1_c1_f0")


def test_a_sweep_leaves_what_is_to_be_kept(store: FrameStore, tmp_path: Path, paint: Paint) -> None:
    for index in range(3):
        chunk = paint(index)
        store.put(chunk.frame(0, f"p1_c{index + 1}_f0"), chunk.pictures[0])
    store.sweep({"p1_c2_f0"})
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["p1_c2_f0.png", "p1_c2_f0.safetensors"]
    with pytest.raises(StoreError, match="missing"):
        store.get("p1_c3_f0")


@pytest.mark.parametrize("name", ["stream/memory/p1_c1_f0.safetensors", "frames/p1_c1_f0.png"])
@pytest.mark.parametrize("damage", ["cut", "gone", "bit"])
def test_damage_to_either_file_is_seen(store: FrameStore, tmp_path: Path, name: str, damage: str, paint: Paint) -> None:
    chunk = paint(0)
    store.put(chunk.frame(0, "p1_c1_f0"), chunk.pictures[0])
    assert store.intact("p1_c1_f0")
    content = (tmp_path / name).read_bytes()
    middle = len(content) * 2 // 3
    (tmp_path / name).write_bytes(
        content[:middle] if damage == "cut" else content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    )
    if damage == "gone":
        (tmp_path / name).unlink()
    assert not store.intact("p1_c1_f0")
