"""Google's video models through its SDK: Omni Flash by Interactions in the background, Veo by long-running operations.

The key is read from the environment by the caller, the address from ``GOOGLE_GEMINI_BASE_URL`` by the SDK. With
``GOOGLE_GENAI_USE_VERTEXAI`` the SDK speaks to Vertex AI (``GOOGLE_VERTEX_BASE_URL``) instead, with a project's
credentials or a key; Veo is served there alone. Waiting and trying again are not done here, so the SDK's own are
switched off.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from memreel.film.clips.fitting import Fitted, Painting, Still
from memreel.film.clips.table import Model, on_vertex
from memreel.film.clips.wire import Progress, Refused, Task, Unavailable, by_status

VIDEO_DATA = "data:video/mp4;base64,"
PROGRESS: dict[str, Progress] = {
    "queued": "waiting",
    "in_progress": "running",
    "completed": "succeeded",
    "failed": "failed",
    "incomplete": "failed",
    "budget_exceeded": "failed",
    "requires_action": "failed",
    "cancelled": "cancelled",
}
REQUEST_AT_FAULT = ("safety", "blocked", "policy", "prohibited", "invalid", "filtered")
"""Words by which a failure is about the prompt or its pictures."""


class _Wire:
    """What both of Google's ways to a video share: the client, its errors, downloads."""

    def __init__(self, model: Model, key: str, timeout: float) -> None:
        """Prepare a client; ``timeout`` is in seconds, for one request."""
        options = types.HttpOptions(
            base_url=os.environ.get("GOOGLE_VERTEX_BASE_URL") if on_vertex() else None,
            timeout=int(timeout * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self._model = model
        self._client = genai.Client(api_key=None if on_vertex() else key, http_options=options)

    def start_painting(self, painting: Painting, seed: int) -> Task:  # noqa: ARG002
        """Refuse: these models take references themselves."""
        raise Refused(f"{painting.painter.model} is not Google's")

    def fetch(self, output: str, path: Path) -> None:
        """Download an output, or decode one that came along in the answer."""
        if output.startswith(VIDEO_DATA):
            path.write_bytes(base64.b64decode(output[len(VIDEO_DATA) :]))
            return
        self._call(lambda: self._client.files.download(file=output, destination=str(path)))

    def _call(self, send: Callable[[], Any], creating: bool = False) -> Any:
        try:
            return send()
        except Exception as error:  # the SDK raises errors of its own, of two generations, and of two HTTP libraries
            raise _wire_error(error, creating) from error


class OmniWire(_Wire):
    """Omni Flash: an interaction is the task."""

    def start_clip(self, fitted: Fitted) -> Task:
        """Create an interaction in the background; pictures stand before the text, in the order of their tags."""
        pictures = [fitted.first_frame] if fitted.first_frame else list(fitted.references)
        task = "image_to_video" if fitted.first_frame else "reference_to_video" if pictures else "text_to_video"
        made = self._call(
            lambda: self._client.interactions.create(
                model=fitted.offer.model,
                input=[*map(_picture, pictures), {"type": "text", "text": fitted.prompt}],
                background=True,
                response_format={
                    "type": "video",
                    "aspect_ratio": fitted.ratio,
                    "duration": f"{fitted.seconds}s",
                    "resolution": fitted.offer.resolution,
                    "delivery": "inline" if on_vertex() else "uri",  # Vertex AI has no files of its own
                },
                generation_config={"video_config": {"task": task}},
            ),
            creating=True,
        )
        if not made.id:
            raise Unavailable("Google answered without an interaction id", maybe_taken=True)
        return Task(made.id, "waiting")

    def look(self, task_id: str) -> Task:
        """Get an interaction; what it cost follows from the tokens of video that it reports."""
        return self._call(lambda: self._read(task_id, self._client.interactions.get(task_id)))  # type: ignore[no-any-return]

    def _read(self, task_id: str, found: Any) -> Task:
        progress = PROGRESS.get(found.status, "running")
        video = found.output_video
        outputs: tuple[str, ...] = ()
        if video is not None and (video.uri or video.data):
            outputs = (video.uri or VIDEO_DATA + str(video.data),)
        reason = "" if progress in ("waiting", "running", "succeeded") else _why(found)
        return Task(
            task_id,
            progress,
            usd=self._charged(found) if progress not in ("waiting", "running") else None,
            outputs=outputs,
            code=None if progress == "succeeded" else found.status,
            reason=reason,
            fault="request" if any(word in reason.lower() for word in REQUEST_AT_FAULT) else "provider",
        )

    def cancel(self, task_id: str) -> None:
        """Cancel an interaction."""
        self._call(lambda: self._client.interactions.cancel(task_id))

    def _charged(self, found: Any) -> float | None:
        usage = found.usage
        if usage is None or not self._model.tokens_per_second:
            return None
        tokens = sum(
            item.tokens or 0 for item in usage.output_tokens_by_modality or [] if str(item.modality).lower() == "video"
        )
        read = (usage.total_input_tokens or 0) / 1e6 * self._model.usd_per_million_read
        return tokens / self._model.tokens_per_second * self._model.offer("standard").usd_per_second + read


class VeoWire(_Wire):
    """Veo: an operation is the task."""

    def start_clip(self, fitted: Fitted) -> Task:
        """Start an operation that makes one video."""
        config = types.GenerateVideosConfig(
            number_of_videos=1,
            duration_seconds=fitted.seconds,
            aspect_ratio=fitted.ratio,
            resolution=fitted.offer.resolution,
            last_frame=_image(fitted.last_frame),
            reference_images=[
                types.VideoGenerationReferenceImage(
                    image=_image(still), reference_type=types.VideoGenerationReferenceType.ASSET
                )
                for still in fitted.references
            ]
            or None,
            seed=fitted.seed,
        )
        source = types.GenerateVideosSource(prompt=fitted.prompt, image=_image(fitted.first_frame))
        made = self._call(
            lambda: self._client.models.generate_videos(model=fitted.offer.model, source=source, config=config),
            creating=True,
        )
        if not made.name:
            raise Unavailable("Google answered without an operation's name", maybe_taken=True)
        return Task(made.name, "waiting")

    def look(self, task_id: str) -> Task:
        """Get an operation."""
        asked = types.GenerateVideosOperation.model_validate({"name": task_id})
        return self._call(lambda: self._read(task_id, self._client.operations.get(asked)))  # type: ignore[no-any-return]

    def _read(self, task_id: str, found: Any) -> Task:
        if not found.done:
            return Task(task_id, "running")
        made = (found.response.generated_videos if found.response else None) or []
        if found.error or not made or made[0].video is None:
            error = found.error or {}
            filtered = (found.response.rai_media_filtered_reasons if found.response else None) or []
            reason = str(error.get("message") or "; ".join(filtered) or "no video came out of it")
            at_fault = bool(filtered) or any(word in reason.lower() for word in REQUEST_AT_FAULT)
            code = str(error.get("code") or "filtered")
            return Task(task_id, "failed", code=code, reason=reason, fault="request" if at_fault else "provider")
        video = made[0].video
        data = VIDEO_DATA + base64.b64encode(video.video_bytes).decode() if video.video_bytes else ""
        return Task(task_id, "succeeded", outputs=(data or video.uri or "",))

    def cancel(self, task_id: str) -> None:  # noqa: ARG002
        """Refuse: an operation of Veo cannot be cancelled."""
        raise Refused("Veo's operations cannot be cancelled")


def _picture(still: Still) -> dict[str, Any]:
    return {"type": "image", "data": base64.b64encode(still.data).decode(), "mime_type": still.mime}


def _image(still: Still | None) -> types.Image | None:
    return types.Image(image_bytes=still.data, mime_type=still.mime) if still else None


def _why(found: Any) -> str:
    """Return the reason of a failure, which an interaction keeps in one of three places."""
    said = [error.message for error in found.errors or [] if error.message]
    for step in found.steps or []:
        error = getattr(step, "error", None)
        if error is not None and error.message:
            said.append(error.message)
    return "; ".join(said) or found.output_text or f"it ended as '{found.status}'"


def _wire_error(error: Exception, creating: bool) -> Exception:
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or (error.code if isinstance(error, errors.APIError) else None)
    if isinstance(status, int) and status >= 400:
        headers = getattr(response, "headers", None) or {}
        message = (error.message if isinstance(error, errors.APIError) else None) or str(error)
        return by_status(status, str(message), headers.get("retry-after"), creating)
    if creating and isinstance(error, (ValueError, TypeError)) and not isinstance(error, ValidationError):
        return Refused(str(error))  # the SDK's own checks, before anything was sent
    cause = error.__cause__ or error
    never_sent = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
    return Unavailable(f"no answer ({cause})", maybe_taken=creating and not never_sent)
