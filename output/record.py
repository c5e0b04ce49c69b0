"""A run as it can be read back from its folder: prompts, chunks, cast, memory frames.

Reads whatever is there, also of a run that is still going or was killed: the event log is enough, the JSON files add
the bank's scores and the run's facts. Used by the report and by ``memreel show``; knows nothing of how they look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memreel.output.run_folder import RunFolder


@dataclass(frozen=True)
class ChunkRecord:
    """One chunk as logged; see `memreel.output.events.ChunkEvent` for the fields."""

    index: int
    prompt_id: int
    chunk_id: int
    evicted: int | None
    kept_frame: str | None
    memory: list[str]
    memory_next: list[str]
    kept_scores: dict[int, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Mention:
    """One entity of a prompt: how it was worded there, its attributes there, its global ID."""

    entity: str
    kind: str
    attrs: list[str]
    global_id: int


@dataclass(frozen=True)
class PromptPart:
    """A prompt, what was read from it, and the chunks made under it."""

    prompt_id: int
    prompt: str
    text: str
    mentions: list[Mention]
    memory: list[str]
    reader: str
    place: str = ""
    moves: dict[int, str] = field(default_factory=dict)
    """Who enters, leaves or is only mentioned, by global ID."""
    notes: list[str] = field(default_factory=list)
    waited: float = 0.0
    """Seconds that the video waited for the reading."""
    outcomes: list[str] = field(default_factory=list)
    """How each chat request for the reading ended."""
    tokens: int = 0
    chunks: list[ChunkRecord] = field(default_factory=list)


@dataclass(frozen=True)
class LookRecord:
    """An entity was looked at in a memory frame: what was seen (``None``: nothing), how well the frame shows it."""

    global_id: int
    frame_id: str
    by: str
    attrs: list[str] | None
    score: float | None
    notes: list[str]


@dataclass(frozen=True)
class StepRecord:
    """A step of the director: its tool calls with what came of them, remarks, and what is spent by then."""

    prompt_id: int
    tools: list[dict[str, str]]
    notes: list[str]
    spent: dict[str, float]


@dataclass
class MemberRecord:
    """A cast member: every wording, every attribute, every appearance."""

    global_id: int
    name: str
    kind: str
    entities: list[str]
    attrs: list[str]
    instances: list[dict[str, Any]]

    @property
    def prompt_ids(self) -> list[int]:
        """The prompts in which the member appears, in order, each once."""
        return sorted({int(instance["prompt_id"]) for instance in self.instances})


@dataclass(frozen=True)
class FrameRecord:
    """A memory frame: where it came from and how well it shows each cast member.

    ``stored`` is false for a frame that the bank kept once and has dropped since. ``scores`` is empty if it is unknown.
    """

    frame_id: str
    prompt_id: int
    chunk_id: int
    frame: int
    index: int | None
    scores: dict[int, float]
    shows: list[int]
    stored: bool


@dataclass(frozen=True)
class RunRecord:
    """Everything a run folder tells about its video; ``run`` is the log's first event and, over it, ``run.json``."""

    video_id: str
    run: dict[str, Any]
    prompts: list[PromptPart]
    chunks: list[ChunkRecord]
    cast: dict[int, MemberRecord]
    frames: dict[str, FrameRecord]
    memory: list[str]
    finished: bool
    looks: list[LookRecord] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)

    def fact(self, *path: str) -> Any:
        """Return one of the run's facts by its keys, or ``None``."""
        value: Any = self.run
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def local(self, chunk: ChunkRecord) -> list[int]:
        """Return the indices of the chunks in the local window when ``chunk`` was generated (the sink's left out)."""
        before = self.chunks[chunk.index - 1].evicted if 0 < chunk.index <= len(self.chunks) else None
        return list(range(max(1, 0 if before is None else before + 1), chunk.index))


def read_record(folder: RunFolder) -> RunRecord:
    """Read a run folder.

    Raises:
        StoreError: the event log or a JSON file is damaged.
    """
    prompts: list[PromptPart] = []
    chunks: list[ChunkRecord] = []
    looks, steps = list[LookRecord](), list[StepRecord]()
    finished = False
    run: dict[str, Any] = {}
    for event in folder.read_events():
        match event.get("type"):
            case "run":
                run = event
            case "prompt":
                part = _prompt(event)
                if prompts and prompts[-1].prompt_id == part.prompt_id:  # told again, because it was corrected
                    part.chunks.extend(prompts.pop().chunks)
                prompts.append(part)
            case "chunk":
                chunk = _chunk(event)
                chunks.append(chunk)
                if prompts:
                    prompts[-1].chunks.append(chunk)
            case "check":
                looks.append(_look(event))
            case "director":
                steps.append(_step(event, prompts[-1].prompt_id if prompts else 0))
            case "done":
                finished = event["status"] == "done"
    run = run | (folder.read_json(folder.run) if folder.run.is_file() else {})
    bank = folder.read_json(folder.memory_bank) if folder.memory_bank.is_file() else {}
    memory = list(bank.get("frame_active_memory", chunks[-1].memory_next if chunks else []))
    return RunRecord(
        video_id=str(run.get("video_id", folder.path.resolve().name)),
        run=run,
        prompts=prompts,
        chunks=chunks,
        cast=_cast(bank.get("global_registry", {}), prompts),
        frames=_frames(bank.get("frame_archive", {}), chunks),
        memory=memory,
        finished=finished,
        looks=looks,
        steps=steps,
    )


def _prompt(event: Mapping[str, Any]) -> PromptPart:
    scene = event.get("scene", {})
    return PromptPart(
        prompt_id=int(event["prompt_id"]),
        prompt=str(event["prompt"]),
        text=str(event.get("text") or event["prompt"]),
        mentions=[
            Mention(str(e["entity"]), str(e.get("kind", "")), [str(a) for a in e["attrs"]], int(e["global_id"]))
            for e in event.get("entities", [])
        ],
        memory=list(event.get("memory", [])),
        reader=str(event.get("reader", "")),
        place=str(scene.get("place", "")),
        moves={int(i): how for how in ("enters", "leaves", "mentioned") for i in scene.get(how, [])},
        notes=[str(note) for note in event.get("notes", [])],
        waited=float(event.get("waited", 0.0)),
        outcomes=[str(call["outcome"]) for call in event.get("calls", [])],
        tokens=sum(call["input_tokens"] + call["output_tokens"] for call in event.get("calls", [])),
    )


def _look(event: Mapping[str, Any]) -> LookRecord:
    return LookRecord(
        global_id=int(event["global_id"]),
        frame_id=str(event["frame"]),
        by=str(event["by"]),
        attrs=None if event["attrs"] is None else [str(attr) for attr in event["attrs"]],
        score=None if event["score"] is None else float(event["score"]),
        notes=[str(note) for note in event["notes"]],
    )


def _step(event: Mapping[str, Any], prompt_id: int) -> StepRecord:
    return StepRecord(
        prompt_id=prompt_id,
        tools=[{str(key): str(value) for key, value in tool.items()} for tool in event.get("tools", [])],
        notes=[str(note) for note in event.get("notes", [])],
        spent={str(key): float(value) for key, value in event.get("spent", {}).items()},
    )


def _chunk(event: Mapping[str, Any]) -> ChunkRecord:
    return ChunkRecord(
        index=int(event["index"]),
        prompt_id=int(event["prompt_id"]),
        chunk_id=int(event["chunk_id"]),
        evicted=event.get("evicted"),
        kept_frame=event.get("kept_frame"),
        memory=list(event.get("memory", [])),
        memory_next=list(event.get("memory_next", [])),
        kept_scores={int(key): float(score) for key, score in (event.get("kept_scores") or {}).items()},
        seconds={str(stage): float(value) for stage, value in event.get("seconds", {}).items()},
    )


def _cast(registry: Mapping[str, Mapping[str, Any]], prompts: list[PromptPart]) -> dict[int, MemberRecord]:
    """The bank's cast; prompts newer than the bank's file add to it, and the kinds are read off them."""
    cast = {
        int(key): MemberRecord(
            global_id=int(key),
            name=str(member["name"]),
            kind=str(member.get("kind", "")),
            entities=list(member["all_entities"]),
            attrs=list(member["all_attrs"]),
            instances=[dict(instance) for instance in member["instances"]],
        )
        for key, member in registry.items()
    }
    for prompt in prompts:
        for mention in prompt.mentions:
            member = cast.setdefault(
                mention.global_id, MemberRecord(mention.global_id, mention.entity, mention.kind, [], [], [])
            )
            member.kind = member.kind or mention.kind
            if prompt.prompt_id not in member.prompt_ids:
                member.instances.append(
                    {"prompt_id": prompt.prompt_id, "entity": mention.entity, "attrs": mention.attrs}
                )
                member.attrs += [attr for attr in mention.attrs if attr not in member.attrs]
                member.entities += [mention.entity] if mention.entity not in member.entities else []
    return dict(sorted(cast.items()))


def _frames(archive: Mapping[str, Mapping[str, Any]], chunks: list[ChunkRecord]) -> dict[str, FrameRecord]:
    """The bank's frames, and those that the log says were kept once."""
    index = {(chunk.prompt_id, chunk.chunk_id): chunk.index for chunk in chunks}
    logged = {chunk.kept_frame: chunk.kept_scores for chunk in chunks if chunk.kept_frame is not None}
    attended = (name for chunk in chunks for name in [*chunk.memory, *chunk.memory_next])
    frames = {}
    for name in [*archive, *logged, *attended]:
        if name in frames:
            continue
        prompt_id, chunk_id, frame = (int(part[1:]) for part in name.split("_"))
        entry = archive.get(name, {})
        scores = {int(k): float(v) for k, v in entry.get("entity_scores", {}).items()} or logged.get(name, {})
        frames[name] = FrameRecord(
            frame_id=name,
            prompt_id=prompt_id,
            chunk_id=chunk_id,
            frame=frame,
            index=index.get((prompt_id, chunk_id)),
            scores=scores,
            shows=[int(i) for i in entry.get("associated_entities", scores)],
            stored=name in archive,
        )
    return frames
