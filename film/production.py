"""A film under way: what it needs in this process besides the graph's state, and its steps as verbs.

Each verb takes the state, does one thing and returns the state's update. Everything that lasts is in the state or in
the film's folder: clips by key, memory frames by id, the event log. So a production can be opened again for any state,
and what a killed process did after its last state is done again; a clip that is already there, or paid for, is not.
Productions are found by their folder and keep other processes out of it. LangGraph is not known here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

from memreel.agent.reading import chat_model, prompt_reader
from memreel.configs.schema import RunConfig
from memreel.errors import MemreelError, ModelError, StoreError
from memreel.film.clips.ledger import BudgetError
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import Clip, ClipModel, ClipRequest
from memreel.film.consistency import LAST_FRAMES, Against, Weights, judge
from memreel.film.context import Past, compress, story_so_far
from memreel.film.inputs import check_input, given_pictures, read_picture, same_film
from memreel.film.joining import join
from memreel.film.memory import FilmMemory, Moment
from memreel.film.models import Routed, clip_model, eye_for
from memreel.film.pictures import Kept
from memreel.film.plan import CHUNK_SECONDS, Plan, Scene, check_plan, plan_yaml
from memreel.film.planner import same
from memreel.film.planning import Describes, Given, hint_of, make_plan, shown_in
from memreel.film.record import film_json
from memreel.film.report import write_film_report
from memreel.film.requests import Shooting
from memreel.film.resources import (
    Job,
    Limits,
    Resources,
    batches,
    machine_mb,
    machine_used_mb,
    process_used_mb,
)
from memreel.film.settings import FilmContext
from memreel.film.sight import Wanted
from memreel.film.state import Due, FilmState, Take
from memreel.film.vision import ChatEye
from memreel.graph.binding import run_path
from memreel.graph.context import RunContext
from memreel.graph.record import agent_json
from memreel.memory.archive import to_json
from memreel.memory.records import BankState, empty_bank, phrase
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import Pictures
from memreel.output.durable import write_whole
from memreel.output.run_folder import RunFolder

Event = dict[str, Any]
Wish = tuple[Due, ClipRequest, list[str]]
"""A take that is due, its request, and the ids of the frames that go with it."""
Write = Callable[[Event], None]

_open: dict[Path, Production] = {}
_lock = threading.Lock()


class Production:
    """One film under way."""

    def __init__(self, folder: RunFolder, config: RunConfig, context: FilmContext) -> None:
        """Open what the film needs; the folder is held until `close`.

        Raises:
            UserError: the clip model, the eye or the reader cannot be used, or another process has the folder.
        """
        self.folder, self.config, self.context = folder, config, context
        self.clips: ClipModel = clip_model(context.model, config, context.budget)
        self.eye = eye_for(config, self.clips)
        self.chat = chat_model(config.agent)
        self.reader = prompt_reader(config.agent)
        self.memory = FilmMemory(config.memory, folder.frames, _embed, sees=self.eye.sees)
        self.pictures = Kept()
        limit = config.film.memory_mb
        self.resources = Resources(
            Limits(machine_mb() if limit is None else float(limit)),
            self.pictures,
            self.emit,
            machine_used_mb if limit is None else process_used_mb,
        )
        self.shooting = Shooting(config, self.clips.capabilities, self.memory, folder.path, leaves=self._leaves())
        self.write: Write | None = None
        self.logged = 0
        self._log = threading.Lock()
        self._held = folder.hold()

    def emit(self, event: Event) -> None:
        """Append ``event`` to the film's log and send it to whoever watches; progress is only shown."""
        with self._log:
            if event["type"] != "clip_chunk":
                self.folder.append_event(event)
                self.logged += 1
            if self.write is not None:
                self.write(event)

    # Before the first clip.

    def plan(self, state: FilmState) -> FilmState:
        """Make the plan, or take the user's, and open the bank with its characters and the reference pictures."""
        given = self._given(state)
        if "plan" in state:
            plan, planned_by, notes = _plan(state), "user", list[str]()
        else:
            plan, planned_by, notes = make_plan(state, self.chat, given)
        return self._planned(plan, given, planned_by, notes)

    def replanned(self, state: FilmState, plan: Plan) -> FilmState:
        """Take an edited plan in place of the one before; it is looked at again."""
        update = self._planned(plan, self._given(state), "user", [])
        return {**update, "approved": None}  # type: ignore[typeddict-item]

    def _given(self, state: FilmState) -> list[Given]:
        """Look at the user's reference pictures, by the eye if it can describe, else by their names."""
        given = []
        for path in given_pictures(state.get("refs", [])):
            picture, hint = read_picture(path), hint_of(path)
            caption, looks = self.eye.describe(picture, hint) if isinstance(self.eye, Describes) else (hint, ())
            given.append(Given(path, picture, caption, looks))
        return given

    def _planned(self, plan: Plan, given: Sequence[Given], by: str, notes: list[str]) -> FilmState:
        write_whole(self.folder.plan, plan_yaml(plan).encode())
        bank = self.memory.open(empty_bank(), plan)
        bank = self.memory.given(bank, [one.picture for one in given], shown_in(plan, given))
        self.emit(
            {"type": "plan", "by": by, "scenes": len(plan.scenes), "seconds": plan.seconds, "notes": notes}
            | {"pictures": [{"path": str(one.path), "shows": one.caption} for one in given]}
        )
        return {
            "plan": plan.model_dump(mode="json"),
            "bank": bank,
            "read": 0,
            "due": [],
            "made": [],
            "takes": [],
            "shots": [],
            "planned_by": by,
            "video": "",
            "logged": self.logged,
        }

    def offer(self, state: FilmState) -> dict[str, Any]:
        """Return plan, routes and cost, as JSON; nothing is sent.

        Raises:
            UserError: a scene that no clip model can make.
        """
        requests = self._requests(state)
        offer: dict[str, Any] = {"plan": state["plan"], "seconds": _plan(state).seconds, "model": self.clips.name}
        if isinstance(self.clips, Routed):
            return offer | self.clips.dry_run(requests)
        costs = [self.clips.estimate(request) for request in requests]
        return offer | {
            "routes": [
                {"key": r.key, "model": self.clips.name, "provider": "local", "usd": c.usd, "seconds": r.seconds}
                for r, c in zip(requests, costs, strict=True)
            ],
            "usd": round(sum(cost.usd for cost in costs), 6),
            "wall_seconds": round(sum(cost.wall_seconds for cost in costs), 1),
        }

    def require(self, state: FilmState) -> None:
        """Refuse a plan that cannot be made or paid for; nothing is sent.

        Raises:
            UserError: a scene that no clip model can make, a missing key, or more than the budget allows.
        """
        requests = self._requests(state)
        if isinstance(self.clips, Routed):
            self.clips.require(requests)
        for request in requests:
            self.clips.estimate(request)

    def _requests(self, state: FilmState) -> list[ClipRequest]:
        """Return about what will be asked for, scene by scene."""
        plan = _plan(state)
        return [self.shooting.sketched(state, plan, n) for n in range(1, len(plan.scenes) + 1)]

    # Scene by scene.

    def shoot(self, state: FilmState) -> FilmState:
        """Make the takes that are due; where none is, read the next scenes and begin with those that can be made."""
        bank, read, due = state["bank"], state["read"], list(state["due"])
        if not due:
            bank, read, due = self._next_scenes(state)
        state = {**state, "bank": bank, "read": read}
        plan = _plan(state)
        wishes = self._affordable(state, plan, [(one, *self.shooting.request(state, plan, one)) for one in due])
        clips: dict[str, Clip] = {}
        jobs = {request.key: request for _, request, _ in wishes}
        for batch in batches([self._job(r) for r in jobs.values()], self.resources.estimates, self.resources.limits):
            with ThreadPoolExecutor(max_workers=max(1, min(self.clips.capabilities.at_once, len(batch)))) as pool:
                futures = {job.key: pool.submit(copy_context().run, self._make, jobs[job.key]) for job in batch}
            again = {request.key for one, request, _ in wishes if one["take"] > 1}
            for key, future in futures.items():
                try:
                    clips[key] = future.result()
                except (BudgetError, ModelError) as error:
                    if key not in again:
                        raise
                    self._skip(key, str(error))
        made = [
            _take(one, request, clips[request.key], names, self.shooting.sent_bytes(request), self.folder.path)
            for one, request, names in wishes
            if request.key in clips
        ]
        return {"bank": bank, "read": read, "due": [], "made": made, "logged": self.logged}

    def _affordable(self, state: FilmState, plan: Plan, wishes: list[Wish]) -> list[Wish]:
        """Leave out retakes whose money the scenes to come need: a whole film goes before a better one."""
        if not isinstance(self.clips, Routed):
            return wishes
        to_come = [self.shooting.sketched(state, plan, n) for n in range(state["read"] + 1, len(plan.scenes) + 1)]
        kept: list[Wish] = []
        for wish in wishes:
            one, request, _ = wish
            if one["take"] == 1 or self.clips.affords(
                [*(other for _, other, _ in kept), request, *to_come], self.folder.clips
            ):
                kept.append(wish)
            else:
                self._skip(request.key, "the budget is needed for the scenes to come")
        return kept

    def _skip(self, key: str, reason: str) -> None:
        """Log that a retake is not to be had: the best take so far is kept."""
        self.emit({"type": "clip_skipped", "key": key, "reason": reason})

    def _make(self, request: ClipRequest) -> Clip:
        began = time.perf_counter()
        self.folder.clips.mkdir(exist_ok=True)
        with self.resources.admitted(self._job(request)):
            clip = self.clips.generate(request, self.folder.clips, self.emit)
        self.emit(
            {"type": "clip", "key": request.key, "provider": clip.provider, "model": clip.model}
            | {"usd": clip.cost.usd, "seconds": {"generate": round(time.perf_counter() - began, 3)}}
        )
        return clip

    def _job(self, request: ClipRequest) -> Job:
        """Return what a request asks of this machine; earlier scenes are more urgent."""
        local = isinstance(self.clips, LocalStream)
        gpu = local and getattr(self.clips.model, "device", "cpu") != "cpu"  # type: ignore[attr-defined]
        return Job(
            request.key, request.seconds, -int(request.key[1:].split("a")[0]), local, gpu, request.quality == "premium"
        )

    def _next_scenes(self, state: FilmState) -> tuple[BankState, int, list[Due]]:
        """Read the next scene, and those after it that need nothing that is still to be made."""
        plan, bank, read = _plan(state), state["bank"], state["read"]
        due: list[Due] = []
        while read < len(plan.scenes) and len(due) < self.clips.capabilities.at_once:
            scene = plan.scenes[read]
            after, entities = self.memory.read(bank, read + 1, scene, self.reader)
            shown = all(self.memory.best(bank, entity["global_id"]) for entity in entities)
            if due and (scene.transition == "continuation" or not shown):
                break
            bank, read = after, read + 1
            due.append({"scene": read, "take": 1, "stressed": []})
            self.emit(
                {"type": "prompt", "prompt_id": read, "prompt": scene.text, "entities": entities, "memory": []}
                | {"reader": self.reader.name}
            )
        return bank, read, due

    def judge(self, state: FilmState) -> FilmState:
        """Score what was made; take the good into the bank, make the rest due again, keep the best after the last."""
        bank, takes, shots = state["bank"], list(state["takes"]), list(state["shots"])
        due: list[Due] = []
        waiting = False
        for made in sorted(state["made"], key=lambda take: take["scene"]):
            take = self._judged(state, bank, shots, made)
            takes.append(take)
            done = _total(take) >= self.config.film.threshold or take["take"] > self.config.film.retakes
            self.emit(
                {"type": "take", "key": take["key"], "scene": take["scene"], "take": take["take"]}
                | {"score": take["score"], "again": not done}
            )
            if not done:
                due.append({"scene": take["scene"], "take": take["take"] + 1, "stressed": _failing(take)})
        for number in sorted({take["scene"] for take in takes} - {shot["scene"] for shot in shots}):
            waiting = waiting or any(one["scene"] == number for one in due)
            if waiting:  # shots are chosen in order, so that the bank fills as the film plays
                continue
            best = max((take for take in takes if take["scene"] == number), key=_total)
            bank = self._admitted(state, bank, best)
            shots.append(best)
            self.emit({"type": "shot", "key": best["key"], "scene": number, "score": _total(best)})
        if isinstance(self.eye, ChatEye) and self.eye.notes:
            self.emit({"type": "notes", "notes": list(self.eye.notes)})
            self.eye.notes.clear()
        return {"bank": bank, "takes": takes, "shots": shots, "due": due, "made": [], "logged": self.logged}

    def _judged(self, state: FilmState, bank: BankState, shots: Sequence[Take], take: Take) -> Take:
        film = self.config.film
        pictures, _ = self._key_pictures(state, take)
        against = self._against(state, bank, shots, take)
        score = judge(pictures, against, self.eye, Weights(film.spatial, film.temporal, film.character))
        return {**take, "score": score}

    def _against(self, state: FilmState, bank: BankState, shots: Sequence[Take], take: Take) -> Against:
        plan, number = _plan(state), take["scene"]
        scene, entities = plan.scenes[number - 1], bank["prompts"][str(number)]["entities"]
        known: dict[int, Pictures] = {}
        for entity in entities:
            frames = [f for f in self.memory.best(bank, entity["global_id"]) if f["prompt_id"] != number]
            if frames:
                known[entity["global_id"]] = self.memory.picture(frames[0]["frame_id"])
        past = [
            Past(self.folder.path / shot["path"], shot["scene"])
            for shot in shots
            if shot["scene"] < number and _in_one_place(plan.scenes[shot["scene"] - 1], scene)
        ]
        weighed = compress(past, number, self.config.film.decay, self.config.film.context_frames)
        before = next((shot for shot in shots if shot["scene"] == number - 1), None)
        joined = before is not None and (
            scene.transition == "continuation" or _in_one_place(plan.scenes[number - 2], scene)
        )
        return Against(
            wanted=self._wanted(bank, number),
            known=known,
            before=self._last_pictures(before) if before is not None and joined else (),
            setting=[(self.pictures.get(one.past.path, [0])[0], one.weight) for one in weighed],
            story=story_so_far([one.text for one in plan.scenes[: number - 1]], bank["cast"]),
        )

    def _wanted(self, bank: BankState, number: int) -> dict[int, Wanted]:
        members = [bank["cast"][str(e["global_id"])] for e in bank["prompts"][str(number)]["entities"]]
        return {m["global_id"]: Wanted(phrase(m), m["name"], tuple(m["all_attrs"])) for m in members}

    def _admitted(self, state: FilmState, bank: BankState, take: Take) -> BankState:
        """Take a shot's key frames into the bank; a frame that shows wrong looks counts for less."""
        plan, number = _plan(state), take["scene"]
        pictures, times = self._key_pictures(state, take)
        start = round(sum(scene.seconds for scene in plan.scenes[: number - 1]) / CHUNK_SECONDS)
        wanted = self._wanted(bank, number)
        moments = []
        for picture, at in zip(pictures, times, strict=True):
            seen = self.eye.look(picture, wanted)
            chunk = int(at / CHUNK_SECONDS)
            worth = {
                key: sight.visible * (1.0 if sight.likeness is None else sight.likeness) for key, sight in seen.items()
            }
            frame = int(at % CHUNK_SECONDS / (CHUNK_SECONDS / 3))
            moments.append(Moment(picture, chunk + 1, frame, start + chunk, worth))
        return self.memory.admit(self.memory.used(bank, number, take["references"]), number, moments)

    def _key_pictures(self, state: FilmState, take: Take) -> tuple[list[Pictures], list[float]]:
        """Return the pictures of a take at its scene's key frames, the first picture always among them."""
        scene, path = _plan(state).scenes[take["scene"] - 1], self.folder.path / take["path"]
        facts = self.pictures.facts(path)
        times = sorted({0.0, *(frame.at for frame in scene.key_frames)})
        numbers = {round(at * facts.fps): at for at in times}
        found = self.pictures.get(path, numbers)
        if not found:
            raise StoreError(f"{path} has no picture; delete it, and the same command makes it again")
        return [found[n] for n in sorted(found)], [numbers[n] for n in sorted(found)]

    def _last_pictures(self, take: Take) -> list[Pictures]:
        return self.pictures.last(self.folder.path / take["path"], LAST_FRAMES)

    # After the last clip.

    def merge(self, state: FilmState) -> FilmState:
        """Join the shots to one file, with a chapter a scene."""
        plan = _plan(state)
        clips = [self.folder.path / shot["path"] for shot in state["shots"]]
        facts = [self.pictures.facts(clip) for clip in clips]
        merged = join(plan, clips, facts, self.folder.video, self.config.film.overlap)
        self.emit(
            {"type": "merged", "video": self.folder.video.name, "pictures": merged.pictures}
            | {"seconds_of_film": round(merged.seconds, 3), "sound": merged.sound, "chapters": merged.chapters}
        )
        return {"video": str(self.folder.video), "logged": self.logged}

    def report(self, state: FilmState) -> FilmState:
        """Write the JSON files and the report, log the end, and close."""
        self.folder.write_json(self.folder.memory_bank, to_json(state["bank"]))
        self.folder.write_json(self.folder.llm_agent, agent_json(state["bank"]))
        self.folder.write_json(self.folder.run, self._facts(state))
        self.emit({"type": "done", "status": "done", "video": self.folder.video.name})
        write_film_report(self.folder)
        self.close()
        return {"logged": self.logged}

    def _facts(self, state: FilmState) -> dict[str, Any]:
        ledger = self.clips.ledger(self.folder.clips).summary() if isinstance(self.clips, Routed) else None
        return film_json(
            state,
            model=self.clips.name,
            eye=self.eye.name,
            reader=self.reader.name,
            config=self.config.model_dump(mode="json"),
            seed=self.config.seed,
            ledger=ledger,
        )

    def _leaves(self) -> bool:
        """Tell whether pictures leave this machine."""
        return not isinstance(self.clips, LocalStream)

    def close(self) -> None:
        """Let go of the folder; a closed production is not found any more."""
        self._held.release()
        with _lock:
            if _open.get(self.folder.path) is self:
                del _open[self.folder.path]


def open_production(state: FilmState, context: FilmContext, write: Write) -> FilmState:
    """Check a film's input, open its folder and the production in it; return the state's beginning.

    Raises:
        UserError: something about the input or the configuration is wrong; nothing was spent.
    """
    beginning = check_input(state)
    path = run_path(RunContext(out=context.out), beginning["film_id"])
    with _lock:
        earlier = _open.pop(path, None)
    if earlier is not None:
        earlier.close()
    config = context.run_config()
    folder = RunFolder(path)
    folder.require_free()
    production = Production(folder, config, context)
    try:
        if not (folder.exists() and folder.events.stat().st_size == 0):  # else made for it, checkpoints open in it
            RunFolder.create(path)
    except MemreelError:
        production.close()
        raise
    production.write = write
    with _lock:
        _open[path] = production
    production.emit(
        {"type": "run", "video_id": beginning["film_id"], "film": same_film(beginning), "prompts": []}
        | {"model": production.clips.name, "reader": production.reader.name, "eye": production.eye.name}
        | {"seed": config.seed, "config": config.model_dump(mode="json"), "budget": context.budget}
    )
    return {**beginning, "logged": production.logged}


def production_of(state: FilmState, context: FilmContext, write: Write) -> Production:
    """Return this process's production of a film, opened again from its folder if need be.

    Raises:
        UserError: another process makes the film.
        StoreError: its folder is gone.
    """
    path = run_path(RunContext(out=context.out), state["film_id"])
    with _lock:
        production = _open.get(path)
    if production is None:
        folder = RunFolder(path)
        if not folder.exists():
            raise StoreError(f"{path}: the film's folder is gone; start the film anew")
        production = Production(folder, context.run_config(), context)
        folder.remove_parts()
        folder.keep_events(state["logged"])
        production.logged = state["logged"]
        with _lock:
            _open[path] = production
    production.write = write
    return production


def close_production(path: Path) -> None:
    """Let go of the film in a folder, if this process has one open there."""
    with _lock:
        production = _open.pop(path, None)
    if production is not None:
        production.close()


def _embed(texts: Sequence[str]) -> Any:
    """Embed by the encoder that is loaded now: it may be let go of in between."""
    return sentence_encoder().embed(texts)


def _plan(state: FilmState) -> Plan:
    return check_plan(state["plan"], "plan")


def _take(one: Due, request: ClipRequest, clip: Clip, names: list[str], sent: int, folder: Path) -> Take:
    return {
        "scene": one["scene"],
        "take": one["take"],
        "key": request.key,
        "path": str(clip.path.relative_to(folder)),
        "seconds": clip.seconds,
        "provider": clip.provider,
        "model": clip.model,
        "usd": clip.cost.usd,
        "credits": clip.cost.credits,
        "prompt": request.prompt if clip.provider != "local" else request.plain,
        "references": names,
        "sent_bytes": sent,
        "notes": list(clip.notes),
        "score": None,
    }


def _total(take: Take) -> float:
    return take["score"]["total"] if take["score"] else 0.0


def _failing(take: Take) -> list[int]:
    """Return whose looks are to be stressed in the next take: all with a wrong look, or who were not found."""
    score = take["score"]
    if score is None:
        return []
    unlike = {int(key) for key, value in score["entities"].items() if value < 1}
    return sorted(unlike | {int(key) for key in score["wrong"]})


def _in_one_place(one: Scene, other: Scene) -> bool:
    return bool(one.environment and other.environment) and same(one.environment, other.environment)
