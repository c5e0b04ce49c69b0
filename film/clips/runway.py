"""Runway's API through its SDK: tasks that make a clip from text or a first frame, or paint a picture from references.

The key is read from ``RUNWAYML_API_SECRET`` by the caller, the address from ``RUNWAYML_BASE_URL`` by the SDK. Waiting
and trying again are not done here, so the SDK's own are switched off.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import runwayml

from memreel.film.clips.fitting import Fitted, Painting, Still
from memreel.film.clips.table import Provider
from memreel.film.clips.wire import Gone, Progress, Task, Unavailable, by_status

PROGRESS: dict[str, Progress] = {
    "PENDING": "waiting",
    "THROTTLED": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}
REQUEST_AT_FAULT = ("SAFETY", "INPUT_PREPROCESSING", "ASSET")
"""How the failure codes begin that are about the prompt or its pictures."""


class RunwayWire:
    """One account at Runway."""

    def __init__(self, provider: Provider, key: str, timeout: float) -> None:
        """Prepare a client; ``timeout`` is in seconds, for one request."""
        self._credit = provider.usd_per_credit
        self._client = runwayml.RunwayML(api_key=key, max_retries=0, timeout=timeout)
        self._plain = httpx.Client(timeout=timeout, follow_redirects=True)

    def start_clip(self, fitted: Fitted) -> Task:
        """Create a clip: from its first frame if it has one, from text alone otherwise."""
        asked: dict[str, Any] = {
            "model": fitted.offer.model,
            "prompt_text": fitted.prompt,
            "duration": fitted.seconds,
            "ratio": fitted.ratio,
            "seed": fitted.seed,
        }
        if fitted.first_frame:
            asked["prompt_image"] = [{"uri": _data_uri(fitted.first_frame), "position": "first"}]
            return self._created(lambda: self._client.image_to_video.create(**asked))
        return self._created(lambda: self._client.text_to_video.create(**asked))

    def start_painting(self, painting: Painting, seed: int) -> Task:
        """Create a picture from tagged references."""
        pictures = [{"uri": _data_uri(still), "tag": tag} for tag, still in painting.references]
        asked: dict[str, Any] = {
            "model": painting.painter.model,
            "prompt_text": painting.prompt,
            "ratio": painting.ratio,
            "reference_images": pictures,
            "seed": seed,
        }
        return self._created(lambda: self._client.text_to_image.create(**asked))

    def look(self, task_id: str) -> Task:
        """Retrieve a task."""
        return self._call(lambda: self._read(task_id, self._client.tasks.retrieve(task_id)))  # type: ignore[no-any-return]

    def _read(self, task_id: str, found: Any) -> Task:
        progress = PROGRESS.get(found.status, "running")
        ended = progress in ("succeeded", "failed", "cancelled")
        told = getattr(found, "cost" if ended else "estimated_cost", None)
        code = getattr(found, "failure_code", None)
        return Task(
            task_id,
            progress,
            usd=told.credits * self._credit if told else None,
            credits=told.credits if told else 0.0,
            outputs=tuple(getattr(found, "output", None) or ()),
            code=code,
            reason=getattr(found, "failure", "") or "",
            fault="request" if (code or "").startswith(REQUEST_AT_FAULT) else "provider",
        )

    def cancel(self, task_id: str) -> None:
        """Cancel a task; what that refunds is Runway's to decide."""
        self._call(lambda: self._client.tasks.delete(task_id))

    def fetch(self, output: str, path: Path) -> None:
        """Download an output; its address is not Runway's API and is asked without the key."""
        try:
            with self._plain.stream("GET", output) as response, path.open("wb") as file:
                if response.status_code in (401, 403):  # what a signed address says once it has expired
                    raise Gone(f"the address of the result answers {response.status_code}")
                if response.is_error:
                    raise by_status(response.status_code, "the result cannot be downloaded", None, False)
                for part in response.iter_bytes():
                    file.write(part)
        except httpx.HTTPError as error:
            raise Unavailable(f"the download broke off: {error}") from error

    def _created(self, send: Callable[[], Any]) -> Task:
        made = self._call(send, creating=True)
        told = getattr(made, "estimated_cost", None)
        if not getattr(made, "id", None):
            raise Unavailable("Runway answered without a task id", maybe_taken=True)
        credits = told.credits if told else 0.0
        return Task(made.id, "waiting", usd=credits * self._credit if told else None, credits=credits)

    def _call(self, send: Callable[[], Any], creating: bool = False) -> Any:
        try:
            return send()
        except runwayml.APIStatusError as error:
            raise by_status(
                error.status_code, _message(error), error.response.headers.get("retry-after"), creating
            ) from error
        except runwayml.APIConnectionError as error:
            reached = not isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout))
            raise Unavailable(f"no answer ({error.__cause__ or error})", maybe_taken=creating and reached) from error
        except (runwayml.APIError, ValueError, AttributeError) as error:
            raise Unavailable(f"an answer that is not understood: {error}", maybe_taken=creating) from error


def _message(error: runwayml.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    said = body.get("error") or body.get("message") or error.message
    return said if isinstance(said, str) else str(said)


def _data_uri(still: Still) -> str:
    return f"data:{still.mime};base64,{base64.b64encode(still.data).decode()}"
