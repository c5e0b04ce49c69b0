"""Real HTTP servers on localhost that speak Runway's and Google's wire formats, with a script of faults.

Each keeps its own books: what a real provider would charge for the tasks that it took, whatever the client has heard of
them. Requests that the real API would refuse are refused. The videos they hand out are real ones.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from memreel.output.video import assemble, encode


@dataclass
class Status:
    """Answer a request with this status."""

    code: int
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Drop:
    """Close the connection without an answer; ``taken``: after the task has been created."""

    taken: bool = True


@dataclass
class Course:
    """How a task goes: its statuses one look after the other (the last one stays), and how it fails."""

    statuses: list[str]
    code: str = "INTERNAL"
    failure: str = "An unexpected error occurred."
    refund: bool = True


@dataclass
class Output:
    """How a result is handed out: ``ok``, ``expired``, ``broken off`` (less than announced), ``cut``, ``text``."""

    how: str = "ok"
    seconds: float | None = None


@cache
def video(seconds: float) -> bytes:
    """Return a real H.264 file of so many seconds, 24 pictures a second."""
    count = round(seconds * 24)
    level = np.linspace(0, 255, count).astype(np.uint8)
    pictures = np.zeros((count, 36, 64, 3), np.uint8)
    pictures[:, :, :32] = level[:, None, None, None]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        piece = encode(pictures, 24, 0, 0)
        path.with_suffix(".pieces").write_bytes(piece.head + piece.body)
        assemble(path.with_suffix(".pieces"), path, [])
        return path.read_bytes()


@cache
def picture() -> bytes:
    """Return a real PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class ProviderServer:
    """What a test scripts and reads: faults in, requests and charges out."""

    address: str
    hold: threading.Event | None = None
    """While it is set and not yet triggered, the server says ``held`` and waits before it answers `hold_at`."""
    hold_at: str = ""
    held: threading.Event = field(default_factory=threading.Event)
    creates: list[Any] = field(default_factory=list)
    looks: list[Any] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    announced: float | None = None
    flying: int = 0
    most_flying: int = 0
    downloads: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def charged(self) -> float:
        """Dollars for all tasks taken."""
        return round(sum(task["usd"] for task in self.tasks.values()), 6)

    def next(self, queue: list[Any], default: Any) -> Any:
        with self.lock:
            return queue.pop(0) if queue else default


class Handler(BaseHTTPRequestHandler):
    server_state: ProviderServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")

    def say(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/octet-stream" if isinstance(value, bytes) else "application/json")
        self.send_header("content-length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def fail(self, fate: Status) -> None:
        error = {"error": fate.message, "message": fate.message}
        self.say(fate.code, error, fate.headers)

    def wait_at(self, place: str) -> None:
        """Wait here if the test wants to do something in the middle of this."""
        state = self.server_state
        if state.hold is not None and state.hold_at == place:
            state.held.set()
            state.hold.wait(30)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def take(self, usd: float, **facts: Any) -> str:
        state = self.server_state
        with state.lock:
            task_id = f"task{len(state.tasks) + 1}"
            course = state.next(state.courses, Course(["PENDING", "RUNNING", "SUCCEEDED"]))
            state.tasks[task_id] = {"usd": usd, "full": usd, "course": course, "at": 0, **facts}
            state.flying += 1
            state.most_flying = max(state.flying, state.most_flying)
            return task_id

    def status_of(self, task: dict[str, Any]) -> str:
        state = self.server_state
        with state.lock:
            statuses = task["course"].statuses
            now = statuses[min(task["at"], len(statuses) - 1)]
            task["at"] += 1
            if now in ("FAILED", "CANCELLED") and task["course"].refund:
                task["usd"] = 0.0
            if now in ("SUCCEEDED", "FAILED", "CANCELLED") and not task.get("landed"):
                task["landed"] = True
                state.flying -= 1
            return now

    def hand_out(self, content: Any) -> None:
        """Send a task's result the way the script says."""
        state = self.server_state
        state.downloads += 1
        output = state.next(state.outputs, Output())
        data: bytes = video(output.seconds) if output.seconds else content
        if output.how == "expired":
            self.say(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif output.how == "text":
            self.say(200, b"<html>not a video</html>")
        elif output.how == "cut":
            self.say(200, data[: len(data) * 2 // 3])
        elif output.how == "broken off":
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.hang_up()
        else:
            self.say(200, data)


class RunwayHandler(Handler):
    CREDITS: ClassVar = {"gen4.5": 12, "gen4_image": 5}

    def do_POST(self) -> None:
        state, asked = self.server_state, self.body()
        state.asked.append((self.path, asked))
        state.keys.append(self.headers.get("authorization", ""))
        fate = state.next(state.creates, None)
        if isinstance(fate, Status):
            return self.fail(fate)
        if isinstance(fate, Drop) and not fate.taken:
            return self.hang_up()
        if wrong := self.wrong(asked):
            return self.fail(Status(400, wrong))
        painting = self.path.endswith("text_to_image")
        credits = self.CREDITS[asked["model"]] * (1 if painting else asked["duration"])
        charge = (state.announced or credits) / 100
        task_id = self.take(charge, seconds=asked.get("duration"), painting=painting)
        self.wait_at("created")
        if isinstance(fate, Drop):
            return self.hang_up()
        return self.say(200, {"id": task_id, "estimatedCost": {"credits": state.announced or credits}})

    def wrong(self, asked: dict[str, Any]) -> str | None:
        """Say what the real API would not take."""
        text = asked.get("promptText", "")
        if self.headers.get("x-runway-version") != "2024-11-06" or not text or len(text.encode("utf-16-le")) > 2000:
            return "validation of body failed"
        if self.path.endswith("text_to_image"):
            references = asked.get("referenceImages", [])
            good = len(references) <= 3 and all(image["uri"].startswith("data:image/") for image in references)
            return None if good and asked["model"] == "gen4_image" else "referenceImages"
        ratios = ["1280:720", "720:1280"] + (["960:960"] if "promptImage" in asked else [])
        if asked["model"] != "gen4.5" or asked["duration"] not in range(2, 11) or asked["ratio"] not in ratios:
            return "validation of body failed"
        return "promptImage" if self.path.endswith("image_to_video") != ("promptImage" in asked) else None

    def do_GET(self) -> None:
        state = self.server_state
        if self.path.startswith("/out/"):
            self.wait_at("downloading")
            task = state.tasks[self.path.split("/")[2].split("?")[0]]
            return self.hand_out(picture() if task["painting"] else video(task["seconds"]))
        fate = state.next(state.looks, None)
        if isinstance(fate, Status):
            return self.fail(fate)
        self.wait_at("looked at")
        task_id = self.path.rsplit("/", 1)[1]
        if task_id not in state.tasks:
            return self.fail(Status(404, "no such task"))
        task = state.tasks[task_id]
        status = self.status_of(task)
        told: dict[str, Any] = {"id": task_id, "status": status, "createdAt": "2026-11-22T04:00:00Z"}
        if status in ("SUCCEEDED", "FAILED", "CANCELLED"):
            told["cost"] = {"credits": round(task["usd"] * 100)}
        else:
            told["estimatedCost"] = {"credits": task["full"] * 100}
        if status == "RUNNING":
            told["progress"] = 0.5
        if status == "FAILED":
            told |= {"failure": task["course"].failure, "failureCode": task["course"].code}
        if status == "SUCCEEDED":
            told["output"] = [f"{state.address}/out/{task_id}?signed={task['at']}"]
        return self.say(200, told)

    def do_DELETE(self) -> None:
        state = self.server_state
        task = state.tasks[self.path.rsplit("/", 1)[1]]
        statuses = task["course"].statuses
        if statuses[min(task["at"], len(statuses) - 1)] in ("PENDING", "THROTTLED"):
            task["course"] = Course(["CANCELLED"])
        self.send_response(204)
        self.end_headers()


class GoogleHandler(Handler):
    USD: ClassVar = {
        "gemini-omni-1.2-flash": 0.07,
        "gemini-omni-1.1-flash": 5792 * 17.5e-6,
        "veo-3.1-fast-generate-001": 0.1,
    }
    STATUS: ClassVar = {"PENDING": "queued", "RUNNING": "in_progress", "SUCCEEDED": "completed", "FAILED": "failed"} | {
        "CANCELLED": "cancelled"
    }

    def fail(self, fate: Status) -> None:
        error = {"error": {"code": fate.code, "message": fate.message, "status": "ERROR"}}
        self.say(fate.code, error, fate.headers)

    def do_POST(self) -> None:
        state, asked = self.server_state, self.body()
        state.asked.append((self.path, asked))
        state.keys.append(self.headers.get("x-goog-api-key", ""))
        if self.path.endswith("/cancel"):
            task = state.tasks[self.path.split("/")[-2]]
            task["course"] = Course(["CANCELLED"])
            return self.say(200, {"id": self.path.split("/")[-2], "status": "cancelled"})
        if self.path.endswith(":fetchPredictOperation"):
            return self.operation(asked["operationName"])
        fate = state.next(state.creates, None)
        if isinstance(fate, Status):
            return self.fail(fate)
        if isinstance(fate, Drop) and not fate.taken:
            return self.hang_up()
        if self.path.endswith(":predictLongRunning"):
            model = self.path.split("/models/")[1].split(":")[0]
            seconds = asked["parameters"]["durationSeconds"]
            task_id = self.take(self.USD[model] * seconds, seconds=seconds, model=model)
            return self.say(200, {"name": f"publishers/google/models/{model}/operations/{task_id}"})
        if wrong := self.wrong(asked):
            return self.fail(Status(400, wrong))
        seconds = int(asked["response_format"]["duration"].rstrip("s"))
        inline = asked["response_format"]["delivery"] == "inline"
        charge = self.USD[asked["model"]] * seconds
        task_id = self.take(charge, seconds=seconds, model=asked["model"], inline=inline)
        if isinstance(fate, Drop):
            return self.hang_up()
        return self.say(200, {"id": task_id, "status": "in_progress", "model": asked["model"]})

    def operation(self, name: str) -> None:
        """Say how an operation stands; Vertex AI hands the video out in the answer."""
        task = self.server_state.tasks[name.rsplit("/", 1)[1]]
        status = self.status_of(task)
        told: dict[str, Any] = {"name": name, "done": status in ("SUCCEEDED", "FAILED")}
        if status == "SUCCEEDED":
            data = base64.b64encode(video(task["seconds"])).decode()
            told["response"] = {"videos": [{"bytesBase64Encoded": data, "mimeType": "video/mp4"}]}
        elif status == "FAILED":
            told["error"] = {"code": 13, "message": task["course"].failure}
        self.say(200, told)

    def wrong(self, asked: dict[str, Any]) -> str | None:
        form = asked.get("response_format", {})
        pictures = [part for part in asked["input"][0]["content"] if part["type"] == "image"]
        if (
            not asked.get("background")
            or form.get("type") != "video"
            or form.get("aspect_ratio") not in ("16:9", "9:16")
        ):
            return "Invalid response_format"
        if any(not base64.b64decode(part["data"]) or not part["mime_type"].startswith("image/") for part in pictures):
            return "Invalid image"
        return None

    def do_GET(self) -> None:
        state = self.server_state
        if ":download" in self.path:
            task_id = self.path.split("/files/")[1].split(":")[0]
            return self.hand_out(video(state.tasks[task_id]["seconds"]))
        fate = state.next(state.looks, None)
        if isinstance(fate, Status):
            return self.fail(fate)
        task_id = self.path.split("?")[0].rsplit("/", 1)[1]
        if task_id not in state.tasks:
            return self.fail(Status(404, "not found"))
        task = state.tasks[task_id]
        status = self.status_of(task)
        uri = f"https://generativelanguage.googleapis.com/v1beta/files/{task_id}:download?alt=media"
        told: dict[str, Any] = {"id": task_id, "status": self.STATUS[status], "model": task["model"]}
        if status == "SUCCEEDED":
            data = base64.b64encode(video(task["seconds"])).decode()
            made = {"type": "video", "mime_type": "video/mp4"} | ({"data": data} if task["inline"] else {"uri": uri})
            told["steps"] = [{"type": "model_output", "content": [made]}]
            told["output_video"] = made
            told["usage"] = {
                "total_input_tokens": 0,
                "total_output_tokens": 5792 * task["seconds"],
                "output_tokens_by_modality": [{"modality": "video", "tokens": 5792 * task["seconds"]}],
            }
        if status == "FAILED":
            told["errors"] = [{"code": task["course"].code, "message": task["course"].failure}]
        return self.say(200, told)


@contextmanager
def serve(kind: type[Handler]) -> Iterator[ProviderServer]:
    """Run a provider's server."""
    state = ProviderServer("")
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (kind,), {"server_state": state}))
    http.daemon_threads = True
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
