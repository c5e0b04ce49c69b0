"""A writer agent of your own that makes a film by calling memreel's tools.

Run it with ``python examples/writer_agent.py [FOLDER]``. The writer is a chat model, any OpenAI-compatible server's:

    export OPENAI_API_KEY=…  MEMREEL_LLM_MODEL=…  MEMREEL_LLM_BASE_URL=http://localhost:8000/v1
"""

from __future__ import annotations

import os
import sys
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import memreel

TASK = """You write and make a short film of three scenes with the tools given. Make each scene with generate_chunk and
a prompt of one or two sentences; describe people when they first appear and call them by name from then on. Let
somebody who left come back in the last scene. Then call finish_video and tell the user where the film is."""
IDEA = "A lost umbrella."


def main(out: str = "runs/writer", config: memreel.RunConfig | str | None = None, idea: str = IDEA) -> str:
    """Let the agent make a film about ``idea``; return its last words."""
    tools = memreel.tools(config, out=out)
    model = ChatOpenAI(
        model=os.environ["MEMREEL_LLM_MODEL"], base_url=os.environ.get("MEMREEL_LLM_BASE_URL")
    ).bind_tools(tools)

    def write(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("write", write)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "write")
    builder.add_conditional_edges("write", tools_condition)
    builder.add_edge("tools", "write")
    agent: Any = builder.compile()

    said: Any = None
    talk = [SystemMessage(TASK), HumanMessage(idea)]
    for state in agent.stream({"messages": talk}, {"recursion_limit": 60}, stream_mode="values"):
        said = state["messages"][-1]
        for call in said.tool_calls if isinstance(said, AIMessage) else ():
            print(f"→ {call['name']}({', '.join(f'{key}={value!r}' for key, value in call['args'].items())})")
    print(said.content)
    return str(said.content)


if __name__ == "__main__":
    main(*sys.argv[1:2])
