"""A chat model that sees looks at one memory frame and says how an entity looks there, in one structured call.

What it answers is checked like a reading. Where it cannot be asked or gives nothing usable, nothing is corrected, and
the notes say so.
"""

from __future__ import annotations

import base64
import io
import json

from langchain_core.messages import HumanMessage, SystemMessage
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from memreel.agent.llm import NO_SUCH_REQUEST, Chat, Unavailable
from memreel.agent.looks import Looks
from memreel.agent.reading import LONGEST_ATTRIBUTE, MOST_ATTRIBUTES
from memreel.agent.replies import json_of
from memreel.agent.texts import filled, texts
from memreel.memory.records import CastMember, phrase
from memreel.model.protocol import Pictures

TOOL = "report_looks"


class SeenLooks(BaseModel):
    """What the picture shows of the person or thing asked for."""

    visible: bool = Field(description="Whether it is in the picture at all.")
    attrs: list[str] = Field(default_factory=list, description="All its visual attributes as the picture shows them.")
    score: float = Field(ge=0, le=1, description="How well and how clearly the picture shows it as described, 0 to 1.")


class ChatLooker:
    """Looks with a chat model."""

    def __init__(self, chat: Chat) -> None:
        """Prepare to ask ``chat``; nothing is sent yet."""
        self.name = chat.name
        self._chat = chat

    def look(self, picture: Pictures, member: CastMember, prompt: str) -> Looks:
        """Ask about one entity in one picture."""
        looks, said = Looks(None, None), texts()["looks"]
        image = io.BytesIO()
        Image.fromarray(picture).save(image, "PNG")
        question = filled(said["question"], {"member": phrase(member)[:1000], "prompt": prompt[:2000]})
        shown = {"type": "image", "base64": base64.b64encode(image.getvalue()).decode(), "mime_type": "image/png"}
        messages = [SystemMessage(said["system"]), HumanMessage([{"type": "text", "text": question}, shown])]
        tool = {
            "type": "function",
            "function": {"name": TOOL, "description": said["tool"], "parameters": SeenLooks.model_json_schema()},
        }
        try:
            try:
                reply = self._chat.ask(messages, looks.calls, tools=[tool], choice=TOOL)
            except Unavailable as error:
                if error.status not in NO_SUCH_REQUEST:
                    raise
                plain = SystemMessage(f"{said['system']}\n{json.dumps(SeenLooks.model_json_schema())}")
                reply = self._chat.ask([plain, messages[1]], looks.calls)
            seen = SeenLooks.model_validate(json_of(reply))
        except Unavailable as error:
            looks.notes.append(f"{self.name}: {error}; the looks of {member['name']} were not checked")
            return looks
        except ValidationError as error:
            looks.notes.append(f"{self.name}: no usable answer ({error.error_count()} faults) for {member['name']}")
            return looks
        except ValueError as error:
            looks.notes.append(f"{self.name}: no usable answer ({error}) for {member['name']}")
            return looks
        attrs = [attr.strip() for attr in seen.attrs if 0 < len(attr.strip()) <= LONGEST_ATTRIBUTE][:MOST_ATTRIBUTES]
        looks.score = seen.score if seen.visible else 0.0
        looks.attrs = attrs if seen.visible and attrs else None
        return looks
