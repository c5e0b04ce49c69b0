"""The report: alone and offline, everything of the run in it, and nobody's text becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from memreel.errors import StoreError
from memreel.output import pictures
from memreel.output.record import Mention, read_record
from memreel.output.report import coloured, runs, write_report
from memreel.output.run_folder import RunFolder

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """The page as a browser sees it: tags, attributes, text, and whether it nests."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def html(finished_run: RunFolder) -> str:
    return write_report(finished_run).read_text(encoding="utf-8")


def test_the_page_is_whole_and_asks_for_nothing_outside_itself(html: str) -> None:
    page = Page(html)
    assert page.open == []
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, name)
        if tag == "link":
            assert attrs["href"] == "data:,"
    assert "@import" not in html
    assert all(address.startswith("data:image/") for address in re.findall(r"url\(([^)]*)\)", html))
    [policy] = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_every_chunk_prompt_entity_and_memory_frame_is_shown(html: str, finished_run: RunFolder) -> None:
    page, record = Page(html), read_record(finished_run)
    assert [attrs["data-chunk"] for attrs in page.with_class("thumb")] == [str(i) for i in range(12)]
    for part in record.prompts:
        assert part.prompt.split(",")[0] in page.text.replace(" ,", ",")
    assert len(page.with_class("card")) == len(record.cast) == 3
    for member in record.cast.values():
        assert member.name in page.text
        assert all(attr in page.text for attr in member.attrs)
    kept = [frame for frame in record.frames.values() if frame.stored]
    assert kept
    for frame in kept:
        assert frame.frame_id in page.text
        assert all(f"{score:.2f}" in page.text for score in frame.scores.values())


def test_what_enrichment_added_is_marked_and_the_users_words_are_not(html: str) -> None:
    marks = [re.sub(r"<[^>]+>", "", mark) for mark in re.findall(r"<mark>(.*?)</mark>", html)]
    assert "Noah: black hair, yellow jacket." in marks
    assert not any("reads alone" in mark for mark in marks)


def test_the_data_behind_a_chunk_says_what_it_attended_to(html: str, finished_run: RunFolder) -> None:
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    logged = [event for event in finished_run.read_events() if event["type"] == "chunk"]
    for chunk, event in zip(data["chunks"], logged, strict=True):
        assert (chunk["memory"], chunk["evicted"], chunk["kept"]) == (
            event["memory"],
            event["evicted"],
            event["kept_frame"],
        )
        assert all(data["frames"][name]["cls"] for name in chunk["memory"])  # dropped frames are shown from the video
    assert data["seconds"] == pytest.approx(0.75)
    assert [chunk["local"] for chunk in data["chunks"][:5]] == [[], [], [1], [1, 2], [2, 3]]


def test_the_timeline_has_a_lane_per_cast_member_with_the_prompts_they_are_in(html: str) -> None:
    page = Page(html)
    labels = [attrs["aria-label"] or "" for attrs in page.with_class("track") if attrs.get("aria-label")]
    assert [label.split(":")[0] for label in labels] == ["Mia", "Noah", "notebook"]
    assert "in 2 prompts" in labels[0]
    assert "in 1 prompts" in labels[2]


def test_names_and_prompts_cannot_become_markup(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    evil = '</script><script>alert("x")</script><img src=http://evil.example/x.png onerror=alert(1)>'
    folder.append_event({"type": "run", "video_id": evil})
    entity = {"entity": evil, "kind": "character", "attrs": [evil], "global_id": 1}
    folder.append_event(
        {"type": "prompt", "prompt_id": 1, "prompt": evil, "text": f"{evil} {evil}", "entities": [entity],
         "memory": [], "reader": evil, "seconds": {}}
    )  # fmt: skip
    folder.append_event(
        {"type": "chunk", "index": 0, "prompt_id": 1, "chunk_id": 1, "evicted": None, "kept_frame": None,
         "memory": [], "memory_next": [], "seconds": {evil: 0.1}}
    )  # fmt: skip
    html = write_report(folder).read_text(encoding="utf-8")
    page = Page(html)
    assert html.count("<script") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert evil in page.text


def test_the_report_shows_scenes_notes_looks_and_the_directors_steps(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    entities = [{"entity": "Mia", "kind": "character", "attrs": ["red hair"], "global_id": 1}]
    folder.append_event(
        {"type": "prompt", "prompt_id": 1, "prompt": "Mia comes in.", "text": "Mia comes in.", "memory": [],
         "entities": entities, "scene": {"place": "old library", "enters": [1]}, "reader": "analyst",
         "notes": ["m: timeout; the analyst read this prompt"], "seconds": {}, "read_in": 2.5, "waited": 1.25,
         "calls": [{"model": "m", "seconds": 2.0, "input_tokens": 1500, "output_tokens": 34, "outcome": "ok"},
                   {"model": "m", "seconds": 0.5, "input_tokens": 0, "output_tokens": 0, "outcome": "timeout"}]}
    )  # fmt: skip
    folder.append_event(
        {"type": "check", "global_id": 1, "frame": "p1_c2_f0", "by": "a model that sees", "attrs": ["blond hair"],
         "score": 0.75, "notes": [], "calls": []}
    )  # fmt: skip
    folder.append_event(
        {"type": "director",
         "tools": [{"name": "rewind", "error": "there is nothing to forget"}, {"name": "next_prompt"}],
         "notes": ["the budget is spent"], "spent": {"calls": 3, "chunks": 2, "seconds": 0.5}}
    )  # fmt: skip
    text = Page(write_report(folder).read_text()).text
    for shown in (
        "enters", "in: old library", "m: timeout; the analyst read this prompt",
        "by a model that sees: blond hair; shows it 0.75",
        "1.2 s", "2, 1 of no use, 1,534 tokens",
        "refused: there is nothing to forget", "next_prompt", "the budget is spent", "3 calls, 2 chunks, 0.5 seconds",
    ):  # fmt: skip
        assert shown in text


def test_a_run_that_has_not_ended_gets_a_report_that_says_so(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    assert "not ended" in Page(write_report(folder).read_text()).text
    folder.append_event(
        {"type": "prompt", "prompt_id": 1, "prompt": "Mia waves.", "text": "Mia waves.", "memory": [],
         "entities": [{"entity": "Mia", "kind": "character", "attrs": ["red hair"], "global_id": 1}],
         "reader": "analyst", "seconds": {}}
    )  # fmt: skip
    page = Page(write_report(folder).read_text())
    assert "There is no video yet." in page.text
    assert "red hair" in page.text


def test_a_small_video_is_embedded_and_a_large_one_linked(
    html: str, finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    [video] = [attrs["src"] or "" for tag, attrs in Page(html).tags if tag == "video"]
    assert video.startswith("data:video/mp4;base64,")
    monkeypatch.setattr(pictures, "VIDEO_BYTES", 10)
    linked = pictures.collect(finished_run, read_record(finished_run))
    assert linked.source == "video.mp4"


def test_a_damaged_video_is_named(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "video")
    folder.events.write_bytes(finished_run.events.read_bytes())
    folder.video.write_bytes(b"not a video")
    with pytest.raises(StoreError, match=r"video\.mp4"):
        write_report(folder)
    assert not folder.report.exists()


def test_wordings_are_coloured_as_whole_words_and_the_longest_wins() -> None:
    mentions = [
        Mention("red notebook", "object", [], 3),
        Mention("notebook", "object", [], 2),
        Mention("Al", "", [], 1),
    ]
    pieces = coloured("Al has also a red notebook; the notebook is his.", mentions)
    assert [text for text, hue in pieces if hue is not None] == ["Al", "red notebook", "notebook"]
    assert "".join(text for text, _ in pieces) == "Al has also a red notebook; the notebook is his."


def test_consecutive_chunks_join_into_one_span() -> None:
    assert runs([9, 3, 4, 5]) == [(3, 6), (9, 10)]
    assert runs([]) == []
