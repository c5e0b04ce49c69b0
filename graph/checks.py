"""Checks of looks: a new entity's best memory frame is looked at while chunks render; what was seen enters the cast.

An entity is looked at once, from the middle of a prompt on, when a frame plainly shows it. The answers are taken in
when the prompt ends, never earlier, so that a run does not depend on how fast they come, and before the next prompt is
matched. The state says what is under way (`begin`), so a run that is gone on with looks again at what it lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from PIL import Image

from memreel.agent.looks import Looker, Looks
from memreel.configs.schema import RunConfig
from memreel.errors import UserError
from memreel.graph.state import CheckRecord, MemreelState
from memreel.memory.cast import corrected
from memreel.memory.ranking import blended, plainest
from memreel.memory.records import BankState
from memreel.model.protocol import EvictedChunk, Pictures
from memreel.output.events import Event
from memreel.output.run_folder import RunFolder

Recall = Callable[[int], EvictedChunk]
"""Makes a finished chunk of the video again, by its index."""


class Checks:
    """The looks at a video's entities that are under way."""

    def __init__(self, looker: Looker, config: RunConfig, folder: RunFolder, recall: Recall) -> None:
        """Prepare; pictures of memory frames lie in ``folder``, those no longer kept are made again by ``recall``."""
        self._looker, self._config, self._folder, self._recall = looker, config, folder, recall
        self._answers: dict[str, Future[Looks]] = {}

    def begin(self, state: MemreelState) -> dict[str, CheckRecord]:
        """Begin to look at those who can be looked at now; return the state's ``checks``."""
        checks = dict(state["checks"])
        if state["chunk_id"] * 2 >= state["chunks"]:
            for key in state["bank"]["cast"]:
                frame = plainest(state["bank"], int(key), self._config.memory.presence) if key not in checks else None
                if frame is not None:
                    checks[key] = {
                        "frame": frame["frame_id"],
                        "index": frame["index"],
                        "done": False,
                        "score": None,
                    }
                    self._look(state["bank"], key, checks[key])
        return checks

    def outlook(self, state: MemreelState) -> BankState | None:
        """Return the bank as it will be when the prompt ends, or ``None`` while that cannot be said."""
        if state["chunk_id"] * 2 < state["chunks"]:
            return None
        waiting = [key for key, check in state["checks"].items() if not check["done"]]
        if not all(key in self._answers and self._answers[key].done() for key in waiting):
            return None
        return self.take(state)[0]

    def take(self, state: MemreelState) -> tuple[BankState, dict[str, CheckRecord], list[Event]]:
        """Return bank and ``checks`` with what was seen, waiting for answers, and an event for each."""
        bank, checks, events = state["bank"], dict(state["checks"]), list[Event]()
        for key, check in state["checks"].items():
            if check["done"]:
                continue
            looks = self._look(state["bank"], key, check).result()
            checks[key] = {**check, "done": True, "score": looks.score}
            if key in bank["cast"] and looks.attrs is not None:
                bank = corrected(bank, int(key), looks.attrs)
            if looks.score is not None:
                bank = blended(bank, check["frame"], int(key), looks.score, self._config.verify.weight)
            event: Event = {"type": "check", "global_id": int(key), "frame": check["frame"], "by": self._looker.name}
            event |= {"attrs": looks.attrs, "score": looks.score, "notes": looks.notes, "calls": looks.calls}
            events.append(event)
        return bank, checks, events

    def _look(self, bank: BankState, key: str, check: CheckRecord) -> Future[Looks]:
        if key in self._answers:
            return self._answers[key]
        answer = self._answers[key] = Future[Looks]()
        member = bank["cast"].get(key)
        if member is None:  # an identity was corrected meanwhile
            answer.set_result(Looks(None, None, [f"global ID {key} is nobody any more"]))
            return answer
        picture, prompt = self._picture(check), bank["prompts"][_parts(check["frame"])[0]]["text"]

        def work() -> None:
            try:
                answer.set_result(self._looker.look(picture, member, prompt))
            except BaseException as error:  # whoever takes the answer meets it
                answer.set_exception(error)

        threading.Thread(target=work, name="check", daemon=True).start()
        return answer

    def _picture(self, check: CheckRecord) -> Pictures:
        path = self._folder.frames / f"{check['frame']}.png"
        if not path.is_file():
            return np.asarray(self._recall(check["index"]).pictures[int(_parts(check["frame"])[2])])
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))


def _parts(frame_id: str) -> list[str]:
    """Return prompt, chunk and frame of ``p1_c2_f0``, as written."""
    return [part[1:] for part in frame_id.split("_")]


def looker_for(config: RunConfig, model: str) -> Looker | None:
    """Return who looks at pictures, or ``None`` if nobody is to.

    Raises:
        UserError: nobody can: no chat model that sees is named, and the video model is not the embedded one.
    """
    if not config.verify.attributes:
        return None
    if config.verify.model:
        from memreel.agent.chat_looks import ChatLooker
        from memreel.agent.llm import Chat

        return ChatLooker(Chat(config.verify.model, config.agent))
    if model == "sketch":
        from memreel.world.looker import SketchLooker

        return SketchLooker()
    raise UserError(
        f"verify.attributes: nobody here can look at pictures of '{model}'; name a chat model that sees as verify.model"
    )
