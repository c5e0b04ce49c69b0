"""Video models behind one protocol, and what they are built from.

`protocol` says what a video model offers; `load` gives one by its configuration, once a process. `transformer`,
`rotary`, `layout`, `cache`, `sampler`, `scoring` and `codec` are the parts; `sketch` is the embedded model, `wan` the
Wan 2.1 family; `minilm` the sentence encoder; `worker` is the one thread that they all compute on. Nothing here knows
of entities, of the bank or of LangGraph.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from memreel.errors import UserError, did_you_mean
from memreel.model.worker import on_model_thread

if TYPE_CHECKING:
    from memreel.configs.schema import ModelConfig
    from memreel.model.protocol import VideoModel

VIDEO_MODELS = {"sketch": "memreel.model.sketch.model", "wan": "memreel.model.wan.model"}
"""Video models by name: the module whose ``load(config)`` gives one; the configuration names the device."""


@on_model_thread
def load(config: ModelConfig) -> VideoModel:
    """Return the configured video model, loading its weights at the first call of a process.

    Raises:
        UserError: an unknown model name, a missing or wrong weights file, or a device that is not there.
    """
    if config.name not in VIDEO_MODELS:
        raise UserError(
            f"model.name: there is no video model '{config.name}'{did_you_mean(config.name, VIDEO_MODELS)}; "
            f"known: {', '.join(VIDEO_MODELS)}"
        )
    return _load(config.model_copy(update={"device": _device(config.device)}))


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"model.device: '{name}' cannot be used here ({str(error).splitlines()[0]}); try 'auto'"
        ) from error
    return name


def forget() -> None:
    """Let go of the models that were loaded here; those in use stay with their users, others are loaded again."""
    _load.cache_clear()


@lru_cache(maxsize=4)
def _load(config: ModelConfig) -> VideoModel:
    from importlib import import_module

    model: VideoModel = import_module(VIDEO_MODELS[config.name]).load(config)
    return model
