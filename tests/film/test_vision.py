"""The eye that asks a vision model, over a real chat server: what it is shown, and what becomes of its answers."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from memreel.configs.schema import AgentConfig, RunConfig
from memreel.errors import UserError
from memreel.film.consistency import Against, judge
from memreel.film.likeness import MIDDLE
from memreel.film.models import eye_for
from memreel.film.sight import Wanted
from memreel.film.vision import LONGEST_SIDE, ChatEye
from memreel.model.protocol import Pictures
from memreel.tests.chat_server import ChatServer, Status, Text, Tool, serve

MIA = Wanted("Mia, red hair, blue sweater", "Mia", ("red hair", "blue sweater"))
TOM = Wanted("Tom, black hair", "Tom", ("black hair",))


def picture(shade: int = 120) -> Pictures:
    pixels = np.full((600, 1000, 3), shade, dtype=np.uint8)
    pixels[:, :500] = (200, 40, 40)
    return pixels


def seen(*of: dict[str, Any]) -> Tool:
    return Tool(json.dumps({"seen": list(of)}), "look")


def eye(server: ChatServer) -> ChatEye:
    return ChatEye("seer", AgentConfig(base_url=server.base_url, retries=0, timeout_s=5))


def test_the_model_is_shown_a_small_picture_and_asked_for_everybody_by_number_and_looks() -> None:
    with serve(seen({"number": 1, "visible": 1})) as server:
        eye(server).look(picture(), {1: MIA, 7: TOM}, "Mia met Tom.")
    [asked] = server.requests
    text, image = asked["messages"][-1]["content"]
    assert "1. Mia: red hair, blue sweater" in text["text"]
    assert "7. Tom: black hair" in text["text"]
    assert "Mia met Tom." in text["text"]
    assert image["type"] == "image_url"
    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as sent:
        assert (sent.format, sent.width) == ("JPEG", LONGEST_SIDE)
        assert np.abs(np.asarray(sent)[100, 100].astype(int) - (200, 40, 40)).max() < 12
    assert asked["tool_choice"]["function"]["name"] == "look"


def test_wrong_looks_missing_people_and_boxes_become_what_the_eye_saw() -> None:
    answer = seen({"number": 1, "visible": 0.9, "wrong": ["Red hair"], "box": [0.1, 0.2, 0.4, 0.9]})
    with serve(answer) as server:
        sights = eye(server).look(picture(), {1: MIA, 7: TOM})
    assert (sights[1].visible, sights[1].likeness, sights[1].wrong) == (0.9, 0.5, ("red hair",))
    assert sights[1].box == (0.1, 0.2, 0.4, 0.9)
    assert (sights[7].visible, sights[7].wrong) == (0.0, ("black hair",))


def test_what_it_saw_decides_the_character_part_of_the_score() -> None:
    def score(*wrong: str) -> float | None:
        with serve(seen({"number": 1, "visible": 1, "wrong": list(wrong)})) as server:
            return judge([picture()], Against({1: MIA}), eye(server))["character"]

    assert score() == 1.0
    assert score("blue sweater") == pytest.approx(0.6)
    assert score("blue sweater", "red hair") == pytest.approx(0.2)


def test_an_answer_about_somebody_who_was_not_asked_for_goes_back_with_what_is_wrong() -> None:
    with serve(seen({"number": 3, "visible": 1}), seen({"number": 1, "visible": 1})) as server:
        looking = eye(server)
        assert looking.look(picture(), {1: MIA})[1].likeness == 1.0
    assert len(server.requests) == 2
    assert "numbers [3] were not asked for" in json.dumps(server.requests[1]["messages"])
    assert "sent back" in looking.notes[0]


def test_a_server_without_tools_is_asked_for_json_in_the_text() -> None:
    plain = Text('```json\n{"seen": [{"number": 1, "visible": 1, "wrong": []}]}\n```')
    with serve(Status(400, '{"error": {"message": "no tools here"}}'), plain) as server:
        assert eye(server).look(picture(), {1: MIA})[1].likeness == 1.0
    assert "tools" not in server.requests[1]


def test_where_it_gives_no_answer_likeness_decides_and_the_record_says_so() -> None:
    with serve(Status(503, "{}")) as server:
        looking = eye(server)
        sights = looking.look(picture(), {1: MIA})
        score = judge([picture()], Against({1: MIA}, known={1: picture()}), looking)
    assert (sights[1].likeness, sights[1].box) == (None, MIDDLE)
    assert score["character"] == 1.0  # the crops are the same
    assert "HTTP 503" in looking.notes[0]
    assert "likeness alone decided" in looking.notes[0]


def test_the_same_question_about_the_same_picture_is_asked_once() -> None:
    with serve(seen({"number": 1, "visible": 1})) as server:
        looking = eye(server)
        for shade in (120, 120, 30, 120):
            looking.look(picture(shade), {1: MIA})
        assert len(server.requests) == 2


def test_a_reference_picture_is_described_and_its_files_name_stands_in() -> None:
    described = Tool(json.dumps({"caption": "A woman with red hair.", "attributes": ["red hair", " "]}), "describe")
    with serve(described, Status(500, "{}")) as server:
        looking = eye(server)
        assert looking.describe(picture(), "mia front") == ("A woman with red hair.", ("red hair",))
        assert looking.describe(picture(30), "mia back") == ("mia back", ())
    assert "Its file is called 'mia front'." in server.requests[0]["messages"][-1]["content"][0]["text"]


def test_a_named_vision_model_is_the_films_eye_and_needs_an_address_or_a_key() -> None:
    config = RunConfig.model_validate({"film": {"vision": "seer"}, "agent": {"base_url": "http://127.0.0.1:9/v1"}})
    assert eye_for(config, None).name == "seer"  # type: ignore[arg-type]
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        eye_for(RunConfig.model_validate({"film": {"vision": "seer"}}), None)  # type: ignore[arg-type]
