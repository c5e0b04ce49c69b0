"""Presets, files and overrides become one checked `RunConfig`.

A preset is a YAML file in this folder; a user's file has the same keys, and what it leaves out takes the schema's
default. Overrides (``memory.slots=2``) are applied last. Whatever is wrong comes out as one `UserError` line that names
the file or option, the key and the cure; nothing here knows what a key does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from memreel.configs.schema import AgentConfig, MemoryConfig, ModelConfig, PromptConfig, RunConfig
from memreel.errors import UserError, did_you_mean

__all__ = [
    "AgentConfig",
    "MemoryConfig",
    "ModelConfig",
    "PromptConfig",
    "RunConfig",
    "known_keys",
    "load_config",
    "override_config",
    "parse_config",
    "presets",
]

FOLDER = Path(__file__).parent
SECRETS = re.compile(r"base_url|api_?key|token|secret|password", re.IGNORECASE)
"""Keys whose value may be, or carry, a secret: messages do not repeat it."""


def presets() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def known_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yield every settable key in dotted form (``memory.slots``)."""
    for name, field in section.model_fields.items():
        if inner := section_of(field.annotation):
            yield from known_keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, whether it may be left out or not; None for a plain value."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def load_config(name_or_file: str = "sketch", overrides: Sequence[str] = ()) -> RunConfig:
    """Read a preset or a YAML file, apply ``key=value`` overrides and check the result.

    Args:
        name_or_file: a preset's name (see `presets`) or the path of a YAML file.
        overrides: dotted assignments such as ``memory.slots=2``; ``null`` or nothing after ``=`` unsets a value.

    Raises:
        UserError: no such preset or file, not UTF-8, not YAML, an unknown key, a value out of bounds.
    """
    file = _locate(name_or_file)
    label = name_or_file if file.parent != FOLDER else f"preset '{file.stem}'"
    return override_config(parse_config(_read_yaml(file, label), label), overrides)


def override_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return ``config`` with dotted ``key=value`` assignments applied in order.

    Raises:
        UserError: an unknown key or a value out of bounds; the message names the assignment.
    """
    for override in overrides:
        values = config.model_dump()
        _apply(values, override)
        config = parse_config(values, f"--set {_without_secret(override)}")
    return config


def parse_config(values: Mapping[str, Any], label: str = "configuration") -> RunConfig:
    """Check a mapping of configuration values; ``label`` says in a message where they came from.

    Raises:
        UserError: an unknown key or a value that its field refuses; the first one, with the number of others.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(f"{label}: unknown key '{key}'{_closest_key(key)}{more}") from None
        reason = first["msg"][0].lower() + first["msg"][1:]
        given = "" if SECRETS.search(key) else f", not {first['input']!r}"
        raise UserError(f"{label}: '{key}': {reason}{given}{more}") from None


def _without_secret(override: str) -> str:
    """Return ``key=value`` as it may be shown and logged."""
    key, equals, _ = override.partition("=")
    return f"{key}{equals}…" if SECRETS.search(key) else override


def _closest_key(key: str) -> str:
    """Suggest the known key whose full or last name is nearest to ``key``."""
    if SECRETS.search(key):
        return "; keys are taken from the environment only, such as OPENAI_API_KEY"
    known = list(known_keys())
    if hint := did_you_mean(key, known):
        return hint
    by_leaf = {name.rpartition(".")[2]: name for name in known}
    hint = did_you_mean(key.rpartition(".")[2], by_leaf)
    for leaf, name in by_leaf.items():
        if f"'{leaf}'" in hint:
            return f"; did you mean '{name}'?"
    return f"; known: {', '.join(known)}"


def _locate(name_or_file: str) -> Path:
    """Return the YAML file that a preset's name or a path stands for."""
    if name_or_file in presets():
        return FOLDER / f"{name_or_file}.yaml"
    path = Path(name_or_file).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{name_or_file}: is a directory; give a YAML file or a preset ({', '.join(presets())})")
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise UserError(f"{name_or_file}: no such configuration file; presets: {', '.join(presets())}")
    raise UserError(
        f"no preset '{name_or_file}'{did_you_mean(name_or_file, presets()) or '; presets: ' + ', '.join(presets())}"
    )


def _read_yaml(file: Path, label: str) -> dict[str, Any]:
    """Read a YAML mapping; an empty file is an empty mapping."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{label}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{label}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{label}{line}: not YAML ({getattr(error, 'problem', None) or 'cannot be parsed'})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{label}: must be a mapping of keys, such as 'chunks_per_prompt: 13'")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Write one ``key=value`` into the complete configuration ``values``."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"--set {override}: must be key=value, such as memory.slots=2")
    known = list(known_keys())
    if key not in known:
        inside = [name for name in known if name.startswith(f"{key}.")]
        cure = f"; it is a section, set one of {', '.join(inside)}" if inside else _closest_key(key)
        raise UserError(f"--set {_without_secret(override)}: unknown key '{key}'{cure}")
    *sections, leaf = key.split(".")
    for section in sections:
        if values[section] is None:
            raise UserError(f"--set {override}: '{section}' is for another model than '{values.get('name')}'")
        values = values[section]
    text = text.strip()
    values[leaf] = None if text in {"", "null"} else _listed(text) if text.startswith("[") else text


def _listed(text: str) -> Any:
    """Return the list that ``[1, 2]`` stands for, or the text if it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
