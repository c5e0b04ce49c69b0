"""Presets, files and overrides; whatever is wrong is one line with the key and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from memreel.configs import FOLDER, known_keys, load_config, presets, section_of
from memreel.configs.schema import RunConfig
from memreel.errors import UserError


def fault(name: str = "sketch", *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", presets())
def test_a_preset_states_every_key_of_its_model_and_the_default_one_all(name: str) -> None:
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    for key in known_keys():
        *sections, leaf = key.split(".")
        if name != "sketch" and sections[:1] != ["model"]:
            continue
        within = values
        for section in sections:
            within = within[section]
            if within is None:
                break  # another model's settings
        else:
            assert leaf in within, key


def test_the_default_preset_is_the_schemas_defaults() -> None:
    assert load_config() == RunConfig()


def test_every_field_is_described() -> None:
    def fields(section: type[BaseModel]) -> None:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            if inner := section_of(field.annotation):
                fields(inner)

    fields(RunConfig)


def test_overrides_are_applied_in_order_and_take_the_fields_type() -> None:
    config = load_config(
        "sketch",
        ["memory.slots=1", "memory.slots = 2", "prompt.enrich=off", "memory.retrieval=none", "agent.model=a=b"],
    )
    assert (config.memory.slots, config.prompt.enrich, config.memory.retrieval) == (2, False, "none")
    assert config.agent.model == "a=b"
    assert load_config("sketch", ["agent.model=x", "agent.model=null"]).agent.model is None


def test_a_file_takes_the_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("memory: {slots: 2}\nchunks_per_prompt: 5\n")
    config = load_config(str(path), ["seed=9"])
    assert (config.memory.slots, config.chunks_per_prompt, config.seed) == (2, 5, 9)
    assert config.memory.frames_per_entity == RunConfig().memory.frames_per_entity
    path.write_text("")
    assert load_config(str(path)) == RunConfig()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("chunks=4", "did you mean 'chunks_per_prompt'?"),
        ("slots=2", "did you mean 'memory.slots'?"),
        ("memory.slot=2", "did you mean 'memory.slots'?"),
        ("promt.enrich=off", "did you mean 'prompt.enrich'?"),
        ("memory=2", "it is a section"),
        ("zzz=1", "known: model.name"),
        ("seed", "must be key=value"),
        ("=1", "must be key=value"),
        ("chunks_per_prompt=0", "greater than or equal to 1"),
        ("chunks_per_prompt=many", "valid integer"),
        ("chunks_per_prompt=", "valid integer"),
        ("memory.slots=-1", "greater than or equal to 0"),
        ("seed=-1", "greater than or equal to 0"),
        ("memory.strategy=attn", "'attention', 'random' or 'recency'"),
        ("agent.timeout_s=0", "greater than 0"),
    ],
)
def test_a_wrong_override_names_itself_and_the_cure(override: str, says: str) -> None:
    assert fault("sketch", override).startswith(f"--set {override}")
    assert says in fault("sketch", override)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"memory: {slotz: 3}", "unknown key 'memory.slotz'; did you mean 'memory.slots'?"),
        (b"slots: 3", "did you mean 'memory.slots'?"),
        (b"chunks_per_prompt: 0", "'chunks_per_prompt': input should be greater than or equal to 1, not 0"),
        (b"memory: 3", "'memory'"),
        (b"1: 3", "'1': keys should be strings"),
        (b"seed: 1\nmemory: [", ", line "),
        (b"- a", "must be a mapping"),
        (b"seed: \xff", "not UTF-8"),
    ],
)
def test_a_wrong_file_is_named_with_the_key_or_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert fault(str(path)).startswith(str(path))
    assert says in fault(str(path))


def test_a_preset_or_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "did you mean 'sketch'?" in fault("skech")
    assert "presets: sketch, wan-1.3b" in fault("nothing-like-it")
    assert "no such configuration file" in fault("nowhere/mine.yaml")
    assert "is a directory" in fault(str(tmp_path))


def test_a_models_own_settings_come_with_it_and_with_no_other() -> None:
    assert load_config().model.wan is None
    config = load_config("wan-1.3b", ["model.wan.local=9", "model.wan.steps=[1000, 500]"])
    assert config.model.wan is not None
    assert (config.model.wan.local, config.model.wan.steps) == (9, (1000, 500))
    assert "is for another model than 'sketch'" in fault("sketch", "model.wan.local=9")
    assert "for model.name=wan, not for 'sketch'" in fault("wan-1.3b", "model.name=sketch")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.wan.width=840", "width must be a multiple of 16 pixels; the nearest is 832"),
        ("model.wan.local=4", "multiple of 3"),
        ("model.wan.steps=[250, 1000]", "steps must fall"),
        ("model.wan.switch=soften", "'recache', 'soft' or 'hard'"),
    ],
)
def test_what_a_wan_model_cannot_do_is_refused_with_the_cure(override: str, says: str) -> None:
    assert says in fault("wan-1.3b", override)
