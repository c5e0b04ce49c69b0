"""memreel as one node of a larger LangGraph: scenes are written, filmed, captioned; chunks stream through the parent.

Run it with ``python examples/film_in_a_graph.py [FOLDER]``; it needs no key and no GPU. The writing is a function here;
put your own node in its place.
"""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

import memreel


class Story(TypedDict, total=False):
    """The larger graph's state: none of it is memreel's."""

    hero: str
    scenes: list[str]
    film: str
    caption: str


def write(state: Story) -> Story:
    """Write three scenes about the hero."""
    hero = state["hero"]
    name = hero.split(",")[0]
    return {"scenes": [f"{hero} walks into the library.", "A dog sleeps in the park.", f"{name} reads in the library."]}


def caption(state: Story) -> Story:
    """Say what the film is."""
    return {"caption": f"{len(state['scenes'])} scenes about {state['hero'].split(',')[0]}: {state['film']}"}


def main(out: str = "runs/graph", config: memreel.RunConfig | str | None = None) -> tuple[str, list[int]]:
    """Run the graph; return the caption and the numbers of the chunks in the order in which they streamed by."""
    builder: Any = StateGraph(Story)
    builder.add_node("write", write)
    builder.add_node("film", memreel.as_node(config, out=out, prompts="scenes", video="film"))
    builder.add_node("caption", caption)
    builder.add_edge(START, "write")
    builder.add_edge("write", "film")
    builder.add_edge("film", "caption")
    builder.add_edge("caption", END)
    graph = builder.compile()

    chunks: list[int] = []
    said = ""
    hero: Story = {"hero": "Mia, a woman with red hair and a blue sweater,"}
    for mode, value in graph.stream(hero, stream_mode=["custom", "values"]):
        if mode == "values":
            said = value.get("caption", "")
        elif value["type"] == "chunk":
            chunks.append(value["index"])
            print(f"chunk {value['index']} of prompt {value['prompt_id']} is done")
    print(said)
    return said, chunks


if __name__ == "__main__":
    main(*sys.argv[1:2])
