"""A graph that reads a script without rendering it: who and what each prompt speaks of, and the text it would become.

One node, no video model, no run folder; what an author or another agent asks before it spends time on pictures.
"""

from __future__ import annotations

from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import Field
from typing_extensions import TypedDict

from memreel.agent.enrich import enrich
from memreel.agent.reading import Scene, prompt_reader, scene
from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.memory.cast import phrase_rows, register
from memreel.memory.index import Candidate, TextIndex
from memreel.memory.records import CastMember, Entity, empty_bank
from memreel.model.minilm import sentence_encoder
from memreel.script import check_prompts

CANDIDATES = 5


class ScriptInput(TypedDict):
    """What is asked."""

    prompts: Annotated[list[str], Field(description="The script: one text for each scene of about ten seconds.")]


class ReadPrompt(TypedDict):
    """A prompt as read: its entities by global ID, the text for the video model, who read it, and remarks."""

    prompt_id: int
    text: str
    entities: list[Entity]
    scene: Scene
    reader: str
    notes: list[str]


class ScriptReading(TypedDict):
    """What is answered: the cast of the whole script, and the prompts one by one."""

    cast: list[CastMember]
    reading: list[ReadPrompt]


class _State(ScriptInput, ScriptReading, total=False):
    pass


def build_reading_graph(
    config: RunConfig | str | None = None,
) -> CompiledStateGraph[_State, None, ScriptInput, ScriptReading]:
    """Build the graph: invoke it with ``{"prompts": [...]}``.

    Args:
        config: a `RunConfig`, the name of a preset or file, or ``None`` for the default preset; it names the reader.

    Raises:
        UserError: the configuration is wrong.
    """
    settings = config if isinstance(config, RunConfig) else load_config(config or "sketch")

    def read_script(state: _State) -> ScriptReading:
        """Read all prompts, each with what those before it told."""
        reader, bank, read = prompt_reader(settings.agent), empty_bank(), list[ReadPrompt]()
        index = TextIndex(sentence_encoder().embed)

        def candidates(phrases: Any) -> list[list[Candidate]]:
            found = index.nearest(phrase_rows(bank), phrases, CANDIDATES)
            return [[Candidate(global_id, similarity) for global_id, similarity in row] for row in found]

        for number, prompt in enumerate(check_prompts(state.get("prompts", []), "input"), start=1):
            reading = reader.parse(prompt, bank, candidates)
            entities = reader.match(prompt, reading.entities, bank, candidates)
            bank = register(bank, number, prompt, entities)
            text = enrich(prompt, entities, bank["cast"]) if settings.prompt.enrich else prompt
            read.append(
                {
                    "prompt_id": number,
                    "text": text,
                    "entities": entities,
                    "scene": scene(reading.place, entities),
                    "reader": reading.read_by,
                    "notes": reading.notes,
                }
            )
        return {"cast": list(bank["cast"].values()), "reading": read}

    builder = StateGraph(_State, input_schema=ScriptInput, output_schema=ScriptReading)
    builder.add_node("read_script", read_script)
    builder.add_edge(START, "read_script")
    builder.add_edge("read_script", END)
    return builder.compile(name="read_script")
