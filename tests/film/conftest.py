"""What tests of films share: providers' servers under their environment variables, references, an event log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from PIL import Image

from memreel.film.clips.protocol import Reference
from memreel.tests.film.provider_servers import GoogleHandler, ProviderServer, RunwayHandler, serve
from memreel.tests.film.wishes import Log


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One certificate: each SDK's client reads all there are when it is made, though nothing here is encrypted."""
    path = tmp_path_factory.mktemp("ssl") / "authority.pem"
    every = Path(certifi.where()).read_text(encoding="utf-8")
    path.write_text(min(re.findall(r"-----BEGIN C.*?-----END CERTIFICATE-----\n", every, re.DOTALL), key=len))
    return path


@pytest.fixture(autouse=True)
def environment(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the keys and models of whoever runs the tests out of them."""
    keys = ("RUNWAYML_API_SECRET", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "OPENAI_API_KEY")
    for name in (*keys, "MEMREEL_LLM_MODEL", "MEMREEL_LLM_BASE_URL", "MEMREEL_VISION_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))


@pytest.fixture
def runway(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serve(RunwayHandler) as server:
        monkeypatch.setenv("RUNWAYML_API_SECRET", "key_runway")
        monkeypatch.setenv("RUNWAYML_BASE_URL", server.address)
        yield server


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serve(GoogleHandler) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "key_google")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.address)
        yield server


@pytest.fixture
def vertex(google: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    """Google's server, spoken to as Vertex AI."""
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_API_KEY", "key_vertex")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", google.address)
    return google


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def look(tmp_path: Path) -> tuple[Reference, ...]:
    """References to two people."""
    found = []
    for name, colour in (("Nora", "red"), ("Ethan", "blue")):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (96, 64), colour).save(path)
        found.append(Reference(path, name, f"{name}, dressed in {colour}" + "." * (name == "Nora")))
    return tuple(found)
