"""Makes memreel's command line run in child processes that can be killed, without loading the models for each.

Reads one JSON order a line: the command's ``arguments``, and when the child is to be struck: by ``signal`` after
``seconds``, after so many ``chunks`` in the ``log``, with its n-th ``writes`` (a file opened for writing, renamed or
removed), or with the first write of a ``file`` whose path contains that. Answers with the child's exit status and
the number of its writes, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from memreel.cli import main
from memreel.configs.schema import ModelConfig
from memreel.model import load
from memreel.model.minilm import sentence_encoder


def child(order: dict[str, Any], counter: int) -> None:
    """Run the command; does not return."""
    sink = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    writes = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes
        if event in ("os.rename", "os.remove") or (event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
            writes += 1
            os.pwrite(counter, writes.to_bytes(4, "big"), 0)
            if writes == order.get("writes") or order.get("file", "\0") in str(arguments[0]):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    status = 70
    try:
        status = main(order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def strike(pid: int, order: dict[str, Any]) -> None:
    """Wait for the moment and send the signal."""
    if "chunks" in order:
        log = Path(order["log"])
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if log.exists() and log.read_bytes().count(b'"type": "chunk"') >= order["chunks"]:
                break
            time.sleep(0.02)
    time.sleep(order.get("seconds", 0))
    os.kill(pid, order["signal"])


def serve() -> None:
    """Answer orders until there are no more."""
    torch.set_num_threads(1)
    load(ModelConfig(device="cpu"))
    sentence_encoder()
    for line in sys.stdin:
        order = json.loads(line)
        counter = os.memfd_create("writes")
        pid = os.fork()
        if pid == 0:
            child(order, counter)
        if "signal" in order:
            strike(pid, order)
        _, status = os.waitpid(pid, 0)
        writes = int.from_bytes(os.pread(counter, 4, 0), "big")
        os.close(counter)
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), writes]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
