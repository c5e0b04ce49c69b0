"""Scripts as users write them: a file or standard input becomes a list of `Script`, or one line saying what is wrong.

``.jsonl`` holds a video a line (``{"prompts": ["…", "…"]}``), ``.txt`` one video, a prompt a line; ``-`` is standard
input in either form. Blank lines are passed over in both. This module knows nothing of entities, chunks or output
folders beyond the id that each video goes by.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from memreel.errors import UserError, did_you_mean

FORMS = '.jsonl (a line a video: {"prompts": ["...", "..."]}) or .txt (a line a prompt)'


@dataclass(frozen=True)
class Script:
    """The ordered prompts of one video, and the id under which its run folder lies."""

    video_id: str
    prompts: tuple[str, ...]


def read_scripts(source: str | Path, stdin: IO[bytes] | None = None) -> list[Script]:
    """Read all videos of a script file, or of standard input for ``-``.

    Args:
        source: path of a ``.jsonl`` or ``.txt`` file, or ``-``.
        stdin: binary stream to read for ``-``; the process's own if not given.

    Raises:
        UserError: file, line and cure of whatever is wrong: missing, a directory, not UTF-8, another form, broken
            JSON, no prompts, an empty prompt, a prompt that is not a string.
    """
    if str(source) == "-":
        text = _decode((stdin or sys.stdin.buffer).read(), "standard input")
        if text.lstrip().startswith("{"):
            return _read_jsonl(text, "standard input", "stdin")
        return [_read_text(text, "standard input", "stdin")]
    path = Path(source)
    if path.is_dir():
        raise UserError(f"{path}: is a directory; give a script file, {FORMS}")
    suffix = path.suffix.lower()
    if path.exists() and suffix not in {".jsonl", ".txt"}:
        raise UserError(f"{path}: unknown kind of script; save it as {FORMS}")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{_similar_file(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    text = _decode(data, str(path))
    if suffix == ".txt":
        return [_read_text(text, str(path), slug(path.stem))]
    return _read_jsonl(text, str(path), slug(path.stem))


def check_prompts(prompts: object, where: str) -> tuple[str, ...]:
    """Return the prompts with surrounding blanks removed, if they are a non-empty list of non-empty strings.

    Raises:
        UserError: they are not; the message begins with ``where`` and counts prompts from 1.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise UserError(f'{where}: "prompts" must be a list of strings, not {_kind(prompts)}')
    if not prompts:
        raise UserError(f"{where}: no prompts; give at least one")
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str):
            raise UserError(f"{where}: prompt {number} must be a string, not {_kind(prompt)}")
        if not prompt.strip():
            raise UserError(f"{where}: prompt {number} is empty; write what happens or remove it")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise UserError(f"{where}: prompt {number} has half of a \\u escape pair; write it out") from None
    return tuple(prompt.strip() for prompt in prompts)


def slug(text: str) -> str:
    """Return ``text`` as a folder name: word characters, dots and dashes, at most 80, never empty or hidden."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80].rstrip("-.") or "video"


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}: not UTF-8; save it as UTF-8") from None


def _read_text(text: str, where: str, video_id: str) -> Script:
    prompts = [line for line in text.split("\n") if line.strip()]
    if not prompts:
        raise UserError(f"{where}: no prompts; write one on each line")
    return Script(video_id, check_prompts(prompts, where))


def _read_jsonl(text: str, where: str, stem: str) -> list[Script]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UserError(f'{where}: no prompts; write {{"prompts": ["...", "..."]}} on a line for each video')
    return [
        Script(stem if len(lines) == 1 else f"{stem}-{number}", _read_video(line, f"{where}, line {number}"))
        for number, line in lines
    ]


def _read_video(line: str, where: str) -> tuple[str, ...]:
    try:
        video: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: broken JSON at column {error.colno} ({error.msg}); a video is one line") from None
    except (ValueError, RecursionError):
        raise UserError(f"{where}: JSON that cannot be read; a video is one line") from None
    if not isinstance(video, dict):
        raise UserError(f'{where}: must be an object {{"prompts": ["...", "..."]}}, not {_kind(video)}')
    if "prompts" not in video:
        close = next((f", did you mean 'prompts' for '{key}'?" for key in video if did_you_mean(key, ["prompts"])), "")
        raise UserError(f'{where}: no prompts; write {{"prompts": ["...", "..."]}}{close}')
    return check_prompts(video["prompts"], where)


def _kind(value: object) -> str:
    """Name a JSON value's type as a writer of JSON would."""
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")


def _similar_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = [file.name for file in folder.iterdir() if file.suffix.lower() in {".jsonl", ".txt"}]
    return did_you_mean(path.name, names) or "; check the path"
