"""A film under way: what it needs in this process besides the graph's state, and its steps as verbs.

Each verb takes the state, does one thing and returns the state's update. Everything that lasts is in the state or in
the film's folder: clips by key, memory frames by id, the event log, the ledger. So a production can be opened again for
any state, and what a killed process did after its last state is done again; a clip that is already there, or paid for,
is not. How takes are made is the crew's, how they are looked at the critic's. LangGraph is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from memreel.agent.reading import chat_model, prompt_reader
from memreel.configs.schema import RunConfig
from memreel.film.clips.ledger import Books
from memreel.film.clips.local import LocalStream
from memreel.film.clips.protocol import ClipModel, ClipRequest
from memreel.film.correcting import corrected, faults
from memreel.film.crew import Crew
from memreel.film.critic import Critic
from memreel.film.inputs import given_pictures, read_picture
from memreel.film.joining import join
from memreel.film.memory import FilmMemory
from memreel.film.metering import TokenMeter
from memreel.film.models import Routed, clip_model, eye_for, local_of
from memreel.film.pictures import Kept
from memreel.film.plan import Plan, check_plan, plan_yaml, with_key_frames
from memreel.film.planning import Describes, Given, Pace, hint_of, make_plan, shown_in
from memreel.film.record import film_json
from memreel.film.relief import FilmRelief
from memreel.film.report import write_film_report
from memreel.film.requests import Shooting, first_take
from memreel.film.resources import Limits, Resources, machine_mb, machine_used_mb, process_used_mb
from memreel.film.settings import FilmContext
from memreel.film.state import Due, FilmState, Take
from memreel.film.vision import ChatEye
from memreel.graph.record import agent_json
from memreel.memory.archive import to_json
from memreel.memory.cast import in_picture
from memreel.memory.records import BankState, empty_bank
from memreel.model.minilm import sentence_encoder
from memreel.output.durable import write_whole
from memreel.output.run_folder import RunFolder

Event = dict[str, Any]
Write = Callable[[Event], None]


class Production:
    """One film under way."""

    def __init__(self, folder: RunFolder, config: RunConfig, context: FilmContext) -> None:
        """Open what the film needs; the folder is held until `close`.

        Raises:
            UserError: the clip model, the eye or the reader cannot be used, or another process has the folder.
            StoreError: the film's ledger is damaged.
        """
        self.folder, self.config, self.context = folder, config, context
        self._held = folder.hold()
        try:
            self._open()
        except BaseException:
            self._held.release()
            raise

    def _open(self) -> None:
        folder, config = self.folder, self.config
        books = Books(self.context.budget, folder.path)
        self.ledger = books.at(folder.path)
        self.clips: ClipModel = clip_model(self.context.model, config, books)
        self.eye = eye_for(config, self.clips)
        self.chat = chat_model(config.agent)
        self.reader = prompt_reader(config.agent)
        for chat in (self.chat, self.reader.chat, self.eye.chat if isinstance(self.eye, ChatEye) else None):
            if chat is not None:
                chat.meter = TokenMeter(chat.name, self.ledger)
        self.memory = FilmMemory(config.memory, folder.frames, _embed, sees=self.eye.sees)
        self.pictures = Kept()
        self.critic = Critic(config.film, folder.path, self.memory, self.eye, self.pictures)
        limit = config.film.memory_mb
        self.resources = Resources(
            Limits(machine_mb() if limit is None else float(limit)),
            FilmRelief(self.pictures, local_of(self.clips)),
            self.emit,
            machine_used_mb if limit is None else process_used_mb,
        )
        leaves = not isinstance(self.clips, LocalStream)
        able = self.clips.capabilities
        self.shooting = Shooting(config, able, self.memory, self.pictures, folder.path, leaves=leaves)
        self.crew = Crew(self.clips, self.shooting, self.resources, folder.path, self.emit)
        self.write: Write | None = None
        self.logged = 0
        self._log = threading.Lock()

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
            film = self.config.film
            pace = Pace(film.key_frames, film.anchor_every, self.clips.capabilities.seconds[1])
            plan, planned_by, notes = make_plan(state, self.chat, given, pace)
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
        plan = with_key_frames(plan, self.config.film.key_frames, self.config.film.anchor_every)
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
        told = self.ledger.summary()
        offer |= {"chat": told["chat"], "before_usd": told["before_usd"]}
        if isinstance(self.clips, Routed):
            return offer | self.clips.dry_run(requests, self.folder.clips)
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
            self.clips.require(requests, self.folder.clips)
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
        made = self.crew.make(state, _plan(state), due)
        return {"bank": bank, "read": read, "due": [], "made": made, "logged": self.logged}

    def _next_scenes(self, state: FilmState) -> tuple[BankState, int, list[Due]]:
        """Read the next scene, and those after it that need nothing that is still to be made."""
        plan, bank, read = _plan(state), state["bank"], state["read"]
        due: list[Due] = []
        while read < len(plan.scenes) and len(due) < self.clips.capabilities.at_once:
            scene = plan.scenes[read]
            after, entities = self.memory.read(bank, read + 1, scene, self.reader)
            shown = all(self.memory.best(bank, entity["global_id"]) for entity in in_picture(entities))
            if due and (scene.transition == "continuation" or not shown):
                break
            bank, read = after, read + 1
            due.append(first_take(read))
            self.emit(
                {"type": "prompt", "prompt_id": read, "prompt": scene.text, "entities": entities, "memory": []}
                | {"reader": self.reader.name}
            )
        return bank, read, due

    def judge(self, state: FilmState) -> FilmState:
        """Score what was made; take the good into the bank, make the rest due again, keep the best after the last."""
        plan, bank, takes, shots = _plan(state), state["bank"], list(state["takes"]), list(state["shots"])
        due: list[Due] = []
        waiting = False
        for made in sorted(state["made"], key=lambda take: take["scene"]):
            take = self.critic.judged(plan, bank, shots, made)
            takes.append(take)
            done = _total(take) >= self.config.film.threshold or take["take"] > self.config.film.retakes
            self.emit(
                {"type": "take", "key": take["key"], "scene": take["scene"], "take": take["take"]}
                | {"score": take["score"], "again": not done}
            )
            if not done:
                due.append(self._again(plan, bank, take))
        for number in sorted({take["scene"] for take in takes} - {shot["scene"] for shot in shots}):
            waiting = waiting or any(one["scene"] == number for one in due)
            if waiting:  # shots are chosen in order, so that the bank fills as the film plays
                continue
            best = max((take for take in takes if take["scene"] == number), key=_total)
            bank = self.critic.admitted(plan, bank, best)
            shots.append(best)
            self.emit({"type": "shot", "key": best["key"], "scene": number, "score": _total(best)})
        if isinstance(self.eye, ChatEye) and self.eye.notes:
            self.emit({"type": "notes", "notes": list(self.eye.notes)})
            self.eye.notes.clear()
        return {"bank": bank, "takes": takes, "shots": shots, "due": due, "made": [], "logged": self.logged}

    def _again(self, plan: Plan, bank: BankState, take: Take) -> Due:
        """Return the retake of a take: the scene's text corrected by what failed, who came out wrong stressed."""
        scene, notes = plan.scenes[take["scene"] - 1], list[str]()
        wrong = faults(take, scene, bank)
        text = corrected(take["text"] or scene.text, wrong, self.chat, notes)
        self.emit(
            {"type": "corrected", "key": take["key"], "scene": take["scene"], "text": text, "notes": notes}
            | {"because": [fault.what for fault in wrong]}
        )
        return {"scene": take["scene"], "take": take["take"] + 1, "stressed": _failing(take), "text": text}

    # After the last clip.

    def merge(self, state: FilmState) -> FilmState:
        """Join the shots to one file, with a chapter a scene."""
        plan = _plan(state)
        clips = [self.folder.path / shot["path"] for shot in state["shots"]]
        facts = [self.pictures.facts(clip) for clip in clips]
        repeats = [shot["repeats"] for shot in state["shots"]]
        merged = join(plan, clips, facts, self.folder.video, self.config.film.overlap, repeats)
        self.emit(
            {"type": "merged", "video": self.folder.video.name, "pictures": merged.pictures}
            | {"seconds_of_film": round(merged.seconds, 3), "sound": merged.sound, "chapters": merged.chapters}
        )
        return {"video": str(self.folder.video), "logged": self.logged}

    def report(self, state: FilmState) -> FilmState:
        """Write the JSON files and the report, and log the end."""
        self.folder.write_json(self.folder.memory_bank, to_json(state["bank"]))
        self.folder.write_json(self.folder.llm_agent, agent_json(state["bank"]))
        self.folder.write_json(self.folder.run, self._facts(state))
        self.emit({"type": "done", "status": "done", "video": self.folder.video.name})
        write_film_report(self.folder)
        self.folder.seal()
        return {"logged": self.logged}

    def _facts(self, state: FilmState) -> dict[str, Any]:
        return film_json(
            state,
            model=self.clips.name,
            eye=self.eye.name,
            reader=self.reader.name,
            config=self.config.model_dump(mode="json"),
            seed=self.config.seed,
            ledger=self.ledger.summary(),
        )

    def close(self) -> None:
        """Let go of the folder."""
        self._held.release()


def _embed(texts: Sequence[str]) -> Any:
    """Embed by the encoder that is loaded now: it may be let go of in between."""
    return sentence_encoder().embed(texts)


def _plan(state: FilmState) -> Plan:
    return check_plan(state["plan"], "plan")


def _total(take: Take) -> float:
    return take["score"]["total"] if take["score"] else 0.0


def _failing(take: Take) -> list[int]:
    """Return whose looks are to be stressed in the next take: all with a wrong look, or who were not found."""
    score = take["score"]
    if score is None:
        return []
    unlike = {int(key) for key, value in score["entities"].items() if value < 1}
    return sorted(unlike | {int(key) for key in score["wrong"]})
