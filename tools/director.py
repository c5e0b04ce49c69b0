"""The director: a chat model that makes the video by calling the tools, within budgets.

It is asked once a step and shown the script, where the video stands and its last few calls with their results; it
answers with tool calls. All but rendering happens at once, on a `Stage`: a reel whose chunks the graph renders, so that
events, checkpoints and interrupts are a chunk's, whoever steers. A reply without a usable call is answered with what is
expected. Where no server answers, nothing useful comes, or the budget of calls or seconds is spent, the next prompt is
made as the script has it; where the budget of chunks is spent, the video ends. So a director can cost bounded time,
never the run. What is said to the model stands in ``agent/prompts.yaml``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool

from memreel.agent.llm import Chat, Unavailable
from memreel.agent.reading import ChatCall
from memreel.agent.replies import text_of, was_cut
from memreel.agent.texts import filled, texts
from memreel.configs.schema import RunConfig
from memreel.errors import StoreError, UserError
from memreel.graph.past import past_state
from memreel.graph.session import Session
from memreel.graph.state import DirectorRecord, Exchange, MemreelState, ToolCall, script_length
from memreel.memory.records import phrase
from memreel.tools.reel import Reel
from memreel.tools.toolset import picture_block, text_block, tools_over

HISTORY = 4
"""Exchanges that the state keeps and a request carries."""
LONGEST_RESULT = 900
"""Characters of a tool's result that are kept; a request carries no more either."""
LONGEST_ARGUMENTS = 2000
LONGEST_SCRIPT = 12_000
MOST_CALLS = 16
"""Tool calls of one reply that are carried out."""
MOST_FRUITLESS = 3
"""Replies in a row with no usable call, after which a prompt is made without the director."""


class Stage(Reel):
    """A reel over the graph's own state: chunks are ordered here and rendered by the graph's nodes."""

    has_script = True

    def __init__(self, session: Session, state: MemreelState, chunks_left: int) -> None:
        """Stand where ``state`` stands; at most ``chunks_left`` chunks can be ordered."""
        super().__init__(session.config, session.folder.path.parent, state["video_id"])
        self.session, self._session, self._state = session, session, {**state}
        self.chunks_left = chunks_left
        self.ordered: int | None = None
        """Chunks to be rendered next."""
        self.finished = False
        self.rewound = False

    @property
    def state(self) -> MemreelState:
        """Where the video stands now."""
        return self._state

    def generate(self, prompt: str | None, chunks: int, memory: Sequence[str] | None) -> dict[str, Any]:
        """Order ``chunks`` more chunks, under a new prompt if one is given."""
        self.require_left(chunks)
        if prompt is not None:
            self._require_chunks()
        self._prepare(prompt, memory)
        self.order(chunks)
        return {}

    def next_prompt(self) -> dict[str, Any]:
        """Move on to the script's next prompt, as it is written there."""
        self._require_chunks()
        return super().next_prompt()

    def finish(self) -> dict[str, Any]:
        """End the video, once every prompt of the script was made."""
        open_ = self.prompts_left()
        if open_ and self.chunks_left > 0:
            raise UserError(f"finish_video: prompt {open_[0]} of {script_length(self._state)} has not been made yet")
        self.finished = True
        return {}

    def made(self, begun: int) -> dict[str, Any]:
        """Tell of the chunks that the graph rendered from number ``begun`` on."""
        return self._made(begun)

    def order(self, chunks: int) -> None:
        """Let the graph render so many chunks next."""
        self.ordered = chunks
        self._state = {**self._state, "chunks": self._state["chunk_id"] + chunks}

    def require_left(self, chunks: int) -> None:
        """Refuse more chunks than the budget has."""
        if chunks > self.chunks_left:
            raise UserError(f"generate_chunk: only {self.chunks_left} chunks are left in the budget")

    def prompts_left(self) -> list[int]:
        """Return the numbers of the script's prompts that have no chunk yet."""
        number = self._state["prompt_id"] + (1 if self._state["chunk_id"] else 0)
        return list(range(max(1, number), script_length(self._state) + 1))

    def _require_chunks(self) -> None:
        if self._state["prompt_id"] and not self._state["chunk_id"]:
            raise UserError(f"prompt {self._state['prompt_id']} has no chunk yet: call generate_chunk without a prompt")

    def _go_to(self, session: Session, chunks: int) -> None:
        """Put the state back; the next node that runs on it brings the stream there."""
        self._state = {**self._state, **past_state(session.folder, chunks)}
        self.rewound = True


class Director:
    """Decides what comes next in a video, one chat request at a time."""

    def __init__(self, chat: Chat, config: RunConfig) -> None:
        """Take the chat model to ask and the budgets."""
        self._chat = chat
        self._config = config

    def act(self, session: Session, state: MemreelState) -> MemreelState:
        """Make one step: ask, carry out, and say in the state's ``director`` what follows.

        Raises:
            StoreError: the run folder failed while a tool worked.
        """
        record: DirectorRecord = {**_record_of(state), "exchanges": [*_record_of(state)["exchanges"]]}
        if record["unlogged"]:
            session.emit(record["unlogged"])
            record["unlogged"] = {}
        stage = Stage(session, state, self._chunk_budget(state) - record["chunks"])
        tools = {tool.name: tool for tool in tools_over(stage)}
        event: dict[str, Any] = {"type": "director", "calls": [], "tools": [], "notes": []}
        self._tell_of_order(stage, record)
        if not record["pending"] and (reason := self._ask(stage, record, tools, event)):
            event["notes"].append(reason)
            self._stand_in(stage, record, event)
        else:
            self._carry_out(stage, record, tools, event)
        if record["fruitless"] >= MOST_FRUITLESS:
            record["fruitless"] = 0
            event["notes"].append(f"{MOST_FRUITLESS} replies without a usable call; the script goes on without it")
            self._stand_in(stage, record, event)
        record["goto"] = "direct"
        if stage.finished:
            record["goto"] = "merge_video"
            if left := stage.prompts_left():
                event["notes"].append(f"prompts {left[0]}-{left[-1]} were not made: the budget of chunks is spent")
        elif stage.ordered is not None:
            record["goto"] = "generate_chunk"
        event["spent"] = {key: record[key] for key in ("calls", "chunks", "seconds")}
        event = {key: value for key, value in event.items() if value != []}
        if stage.rewound:  # going back cuts the log: what led to it is told after it
            record["unlogged"] = event
        else:
            session.emit(event)
            stage.state.update(session.journal.stands())
        changed = {key: value for key, value in stage.state.items() if state.get(key) is not value}
        update: MemreelState = {**changed, "director": record}  # type: ignore[typeddict-item]
        return update

    def _chunk_budget(self, state: MemreelState) -> int:
        budget = self._config.director.max_chunks
        return 2 * self._config.chunks_per_prompt * script_length(state) if budget is None else budget

    def _tell_of_order(self, stage: Stage, record: DirectorRecord) -> None:
        """Complete the result of the call that had chunks rendered."""
        order = record["order"]
        if order is None:
            return
        record["order"] = None
        record["chunks"] += stage.state["index"] - order["begun"]
        stage.chunks_left -= stage.state["index"] - order["begun"]
        if order["id"] and record["exchanges"]:
            self._result(record, order["id"], _short(stage.made(order["begun"])))

    def _ask(
        self, stage: Stage, record: DirectorRecord, tools: Mapping[str, BaseTool], event: dict[str, Any]
    ) -> str | None:
        """Ask for the next calls; return why there are none to carry out, if the director cannot be asked."""
        budget = self._config.director
        if stage.chunks_left <= 0:
            return "the budget of chunks is spent"
        if record["calls"] >= budget.max_calls:
            return "the budget of calls is spent"
        if record["seconds"] >= budget.max_seconds:
            return "the budget of seconds is spent"
        began = time.monotonic()
        calls: list[ChatCall] = []
        deadline = min(self._chat.deadline(), began + budget.max_seconds - record["seconds"])
        try:
            messages = self._conversation(stage, record)
            reply = self._chat.ask(messages, calls, tools=list(tools.values()), deadline=deadline)
        except Unavailable as error:
            return f"{self._chat.name}: {error}"
        finally:
            event["calls"] += calls
            record["calls"] += len(calls)
            record["seconds"] = round(record["seconds"] + time.monotonic() - began, 3)
        wanted = _calls_of(reply)
        record["exchanges"] = [
            *record["exchanges"][1 - HISTORY :],
            {"said": text_of(reply)[:LONGEST_RESULT], "calls": wanted, "results": {}},
        ]
        record["pending"] = list(wanted)
        if not wanted:
            record["fruitless"] += 1
            calls[-1]["outcome"] = "invalid"
        return None

    def _carry_out(
        self, stage: Stage, record: DirectorRecord, tools: Mapping[str, BaseTool], event: dict[str, Any]
    ) -> None:
        """Carry out the calls of the last reply, up to one that has chunks rendered, goes back or ends the video."""
        pending = list(record["pending"])
        while pending and stage.ordered is None and not (stage.rewound or stage.finished):
            call = pending.pop(0)
            begun = stage.state["index"]
            text, failed = _called(tools, call)
            if stage.session.closed:
                raise StoreError(text)
            event["tools"].append({"name": call["name"]} | ({"error": text} if failed else {}))
            record["fruitless"] = record["fruitless"] + 1 if failed else 0
            if stage.ordered is not None:
                record["order"] = {"id": call["id"], "begun": begun}
            else:
                self._result(record, call["id"], text)
        record["pending"] = pending

    def _stand_in(self, stage: Stage, record: DirectorRecord, event: dict[str, Any]) -> None:
        """Make the rest of the current prompt, else the next one, as the script has it; end the video after the last.

        With no chunk left in the budget the video ends at once.
        """
        for call in record["pending"]:
            self._result(record, call["id"], "not carried out")
        record["pending"] = []
        state, each = stage.state, self._config.chunks_per_prompt
        chunks = min(each - state["chunk_id"] if state["prompt_id"] else 0, stage.chunks_left)
        if chunks <= 0 and stage.chunks_left > 0 and state["prompt_id"] < script_length(state):
            stage.next_prompt()
            chunks = min(each, stage.chunks_left)
        if chunks <= 0:
            stage.finished = True
            return
        record["order"] = {"id": "", "begun": stage.state["index"]}
        stage.order(chunks)
        event["notes"].append(f"prompt {stage.state['prompt_id']}: {chunks} chunks without the director")

    def _result(self, record: DirectorRecord, call_id: str, text: str) -> None:
        *earlier, last = record["exchanges"]
        record["exchanges"] = [*earlier, {**last, "results": {**last["results"], call_id: text[:LONGEST_RESULT]}}]

    # What is said.

    def _conversation(self, stage: Stage, record: DirectorRecord) -> list[BaseMessage]:
        said = texts()["director"]
        numbered = enumerate(stage.state["prompts"], start=stage.state["earlier"] + 1)
        script = "\n".join(f"{number}. {prompt}" for number, prompt in numbered)
        messages: list[BaseMessage] = [
            SystemMessage(said["system"]),
            HumanMessage(filled(said["script"], {"script": script[:LONGEST_SCRIPT].replace("</script>", "")})),
        ]
        for number, exchange in enumerate(record["exchanges"], start=1):
            newest = number == len(record["exchanges"])
            messages += _retold(exchange, stage if newest else None) if exchange["calls"] else []
        if record["exchanges"] and not record["exchanges"][-1]["calls"]:
            messages += [AIMessage(record["exchanges"][-1]["said"] or "(nothing)"), HumanMessage(said["no_call"])]
        messages.append(HumanMessage(self._situation(stage, record)))
        return messages

    def _situation(self, stage: Stage, record: DirectorRecord) -> str:
        said, state, budget = texts()["director"], stage.state, self._config.director
        cast = [f"{key} {member['kind']} {phrase(member)}" for key, member in state["bank"]["cast"].items()]
        slots = {
            "prompt": str(state["prompt_id"]),
            "prompts": str(script_length(state)),
            "chunks": str(state["chunk_id"]),
            "each": str(self._config.chunks_per_prompt),
            "total": str(state["index"]),
            "text": state["text"][:LONGEST_RESULT] or said["nothing"],
            "memory": ", ".join(state["bank"]["memory"]) or said["nothing"],
            "cast": "\n".join(cast)[-LONGEST_ARGUMENTS:] or said["nothing"],
            "calls_left": str(budget.max_calls - record["calls"]),
            "chunks_left": str(stage.chunks_left),
            "seconds_left": str(round(budget.max_seconds - record["seconds"])),
        }
        return filled(said["situation"], slots)


def _record_of(state: MemreelState) -> DirectorRecord:
    record = state["director"]
    if record is None:
        raise UserError("this video is not made by a director: its run began with agent.profile=per_prompt")
    return record


def _calls_of(reply: AIMessage) -> list[ToolCall]:
    """Return a reply's calls in order; one whose arguments are no JSON says so."""
    good: list[ToolCall] = [
        {"id": call["id"] or f"call_{number}", "name": call["name"], "args": call["args"]}
        for number, call in enumerate(reply.tool_calls)
    ]
    bad: list[ToolCall] = [
        {"id": call["id"] or f"bad_{number}", "name": call["name"] or "?", "args": {}, "wrong": "not valid JSON"}
        for number, call in enumerate(reply.invalid_tool_calls)
    ]
    for call in good:
        if len(json.dumps(call["args"])) > LONGEST_ARGUMENTS:
            call["args"], call["wrong"] = {}, f"longer than {LONGEST_ARGUMENTS} characters"
        elif was_cut(reply) and call is good[-1]:
            call["args"], call["wrong"] = {}, "cut off at the answer's greatest length"
    return [*good, *bad][:MOST_CALLS]


def _called(tools: Mapping[str, BaseTool], call: ToolCall) -> tuple[str, bool]:
    """Carry out one call; return its result as text, and whether it failed."""
    if "wrong" in call:
        return f"Error: the arguments are {call['wrong']}; call {call['name']} again", True
    tool = tools.get(call["name"])
    if tool is None:
        return f"Error: there is no tool '{call['name']}'; there are {', '.join(tools)}", True
    args = {key: value for key, value in call["args"].items() if (call["name"], key) != ("show_frame", "picture")}
    message = tool.invoke({"type": "tool_call", "id": call["id"], "name": call["name"], "args": args})
    return str(message.content), message.status == "error"


def _retold(exchange: Exchange, stage: Stage | None) -> list[BaseMessage]:
    """Return an exchange as messages; on ``stage``, a frame that was asked for with its picture is shown."""
    calls = [{"id": c["id"], "name": c["name"], "args": c["args"], "type": "tool_call"} for c in exchange["calls"]]
    messages: list[BaseMessage] = [AIMessage(exchange["said"], tool_calls=calls)]
    for call in exchange["calls"]:
        text = exchange["results"].get(call["id"], "not carried out")
        content: str | list[str | dict[Any, Any]] = text
        if stage is not None and call["name"] == "show_frame" and call["args"].get("picture") and text[:5] != "Error":
            content = [text_block(text), picture_block(stage.frame(call["args"]["frame_id"])["picture"])]
        messages.append(ToolMessage(content, tool_call_id=call["id"]))
    return messages


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:LONGEST_RESULT]
