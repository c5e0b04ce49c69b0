"""Which files a Wan model is made of, where they may lie, and the command that gets one that is missing.

``model.weights`` is a folder: the original ``Wan-AI/Wan2.1-T2V-1.3B`` or its ``-Diffusers`` twin; of the latter the
transformer is not used, so ``text_encoder``, ``tokenizer`` and ``vae`` are enough. The causal transformer and its LoRA
are named in the preset. Nothing here opens a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memreel.configs.schema import ModelConfig, WanConfig
from memreel.errors import UserError

WEIGHTS = Path("weights/Wan2.1-T2V-1.3B")
"""The folder if none is configured."""
BASE = "Wan-AI/Wan2.1-T2V-1.3B"
TAEHV = "https://github.com/madebyollin/taehv/raw/main/taew2_1.pth"
PUBLISHED = {
    "Self-Forcing": "gdhe17/Self-Forcing",
    "LongLive-1.3B": "Efficient-Large-Model/LongLive-1.3B",
    "MemFlow": "KlingTeam/MemFlow",
}
"""The hub's repositories of causal checkpoints, by the folder that the presets keep each in."""


@dataclass(frozen=True)
class WanFile:
    """A file or folder that is needed: where it was looked for, where it is, and how to get it."""

    name: str
    looked: tuple[Path, ...]
    cure: str

    @property
    def path(self) -> Path | None:
        """The first place where it is."""
        return next((path for path in self.looked if path.exists()), None)

    def require(self) -> Path:
        """Return where it is.

        Raises:
            UserError: it is nowhere; the message has all the places and the cure.
        """
        if self.path is None:
            places = " or ".join(str(path) for path in self.looked)
            raise UserError(f"the {self.name} is missing: there is no {places}; {self.cure}")
        return self.path


@dataclass(frozen=True)
class WanFiles:
    """Everything that one configuration needs."""

    checkpoint: WanFile
    lora: WanFile | None
    text: WanFile
    tokenizer: WanFile
    codec: WanFile

    def all(self) -> list[WanFile]:
        """Return them in the order of loading."""
        return [
            file for file in (self.checkpoint, self.lora, self.text, self.tokenizer, self.codec) if file is not None
        ]


def files_of(config: ModelConfig) -> WanFiles:
    """Tell which files a configuration needs, whether they are there or not."""
    wan = config.wan or WanConfig()
    folder = config.weights or WEIGHTS
    base = f"hf download {BASE} --local-dir {folder}"
    if wan.codec == "tiny":
        tiny = wan.tiny or folder / "taew2_1.pth"
        codec = WanFile("tiny codec", (tiny,), f"curl -L -o {tiny} {TAEHV}")
    else:
        codec = WanFile("VAE", (folder / "Wan2.1_VAE.pth", folder / "vae"), f"{base} --include Wan2.1_VAE.pth")
    checkpoints = (wan.checkpoint,) if wan.checkpoint else (folder / "causal.safetensors", folder / "causal.pt")
    return WanFiles(
        WanFile("causal transformer", checkpoints, _fetch(checkpoints[0], "checkpoint")),
        WanFile("LoRA", (wan.lora,), _fetch(wan.lora, "lora")) if wan.lora else None,
        WanFile(
            "text encoder",
            (folder / "models_t5_umt5-xxl-enc-bf16.pth", folder / "text_encoder"),
            f"{base} --include 'models_t5*'",
        ),
        WanFile(
            "tokenizer", (folder / "google" / "umt5-xxl", folder / "tokenizer"), f"{base} --include 'google/umt5-xxl/*'"
        ),
        codec,
    )


def _fetch(path: Path, key: str) -> str:
    for folder in path.parents:
        if folder.name in PUBLISHED:
            return f"hf download {PUBLISHED[folder.name]} --local-dir {folder}"
    return f"copy it there, or set model.wan.{key} to where it is"
