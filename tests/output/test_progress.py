"""The progress of a run: live on a terminal, a few plain lines in a pipe."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from memreel.output.progress import RunProgress


def events(chunks: int) -> list[dict[str, Any]]:
    """Return a run of two prompts of four chunks each, up to its ``chunks``-th chunk."""
    who = [
        [{"entity": "Mia", "kind": "character", "attrs": [], "global_id": 1}],
        [
            {"entity": "she", "kind": "character", "attrs": [], "global_id": 1},
            {"entity": "dog", "kind": "object", "attrs": [], "global_id": 2},
        ],
    ]
    log: list[dict[str, Any]] = [{"type": "run", "chunks_per_prompt": 4, "chunk_pictures": 12}]
    for index in range(chunks):
        prompt, chunk = divmod(index, 4)
        if chunk == 0:
            text = ["Mia [bold]waves.", "She has a dog."][prompt]
            memory = [["p0"], ["p1_c1_f0"]][prompt]
            log.append(
                {"type": "prompt", "prompt_id": prompt + 1, "prompt": text, "entities": who[prompt], "memory": memory}
            )
        log.append(
            {"type": "chunk", "prompt_id": prompt + 1, "chunk_id": chunk + 1, "memory_next": [f"p1_c{index}_f1"]}
        )
    return log


def shown(progress: RunProgress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(progress.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_display_tells_prompt_chunk_cast_memory_rate_and_time_left() -> None:
    times = iter(range(100))
    progress = RunProgress(Console(file=io.StringIO()), "library", prompts=2, clock=lambda: float(next(times)))
    assert "loading the model" in shown(progress)
    for event in events(chunks=6):
        progress.update(event)
    text = shown(progress)
    assert "2/2  She has a dog." in text
    assert "chunk   2/4" in text
    assert "Mia #1" in text
    assert "dog #2" in text
    assert "p1_c5_f1" in text
    assert "6/8 chunks · 12.0 pictures/s · 0:02 left" in text


def test_a_snapshot_that_failed_is_told_with_the_reason() -> None:
    console = Console(file=io.StringIO(), width=100)
    fault = "not written: cannot write /runs/library/stream: No space left on device"
    RunProgress(console, "library", prompts=2).update({"type": "snapshot", "index": 240, "fault": fault})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"library: snapshot after 240 chunks {fault}\n"


def test_a_live_run_that_is_gone_on_with_counts_no_prompts_in_all() -> None:
    progress = RunProgress(Console(file=io.StringIO()), "live", prompts=1)
    begun, *rest = events(chunks=6)
    for event in [{**begun, "live": True}, *rest]:
        progress.update(event)
    assert "2  She has a dog." in shown(progress)
    assert "/1" not in shown(progress)


def test_a_prompt_that_was_cut_short_makes_the_whole_shorter() -> None:
    progress = RunProgress(Console(file=io.StringIO()), "film", prompts=2)
    begun, *rest = events(chunks=8)
    cut = [event for event in rest if event["type"] == "prompt" or (event["prompt_id"], event["chunk_id"]) != (1, 4)]
    for event in [begun, *cut]:
        progress.update(event)
    assert "7/7 chunks" in shown(progress)


def test_a_new_prompt_shows_what_was_recalled_for_it_and_markup_in_a_prompt_is_text() -> None:
    progress = RunProgress(Console(file=io.StringIO()), "library", prompts=2)
    log = events(chunks=5)
    for event in log[:2]:
        progress.update(event)
    assert "Mia [bold]waves." in shown(progress)
    for event in log[2:-1]:
        progress.update(event)
    text = shown(progress)
    assert "chunk   0/4" in text
    assert "p1_c1_f0" in text


def test_in_a_pipe_there_are_plain_lines_per_prompt_and_no_escape_codes() -> None:
    console = Console(file=io.StringIO(), width=40)
    with RunProgress(console, "library", prompts=2) as progress:
        for event in events(chunks=8):
            progress.update(event)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "library: 2 prompts, loading"
    assert lines[1] == "library: prompt 1/2: cast Mia #1; memory p0"
    assert lines[3] == "library: prompt 2/2: cast she #1, dog #2; memory p1_c1_f0"
    assert lines[4].startswith("library: prompt 2/2: done, 8/8 chunks")
    assert len(lines) == 5
    assert "\x1b" not in console.file.getvalue()


def test_a_terminal_gets_one_live_display_that_is_cleared_at_the_end() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with RunProgress(console, "library", prompts=2) as progress:
        for event in events(chunks=8):
            progress.update(event)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "8/8 chunks" in text
    assert text.endswith("\x1b[2K")  # its last line erased


def test_who_reads_is_told_and_what_goes_wrong_at_every_prompt_is_told_once() -> None:
    told = io.StringIO()
    progress = RunProgress(Console(file=told, width=200), "library", prompts=3)
    failed = "judge-1: HTTP 401, the key is refused; the analyst read this prompt"
    log: list[dict[str, Any]] = [{"type": "run", "chunks_per_prompt": 1, "reader": "judge-1"}]
    for number, notes in enumerate([[failed], [failed], ["judge-1: answer 1 sent back ([bold])"]], start=1):
        log.append({"type": "prompt", "prompt_id": number, "prompt": "A dog.", "entities": [], "notes": notes})
    with progress:
        for event in log:
            progress.update(event)
    lines = told.getvalue().splitlines()
    assert lines.count("library: prompts are read by judge-1") == 1
    assert [line for line in lines if "judge-1:" in line] == [
        f"library: prompt 1/3: {failed}",
        "library: prompt 3/3: judge-1: answer 1 sent back ([bold])",
    ]
