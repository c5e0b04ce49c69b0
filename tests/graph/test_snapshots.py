"""Snapshots in a run: few passes to go on with it, and as if nothing had been, whatever happens to them."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from memreel.benchmarks.kills import differing
from memreel.cli import main
from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.graph.history import fork_at
from memreel.graph.latents import log_of, read_latents
from memreel.graph.render import generate
from memreel.graph.snapshots import STATE, Snapshots, files_of, snapshots_of
from memreel.model import load
from memreel.model.passes import Passes
from memreel.model.protocol import BEGINNING, Log, Snapshot
from memreel.model.wan.stream import WanStream
from memreel.output.run_folder import RunFolder
from memreel.script import Script
from memreel.tests.graph.stopped_run import full_for
from memreel.tests.graph.test_resume import Runs
from memreel.tests.model.wan.small_wan import write_model

PROMPTS = (
    "Mia, a young woman with red hair, walks in the park.",
    "Tom, an old man, waits in the library.",
    "Mia walks.",
)
SCRIPT = Script("film", PROMPTS)
EVERY = 3
SCHEMA = Path(__file__).parent / "schemas" / "event.schema.json"


def settings(weights: Path, *more: str) -> list[str]:
    small = ["model.wan.width=64", "model.wan.height=32", "model.wan.precision=fp32", "model.wan.codec=tiny"]
    files = [f"model.weights={weights}", f"model.wan.checkpoint={weights / 'causal.pt'}", "model.wan.lora=null"]
    bank = ["memory.store=kv", "memory.frames_per_entity=1", "memory.slots=2", "chunks_per_prompt=4"]
    return [*small, *files, *bank, "model.device=cpu", f"model.wan.snapshot_every={EVERY}", *more]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def config(weights: Path) -> RunConfig:
    return load_config("wan-1.3b", settings(weights))


@pytest.fixture(autouse=True, scope="module")
def built_in() -> Iterator[None]:
    """Let no chat model be asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MEMREEL_LLM_MODEL", raising=False)
        yield


def make(out: Path, config: RunConfig, after: int = 12) -> RunFolder:
    """Make the film, or go on with it, and stop after so many of its twelve chunks."""
    chunks = generate(SCRIPT, out, config, resume=True)
    for chunk in chunks:
        if chunk.event["index"] + 1 == after != 12:
            break
    chunks.close()  # type: ignore[attr-defined]
    return RunFolder(out / "film")


@pytest.fixture(scope="module")
def whole(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The film, uninterrupted."""
    return make(tmp_path_factory.mktemp("whole"), config)


@pytest.fixture(scope="module")
def stopped(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The film, stopped after eight chunks; its snapshots are after three and six."""
    return make(tmp_path_factory.mktemp("stopped"), config, 8)


@pytest.fixture
def half(stopped: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the stopped film, to be damaged."""
    shutil.copytree(stopped.path, tmp_path / "half" / "film")
    return RunFolder(tmp_path / "half" / "film")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every restoring of a stream that came to its end: from which snapshot, by how many clean passes."""
    done, passes, restore, write = list[tuple[int, int]](), [0], WanStream.restore, Passes.write

    def restoring(self: WanStream, log: Log, index: int, snapshot: Snapshot = BEGINNING) -> Any:
        before = passes[0]
        last = restore(self, log, index, snapshot)
        done.append((snapshot.index, passes[0] - before))
        return last

    def writing(self: Passes, *given: Any) -> Any:
        passes[0] += 1
        return write(self, *given)

    monkeypatch.setattr(WanStream, "restore", restoring)
    monkeypatch.setattr(Passes, "write", writing)
    return done


def faults(folder: RunFolder) -> list[str]:
    """Return what the log says of snapshots, in the words of its format."""
    events = [event for event in folder.read_events() if event["type"] == "snapshot"]
    for event in events:
        jsonschema.validate(event, json.loads(SCHEMA.read_text()))
    return [f"{event['index']} {event['fault']}" for event in events]


def same_film(folder: RunFolder, whole: RunFolder) -> None:
    """Compare all but what is said of snapshots, and which there are."""
    assert {name for name in differing(folder, whole) if "snapshots" not in name} <= {"events.jsonl"}
    one, other = ([e for e in f.read_events() if e["type"] in ("prompt", "chunk")] for f in (folder, whole))
    timed = ("seconds", "read_in", "waited")
    assert [{k: v for k, v in e.items() if k not in timed} for e in one] == [
        {k: v for k, v in e.items() if k not in timed} for e in other
    ]
    assert folder.complete()


def test_a_run_goes_on_from_its_newest_snapshot_and_ends_as_if_nothing_had_been(
    half: RunFolder, whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]]
) -> None:
    assert list(snapshots_of(half)) == [3, 6]
    make(half.path.parent, config)
    assert restored == [(6, 2)]
    assert list(snapshots_of(half)) == [9, 12]
    assert differing(half, whole) == [], "snapshots too are the same to the last byte"
    assert faults(half) == []


@pytest.mark.parametrize("stops", [range(1, 12), range(3, 12, 3)])
def test_wherever_it_stops_no_more_chunks_are_done_again_than_lie_between_two_snapshots(
    stops: range, whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]], tmp_path: Path
) -> None:
    for after in [*stops, 12]:
        make(tmp_path, config, after)
    assert len(restored) == len(stops)
    for index, (begun, passes) in zip(stops, restored, strict=True):
        switches = sum(begun <= at < index for at in (4, 8))
        assert index - begun <= EVERY
        assert passes == index - begun + 2 * switches, "the window is two chunks"
    assert differing(RunFolder(tmp_path / "film"), whole) == []


def test_memory_frames_that_the_bank_dropped_since_come_from_the_snapshot(stopped: RunFolder) -> None:
    """Else a run would have to go on from the beginning whenever the bank has found a better frame."""
    attended = {name for index in (6, 7) for name in read_latents(stopped, index)[1]["memory"]}
    linked = {path.stem for path in files_of(snapshots_of(stopped)[6])}
    there = {path.stem for path in (stopped.stream / "memory").iterdir()}
    assert attended & linked - there
    both = (linked & there).pop()
    kept = stopped.stream / "memory" / f"{both}.safetensors"
    assert kept.samefile(snapshots_of(stopped)[6] / kept.name)


def flipped(path: Path) -> None:
    """Flip a bit of this file alone, not of others that are links to the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.unlink()
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def a_frame_of(folder: RunFolder, snapshot: int) -> str:
    """Return the file of a memory frame that the chunk after a snapshot attended to."""
    names = {path.name for path in files_of(snapshots_of(folder)[snapshot])}
    return next(f"{n}.safetensors" for n in read_latents(folder, snapshot)[1]["memory"] if f"{n}.safetensors" in names)


@pytest.mark.parametrize("damage", [flipped, cut, Path.unlink], ids=["flipped", "cut", "gone"])
@pytest.mark.parametrize("what", ["state", "frame"])
def test_a_damaged_snapshot_is_named_and_the_one_before_is_gone_on_from(
    damage: Callable[[Path], None],
    what: str,
    half: RunFolder,
    whole: RunFolder,
    config: RunConfig,
    restored: list[tuple[int, int]],
) -> None:
    name = STATE if what == "state" else a_frame_of(half, 6)
    path = snapshots_of(half)[6] / name
    damage(path)
    make(half.path.parent, config)
    assert restored == [(3, 5 + 2)]
    [fault] = faults(half)
    assert fault.startswith("6 not gone on from: ")
    assert str(path) in fault
    same_film(half, whole)
    assert list(snapshots_of(half)) == [9, 12]


def test_with_all_snapshots_damaged_the_whole_log_is_gone_on_from(
    half: RunFolder, whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]]
) -> None:
    for snapshot in snapshots_of(half).values():
        flipped(snapshot / STATE)
    make(half.path.parent, config)
    assert restored == [(0, 8 + 2)]
    assert [fault.split()[0] for fault in faults(half)] == ["6", "3"]
    same_film(half, whole)


def test_damaged_latents_are_named_and_the_snapshots_left_alone(
    half: RunFolder, config: RunConfig, restored: list[tuple[int, int]]
) -> None:
    path = half.stream / "latents" / "000007.safetensors"
    content = path.read_bytes()
    cut(path)
    with pytest.raises(Exception, match=r"000007\.safetensors"):
        make(half.path.parent, config)
    assert list(snapshots_of(half)) == [3, 6]
    path.write_bytes(content)
    make(half.path.parent, config, 9)
    assert restored == [(6, 2)]


@pytest.mark.parametrize("where", ["file", "link"])
def test_a_full_disk_for_a_snapshot_is_said_and_the_run_goes_on(
    where: str, half: RunFolder, whole: RunFolder, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "file":
        full_for("snapshots", set(), monkeypatch)
    else:
        monkeypatch.setattr("memreel.graph.snapshots.share", no_room)
    make(half.path.parent, config)
    said = faults(half)
    assert [fault.split(":")[0] for fault in said] == ["9 not written", "12 not written"]
    assert all("No space left on device" in fault for fault in said)
    assert [path.name for path in sorted(half.snapshots.iterdir())] == ["000003", "000006"]
    same_film(half, whole)


def test_killed_while_a_snapshot_is_written_or_an_old_one_removed_it_ends_as_if_nothing_had_been(
    weights: Path, tmp_path: Path
) -> None:
    class WanRuns(Runs):
        def arguments(self, out: Path, *more: str) -> list[str]:
            words = [word for setting in settings(weights) for word in ("--set", setting)]
            return ["run", str(self.script), "--out", str(out), "--config", "wan-1.3b", *words, *more]

    runs = WanRuns(tmp_path)
    runs.script.write_text(json.dumps({"prompts": PROMPTS}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    try:
        assert runs.make(whole)[0] == 0, runs.said.read_text()
        for file in ("snapshots/000003", ".000012.part/.stream"):
            assert runs.make(killed, file=file)[0] == -signal.SIGKILL, runs.said.read_text()
        assert list(snapshots_of(RunFolder(killed / "film")))[-2:] == [6, 9]
        assert runs.make(killed)[0] == 0, runs.said.read_text()
    finally:
        runs.close()
    same_film(RunFolder(killed / "film"), RunFolder(whole / "film"))
    assert faults(RunFolder(killed / "film")) == []


def test_killed_before_a_snapshot_got_its_name_it_goes_on_from_the_one_before(
    half: RunFolder, whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]]
) -> None:
    (half.snapshots / "000006").rename(half.snapshots / ".000006.part")
    make(half.path.parent, config)
    assert restored == [(3, 5 + 2)]
    assert differing(half, whole) == []


def test_a_fork_shares_the_snapshots_till_then_and_takes_no_later_one(
    whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]], tmp_path: Path
) -> None:
    origin, bare = RunFolder(tmp_path / "origin" / "film"), RunFolder(tmp_path / "bare" / "film")
    for copy in (origin, bare):
        shutil.copytree(whole.path, copy.path)
    shutil.rmtree(bare.snapshots)
    made = [fork_at(run, 3, 2, ["Tom walks."], run.path.parent) for run in (origin, bare)]
    [(index, snapshot)] = snapshots_of(made[0]).items()
    assert index == 9
    assert all(file.samefile(origin.snapshots / "000009" / file.name) for file in files_of(snapshot))
    for run in made:
        assert main(["resume", str(run.path)]) == 0
    assert restored == [(9, 1), (0, 10 + 4)]
    assert list(snapshots_of(origin)) == [9, 12]
    same_film(*made)
    assert snapshots_of(fork_at(origin, 2, 4, ["Tom walks."], tmp_path / "early")) == {}


def test_a_stream_that_goes_back_leaves_no_snapshot_of_what_will_be_made_anew(
    whole: RunFolder, config: RunConfig, restored: list[tuple[int, int]], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "film")
    shutil.copytree(whole.path, folder.path)
    stream = load(config.model).open(config.seed)
    Snapshots(folder, stream).restore(log_of(folder), 11)
    assert list(snapshots_of(folder)) == [9]
    snapshots = Snapshots(folder, stream)
    snapshots.restore(log_of(folder), 9)
    assert list(snapshots_of(folder)) == [9]
    before = files_of(snapshots_of(folder)[9])[0].stat().st_mtime_ns
    snapshots.take([])
    snapshots.close()
    assert list(snapshots.faults()) == []
    assert list(snapshots_of(folder)) == [9], "it is taken anew"
    assert files_of(snapshots_of(folder)[9])[0].stat().st_mtime_ns > before
    Snapshots(folder, stream).restore(log_of(folder), 5)
    assert snapshots_of(folder) == {}
    assert [begun for begun, _ in restored] == [9, 0, 0]


def test_the_interval_may_change_while_a_video_is_made_and_zero_takes_none(
    half: RunFolder, whole: RunFolder, weights: Path, restored: list[tuple[int, int]]
) -> None:
    make(half.path.parent, load_config("wan-1.3b", settings(weights, "model.wan.snapshot_every=0")))
    assert restored == [(6, 2)]
    assert list(snapshots_of(half)) == [3, 6]
    same_film(half, whole)


def test_a_check_names_whatever_of_a_snapshot_is_not_as_it_was_written(
    half: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(half.path)]) == 0, capsys.readouterr().out
    snapshot = snapshots_of(half)[3]
    assert len(files_of(snapshot)) > 1
    for path in files_of(snapshot):
        before = path.read_bytes()
        flipped(path)
        assert main(["check", str(half.path)]) == 1
        assert str(path) in capsys.readouterr().out
        path.write_bytes(before)
    (snapshot / STATE).unlink()
    assert main(["check", str(half.path)]) == 1
    assert str(snapshot / STATE) in capsys.readouterr().out
