"""What providers are asked for: each one's own request shape by its real SDK, and what is refused before it is sent."""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memreel.errors import UserError
from memreel.film.clips.footage import examine
from memreel.film.clips.protocol import Reference
from memreel.film.clips.router import hosted
from memreel.tests.film.provider_servers import ProviderServer, Status
from memreel.tests.film.wishes import QUICK, WISH, Log


def test_runway_makes_a_clip_from_text_and_charges_what_runway_says(
    runway: ProviderServer, tmp_path: Path, log: Log
) -> None:
    router = hosted("runway", 5.0, QUICK)
    clip = router.generate(replace(WISH, seconds=3.5), tmp_path, log.append)
    assert clip.path == tmp_path / "s01a1.mp4"
    assert examine(clip.path).seconds == pytest.approx(4.0)
    assert (clip.provider, clip.model, clip.task_id) == ("runway", "gen4.5", "task1")
    assert clip.cost.usd == pytest.approx(0.48) == runway.charged
    assert clip.cost.credits == 48
    [(path, asked)] = runway.asked
    assert path == "/v1/text_to_video"
    assert asked == {
        "model": "gen4.5",
        "promptText": WISH.prompt,
        "duration": 4,
        "ratio": "1280:720",
        "seed": 7,
    }
    assert runway.keys == ["Bearer key_runway"]
    assert any("3.5 s asked, 4 s made" in event["note"] for event in log.of("clip_adapted"))
    assert router.ledger(tmp_path).summary()["rows"] == [
        {"provider": "runway", "model": "gen4.5", "tasks": 1, "failed": 0, "seconds": 4.0}
        | {"credits": 48, "usd": 0.48, "open_usd": 0.0}
    ]


def test_runway_continues_a_first_frame_and_leaves_the_references_out(
    runway: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[0].path, references=look, prompt="@Nora walks on.")
    clip = hosted("runway", None, QUICK).generate(wish, tmp_path, log.append)
    [(path, asked)] = runway.asked
    assert path == "/v1/image_to_video"
    assert asked["promptText"] == "Nora, dressed in red walks on."
    data = base64.b64decode(asked["promptImage"][0]["uri"].removeprefix("data:image/png;base64,"))
    assert data == look[0].path.read_bytes()
    assert any("both at once" in note for note in clip.notes)


def test_runway_has_a_first_frame_painted_from_references(
    runway: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    router = hosted("runway", 5.0, QUICK)
    wish = replace(WISH, prompt="@Nora greets somebody.", references=look)
    assert router.estimate(wish).usd == pytest.approx(0.05 + 0.48)
    clip = router.generate(wish, tmp_path, log.append)
    (first, painting), (second, asked) = runway.asked
    assert (first, second) == ("/v1/text_to_image", "/v1/image_to_video")
    assert [image["tag"] for image in painting["referenceImages"]] == ["Nora", "Ethan"]
    assert painting["promptText"] == "@Nora greets somebody. @Ethan is Ethan, dressed in blue."
    assert asked["promptImage"][0]["position"] == "first"
    assert clip.cost.usd == pytest.approx(0.53) == runway.charged


def test_google_gets_references_by_number_and_is_charged_by_tokens(
    google: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    router = hosted("omni-1.1", 5.0, QUICK)
    clip = router.generate(replace(WISH, prompt="@Ethan turns.", references=look), tmp_path, log.append)
    [(path, asked)] = google.asked
    assert path.endswith("/interactions")
    assert asked["model"] == "gemini-omni-1.1-flash"
    assert asked["background"] is True
    assert asked["response_format"] == {
        "type": "video",
        "aspect_ratio": "16:9",
        "duration": "4s",
        "resolution": "720p",
        "delivery": "uri",
    }
    assert asked["generation_config"] == {"video_config": {"task": "reference_to_video"}}
    parts = asked["input"][0]["content"]
    assert [part["type"] for part in parts] == ["image", "image", "text"]
    assert parts[2]["text"] == "<IMAGE_REF_1> turns. <IMAGE_REF_0> shows Nora, dressed in red."
    assert examine(clip.path).seconds == pytest.approx(4.0)
    assert clip.cost.usd == pytest.approx(0.40)
    assert google.keys == ["key_google"]


def test_google_continues_a_first_frame(
    google: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[1].path, references=look[:1], last_frame=look[0].path)
    clip = hosted("omni-1.2", None, QUICK).generate(wish, tmp_path, log.append)
    [(_, asked)] = google.asked
    assert asked["generation_config"] == {"video_config": {"task": "image_to_video"}}
    [picture, text] = asked["input"][0]["content"]
    assert base64.b64decode(picture["data"]) == look[1].path.read_bytes()
    assert text["text"] == WISH.prompt
    assert "last frame not used: not supported" in clip.notes


def test_on_vertex_the_video_comes_in_the_answer(vertex: ProviderServer, tmp_path: Path, log: Log) -> None:
    clip = hosted("omni-1.2", None, QUICK).generate(WISH, tmp_path, log.append)
    assert examine(clip.path).pictures == 96
    assert vertex.downloads == 0
    assert vertex.keys == ["key_vertex"]


def test_veo_on_vertex_serves_references_by_its_one_length(
    vertex: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, seconds=5, references=look, prompt="@Nora waits.")
    clip = hosted("veo-3.1", 5.0, QUICK).generate(wish, tmp_path, log.append)
    path, asked = vertex.asked[0]
    assert vertex.keys[0] == "key_vertex"
    assert path.endswith("/models/veo-3.1-fast-generate-001:predictLongRunning")
    assert asked["parameters"]["durationSeconds"] == 8
    assert len(asked["instances"][0]["referenceImages"]) == 2
    assert asked["instances"][0]["prompt"] == "Nora, dressed in red waits."
    assert clip.seconds == pytest.approx(8.0)
    assert clip.cost.usd == pytest.approx(0.80)


def test_veo_takes_a_first_and_a_last_frame(
    vertex: ProviderServer, tmp_path: Path, log: Log, look: tuple[Reference, ...]
) -> None:
    wish = replace(WISH, first_frame=look[0].path, last_frame=look[1].path)
    hosted("veo-3.1", None, QUICK).generate(wish, tmp_path, log.append)
    instance = vertex.asked[0][1]["instances"][0]
    sent = [base64.b64decode(instance[name]["bytesBase64Encoded"]) for name in ("image", "lastFrame")]
    assert sent == [look[0].path.read_bytes(), look[1].path.read_bytes()]
    assert "referenceImages" not in instance


@pytest.mark.parametrize(
    ("model", "change", "says"),
    [
        ("gen4.5", {"prompt": "🎬" * 501}, "up to 1000 characters (UTF-16 units), this one has 1002"),
        ("gen4.5", {"prompt": "  "}, "needs a prompt"),
        ("gen4.5", {"seconds": 11}, "2 to 10 s, not 11 s"),
        ("gen4.5", {"seconds": 0}, "2 to 10 s, not 0 s"),
        ("gen4.5", {"ratio": "1:1"}, "1280:720" and "16:9, 9:16 here, not 1:1"),
        ("omni-1.1", {"ratio": "1:1"}, "16:9, 9:16 here, not 1:1"),
        ("veo-3.1", {"seconds": 9}, "4 to 8 s, not 9 s"),
        ("omni-1.2", {"first_frame": Path(__file__)}, "not a picture"),
        ("omni-1.2", {"references": (Reference(Path(__file__), "x", "a tag that is too short"),)}, "3 to 16 letters"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_sent(
    runway: ProviderServer,
    google: ProviderServer,
    tmp_path: Path,
    log: Log,
    model: str,
    change: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(UserError) as caught:
        hosted(model, 5.0, QUICK).generate(replace(WISH, **change), tmp_path, log.append)
    assert says in str(caught.value)
    assert not runway.asked
    assert not google.asked
    assert not (tmp_path / "ledger.json").exists()


def test_a_prompt_of_exactly_the_limit_is_sent(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    hosted("runway", None, QUICK).generate(replace(WISH, prompt="🎬" * 500), tmp_path, log.append)
    assert runway.asked[0][1]["promptText"] == "🎬" * 500


def test_a_large_picture_is_sent_smaller(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    noisy = tmp_path / "noise.bmp"
    Image.new("RGB", (1500, 900), "teal").save(noisy)
    assert noisy.stat().st_size > 3_750_000
    clip = hosted("runway", None, QUICK).generate(replace(WISH, first_frame=noisy), tmp_path, log.append)
    assert len(runway.asked[0][1]["promptImage"][0]["uri"]) < 5_100_000
    assert "noise.bmp sent as a smaller JPEG" in clip.notes


def test_a_missing_key_names_its_variable(
    runway: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    monkeypatch.delenv("RUNWAYML_API_SECRET")
    router = hosted("runway", 5.0, QUICK)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.generate(WISH, tmp_path, log.append)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.require([WISH])
    assert not runway.asked


def test_a_missing_sdk_says_what_to_install(
    runway: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    monkeypatch.delitem(sys.modules, "memreel.film.clips.runway", raising=False)
    monkeypatch.setitem(sys.modules, "runwayml", None)
    with pytest.raises(UserError, match=r"pip install 'memreel\[hosted\]'"):
        hosted("runway", 5.0, QUICK).generate(WISH, tmp_path, log.append)
    assert not (tmp_path / "ledger.json").exists()


def test_a_model_of_vertex_alone_says_what_to_set(google: ProviderServer, tmp_path: Path, log: Log) -> None:
    with pytest.raises(UserError, match="GOOGLE_GENAI_USE_VERTEXAI"):
        hosted("veo-3.1", 5.0, QUICK).generate(WISH, tmp_path, log.append)
    assert not google.asked


def test_a_key_that_is_not_accepted_names_its_variable(runway: ProviderServer, tmp_path: Path, log: Log) -> None:
    runway.creates = [Status(401, "invalid key")]
    router = hosted("runway", 5.0, QUICK)
    with pytest.raises(UserError, match="RUNWAYML_API_SECRET"):
        router.generate(WISH, tmp_path, log.append)
    assert len(runway.asked) == 1
    assert router.ledger(tmp_path).left == 5.0
