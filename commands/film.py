"""``memreel plan`` and ``memreel film``: an idea, a script or a plan becomes a plan, and a film."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memreel.commands.making import outcome, stoppable
from memreel.commands.terminal import Config, Json, Seed, Settings, overrides, say
from memreel.errors import UserError

if TYPE_CHECKING:
    from memreel.film.settings import FilmContext
    from memreel.film.state import FilmInput

What = Annotated[
    str,
    typer.Argument(metavar="IDEA", help="What the film shows, in words; or a plan (.yaml) or script (.txt, .jsonl)."),
]
Seconds = Annotated[float | None, typer.Option(help="Playing time, 6 to 600; 45 for an idea, 9 a prompt for a script.")]
Refs = Annotated[list[Path] | None, typer.Option(help="Picture of somebody or something in the film; may be repeated.")]
ClipModelName = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="local, sketch, runway, google, a hosted model's name, or auto (whichever fits best)."
    ),
]
Budget = Annotated[float | None, typer.Option(min=0, help="US dollars that the film may cost, at most.")]


def plan(
    idea: What,
    seconds: Seconds = None,
    refs: Refs = None,
    model: ClipModelName = "local",
    config: Config = "sketch",
    settings: Settings = None,
) -> None:
    """Print the plan of a film as YAML, to be edited and passed to memreel film."""
    from memreel.film.making import plan_film
    from memreel.film.plan import plan_yaml

    made, _, notes = plan_film(_given(idea, seconds, refs), _context(Path("runs"), model, None, config, settings, None))
    for note in notes:
        say(f"memreel: {note}")
    print(plan_yaml(made), end="")


def film(
    idea: What,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the film, which gets a folder of its own.")],
    seconds: Seconds = None,
    refs: Refs = None,
    model: ClipModelName = "local",
    budget: Budget = None,
    config: Config = "sketch",
    settings: Settings = None,
    seed: Seed = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Spend money without asking first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print plan, routes and cost; make nothing.")] = False,
    json_: Json = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start over, replacing the film that lies there; what it cost counts.")
    ] = False,
) -> None:
    """Make a film of an idea, a script or a plan; an unfinished one is gone on with."""
    given, context = _given(idea, seconds, refs), _context(out, model, budget, config, settings, seed)
    if dry_run:
        _print_offer(given, context, json_)
        return
    context = context.model_copy(update={"review": not yes})
    result = _make(given, context, force)
    if json_:
        print(json.dumps(result, ensure_ascii=False))
    elif result["status"] == "done":
        print(f"{result['video_seconds']:g} s in {result['seconds']:.0f} s, {result['usd']:.2f} USD, ", end="")
        print(f"consistency {result['consistency']:.2f}\n  {result['video']}\n  {result['report']}")
    else:
        print(f"{result['status']}; what there is lies in {result['path']}")
    if result["status"] not in ("done", "declined"):
        raise typer.Exit(130 if result["status"] == "interrupted" else 1)


def _given(what: str, seconds: float | None, refs: list[Path] | None) -> FilmInput:
    """Read what the film is of: a file by its suffix, anything else is an idea."""
    from memreel.film.plan import read_plan
    from memreel.script import read_scripts

    given: FilmInput = {"refs": [str(path) for path in refs or ()]}
    if seconds is not None:
        given["seconds"] = seconds
    suffix = Path(what).suffix.lower() if "\n" not in what and len(what) < 1000 else ""
    if suffix in {".yaml", ".yml"}:
        if seconds is not None:
            raise UserError("--seconds: a plan says how long its scenes are; change them in the file")
        given["plan"] = read_plan(Path(what)).model_dump(mode="json")
    elif suffix in {".txt", ".jsonl"}:
        scripts = read_scripts(what)
        if len(scripts) > 1:
            raise UserError(f"{what}: {len(scripts)} videos; a film is made of one, give a file with one line")
        given |= {"prompts": list(scripts[0].prompts), "film_id": scripts[0].video_id}
    else:
        given["idea"] = what
    return given


def _context(
    out: Path, model: str, budget: float | None, config: str, settings: list[str] | None, seed: int | None
) -> FilmContext:
    from memreel.configs import load_config
    from memreel.film.settings import FilmContext

    chosen = load_config(config, overrides(settings, seed))
    return FilmContext(out=str(out), config=chosen, model=model, budget=budget)


def _make(given: FilmInput, context: FilmContext, force: bool) -> dict[str, Any]:
    """Make the film; a model's or the disk's failure, or a signal, becomes the result's status."""
    from memreel.film.inputs import check_input
    from memreel.film.making import make_film
    from memreel.output.run_folder import RunFolder

    name = check_input({**given})["film_id"]  # type: ignore[typeddict-item]
    folder = RunFolder(Path(context.out).expanduser().absolute() / name)
    result: dict[str, Any] = {"id": name, "status": "failed", "path": str(folder.path)}
    with outcome(result), stoppable("clip") as stop:
        for event in make_film({**given, "film_id": name}, context, resume=not force, review=_agreed):
            _tell(event)
            if event["type"] == "done":
                result["status"] = event["status"]
            elif stop:
                raise KeyboardInterrupt
    if result["status"] == "done":
        facts = folder.read_json(folder.run)
        result |= {"video": str(folder.video), "report": str(folder.report), "plan": str(folder.plan)}
        result |= {key: facts[key] for key in ("video_seconds", "consistency", "seed")}
        result |= {"scenes": len(facts["shots"]), "takes": len(facts["takes"]), "usd": facts["spent"]["usd"]}
    return result


def _agreed(offer: dict[str, Any]) -> bool:
    """Let a person see what the film would cost before it is spent; what costs nothing needs no asking."""
    if not offer["usd"]:
        return True
    clips = len(offer["routes"])
    if not sys.stdin.isatty():
        raise UserError(f"the film's {clips} clips cost about {offer['usd']:.2f} USD: add --yes to go on, or --dry-run")
    return typer.confirm(f"{clips} clips, {offer['seconds']:g} s, about {offer['usd']:.2f} USD: go on?", err=True)


def _tell(event: dict[str, Any]) -> None:
    """Say on stderr what happens, a line an event worth one."""
    match event["type"]:
        case "plan":
            say(f"plan: {event['scenes']} scenes, {event['seconds']:g} s, by {event['by']}")
            for note in event["notes"]:
                say(f"  {note}")
        case "prompt":
            say(f"scene {event['prompt_id']}: {event['prompt']}")
        case "clip":
            say(f"  {event['key']}: {event['model']}, {event['seconds']['generate']:.1f} s, {event['usd']:.2f} USD")
        case "take":
            score = event["score"]
            parts = ", ".join(f"{name} {score[name]:.2f}" for name in PARTS if score[name] is not None)
            say(f"  {event['key']}: consistency {score['total']:.2f} ({parts})" + (", again" if event["again"] else ""))
        case "corrected":
            say(f"  {event['key']}: {' '.join(event['because'])} Again as: {event['text']}")
        case "spent_before":
            say(f"{event['usd']:.2f} USD were spent on what is started over; they count against the budget")
        case "clip_failover" | "clip_adapted" | "clip_refused" | "clip_resumed" | "clip_skipped" | "resources":
            say("  " + ", ".join(f"{key} {value}" for key, value in event.items() if key != "type"))


PARTS = ("spatial", "temporal", "character")


def _print_offer(given: FilmInput, context: FilmContext, as_json: bool) -> None:
    """Print plan, routes and cost."""
    from memreel.film.making import plan_film
    from memreel.film.plan import plan_yaml

    made, offer, notes = plan_film(given, context)
    for note in notes:
        say(f"memreel: {note}")
    if as_json:
        print(json.dumps(offer, ensure_ascii=False))
        return
    print(plan_yaml(made))
    for route in offer["routes"]:
        because = f"  {route['because']}" if "because" in route else ""
        print(f"{route['key']}  {route['model']:12} {route['provider']:8} {route['usd']:8.2f} USD{because}")
        for note in route.get("notes", ()):
            print(f"{'':7}{note}")
    print(f"{'':22} {'':8} {offer['usd']:8.2f} USD in all, about {offer['wall_seconds']:.0f} s")
    for model, figures in offer.get("assumed", {}).items():
        print(f"assumed, not stated by the provider: {model}: {', '.join(figures)}")
    for row in offer["chat"]:
        price = "no price known: not in the budget" if row["usd"] is None else f"{row['usd']:.4f} USD"
        print(f"{row['model']}: {row['read']} tokens read, {row['written']} written for this plan, {price}")
    for name in offer.get("missing_keys", ()):
        print(f"missing: {name}")
    if offer.get("over_budget"):
        print(f"over the budget of {offer['budget_usd']:.2f} USD by {offer['over_budget']:.2f}")
