"""Scripts from files and standard input, and every fault in one line with its place and cure."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from memreel.errors import UserError
from memreel.script import Script, read_scripts, slug


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def fault(source: str | Path, stdin: bytes | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_scripts(source, io.BytesIO(stdin) if stdin is not None else None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_line_of_jsonl_is_one_video_named_after_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "library.jsonl", '{"prompts": ["Mia enters.", " Mia sits. "]}\n')
    assert read_scripts(path) == [Script("library", ("Mia enters.", "Mia sits."))]


def test_each_line_of_jsonl_is_a_video_with_an_id_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, "my films!.jsonl", '{"prompts": ["a"]}\n\n{"prompts": ["a"]}\r\n')
    assert [script.video_id for script in read_scripts(path)] == ["my-films-1", "my-films-3"]


def test_a_text_file_is_a_video_with_a_prompt_a_line_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, "walk.txt", "\ufeffMia enters.\r\n\n  Mia sits.\n")
    assert read_scripts(path) == [Script("walk", ("Mia enters.", "Mia sits."))]


def test_standard_input_is_jsonl_or_text() -> None:
    assert read_scripts("-", io.BytesIO(b'{"prompts": ["a", "b"]}')) == [Script("stdin", ("a", "b"))]
    assert read_scripts("-", io.BytesIO(b"a\nb\n")) == [Script("stdin", ("a", "b"))]
    assert "standard input: no prompts" in fault("-", b"\n")


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "library.jsonl", "")
    assert "did you mean 'library.jsonl'?" in fault(tmp_path / "libary.jsonl")
    assert "no folder" in fault(tmp_path / "none" / "a.txt")


def test_a_directory_and_an_unknown_kind_are_refused_with_the_kinds_that_do(tmp_path: Path) -> None:
    assert "is a directory" in fault(tmp_path)
    assert ".jsonl" in fault(write(tmp_path, "script.docx", b"PK"))


def test_broken_json_is_reported_with_file_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"prompts": ["a"]}\n{"prompts": ["a",]}\n')
    assert fault(path).startswith(f"{path}, line 2: broken JSON at column ")
    assert "line 1: JSON that cannot be read" in fault(write(tmp_path, "deep.jsonl", "[" * 100_000))


def test_bytes_that_are_not_utf8_are_reported_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"fine\nna\xefve\n")
    assert fault(path) == f"{path}, line 2: not UTF-8; save it as UTF-8"


@pytest.mark.parametrize(
    ("video", "says"),
    [
        ([], "must be an object"),
        ("a", "must be an object"),
        ({}, "no prompts; write"),
        ({"prompt": ["a"]}, "did you mean 'prompts' for 'prompt'?"),
        ({"prompts": []}, "no prompts; give at least one"),
        ({"prompts": "a"}, "must be a list of strings, not a string"),
        ({"prompts": None}, "must be a list of strings, not null"),
        ({"prompts": {"1": "a"}}, "must be a list of strings, not an object"),
        ({"prompts": ["a", 3]}, "prompt 2 must be a string, not a number"),
        ({"prompts": ["a", None]}, "prompt 2 must be a string, not null"),
        ({"prompts": ["a", " \t"]}, "prompt 2 is empty"),
        ({"prompts": ["\ud800"]}, "prompt 1 has half of a \\u escape pair"),
    ],
)
def test_a_wrong_video_is_reported_with_file_and_line(tmp_path: Path, video: object, says: str) -> None:
    path = write(tmp_path, "a.jsonl", '{"prompts": ["a"]}\n' + json.dumps(video))
    assert fault(path).startswith(f"{path}, line 2: ")
    assert says in fault(path)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_prompts_is_refused_in_either_form(tmp_path: Path, content: str) -> None:
    assert "no prompts" in fault(write(tmp_path, "a.txt", content))
    assert "no prompts" in fault(write(tmp_path, "a.jsonl", content))


@pytest.mark.parametrize(
    ("text", "name"),
    [("a b", "a-b"), ("../x", "x"), ("..", "video"), ("", "video"), ("图书馆", "图书馆"), ("x" * 300, "x" * 80)],
)
def test_a_slug_is_a_plain_folder_name(text: str, name: str) -> None:
    assert slug(text) == name
