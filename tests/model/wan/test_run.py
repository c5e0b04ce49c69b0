"""A whole run of a small Wan model through the command line: resumed, with memory frames kept as latents."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from memreel.cli import main
from memreel.model.protocol import Pictures
from memreel.model.wan.decoding import Darkroom

SCRIPT = "Mia, a young woman with red hair, walks in the park.\nTom, an old man, waits in the library.\nMia walks."


def arguments(folder: Path, script: Path, out: Path, *more: str) -> list[str]:
    small = ["model.wan.width=64", "model.wan.height=32", "model.wan.precision=fp32", "model.wan.codec=tiny"]
    files = [f"model.weights={folder}", f"model.wan.checkpoint={folder / 'causal.pt'}", "model.wan.lora=null"]
    settings = [*small, *files, "chunks_per_prompt=4", "model.device=cpu", *more]
    return ["run", str(script), "--out", str(out), "--config", "wan-1.3b", *(x for s in settings for x in ("--set", s))]


def develop_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pictures come as on a GPU: some time after their chunk, to whoever waits for them."""
    develop = Darkroom.develop

    def late(self: Darkroom, *given: Any, **_: Any) -> Callable[[], Pictures]:
        made = develop(self, *given[:2])

        def developed() -> Pictures:
            time.sleep(0.05)
            return made()

        return developed

    monkeypatch.setattr(Darkroom, "develop", late)


@pytest.mark.parametrize(("store", "late"), [("latent", False), ("kv", True)])
def test_a_script_becomes_a_video_and_what_was_cut_off_is_gone_on_with(
    folder: Path, tmp_path: Path, store: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMREEL_LLM_MODEL", raising=False)
    script = tmp_path / "film.txt"
    script.write_text(SCRIPT)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(arguments(folder, script, whole, f"memory.store={store}")) == 0
    from memreel.model.wan.stream import WanStream

    if late:
        develop_late(monkeypatch)
    generate = WanStream.generate

    def stopping(self: WanStream, *rest: object) -> object:
        if self.index == 9:
            raise KeyboardInterrupt
        return generate(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(WanStream, "generate", stopping)
        assert main(arguments(folder, script, cut, f"memory.store={store}")) == 130
    assert main(arguments(folder, script, cut, f"memory.store={store}")) == 0
    one, other = whole / "film", cut / "film"
    assert (one / "video.mp4").read_bytes() == (other / "video.mp4").read_bytes()
    for path in sorted((one / "stream" / "latents").iterdir()):
        assert path.read_bytes() == (other / "stream" / "latents" / path.name).read_bytes(), path.name
    frames = json.loads((one / "memory_bank.json").read_text())["frame_archive"]
    assert frames == json.loads((other / "memory_bank.json").read_text())["frame_archive"]
    for name in frames:
        held = load_file(one / "stream" / "memory" / f"{name}.safetensors")
        assert held.keys() == ({"latent"} if store == "latent" else {"latent", "keys", "values"})
        assert held["latent"].shape == (16, 4, 8)
        assert held["latent"].dtype == torch.float32


def test_a_missing_checkpoint_is_one_line_with_the_command_that_gets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "film.txt"
    script.write_text(SCRIPT)
    assert main(["run", str(script), "--out", str(tmp_path / "out"), "--config", "wan-1.3b-longlive"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "there is no weights/LongLive-1.3B/models/longlive_base.pt" in said
    assert "hf download Efficient-Large-Model/LongLive-1.3B --local-dir weights/LongLive-1.3B" in said
