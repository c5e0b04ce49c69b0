"""RecallBench: ``memreel bench recall``, or ``python -m memreel.benchmarks.recall``.

Renders generated scripts under every memory strategy with the same model and seeds, reads from the pictures whether
people come back as themselves, and writes ``recall.json``, ``recall.md`` and ``recall.svg``. Every finished take is
appended to ``takes.jsonl``: a command that was stopped goes on where it was. ``--json`` makes the last line of stdout
one JSON object ``{"strategies": {"identity": {"recall": {"mean", "low", "high", "n"}, …}, …}, …}``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from memreel.benchmarks.recallbench import account, contrasts, figures
from memreel.benchmarks.recallbench.accuracy import crop_accuracy, reader_accuracy
from memreel.benchmarks.recallbench.cases import Take, Watcher
from memreel.benchmarks.recallbench.checkpoints import check_folders, cropper_for
from memreel.benchmarks.recallbench.crew import share
from memreel.benchmarks.recallbench.crops import Album, Cropper
from memreel.benchmarks.recallbench.drawing import drawing
from memreel.benchmarks.recallbench.film import reader_for, shoot
from memreel.benchmarks.recallbench.judges import NOBODY, READER, Judge, judge_for
from memreel.benchmarks.recallbench.scripts import FULL, QUICK, BenchScript, make_script, twin
from memreel.benchmarks.recallbench.strategies import READERS, TABLE, Variant, slots_of, variants
from memreel.benchmarks.recallbench.strategies import controls as controls_of
from memreel.configs import load_config
from memreel.configs.schema import ModelConfig, RunConfig
from memreel.errors import MemreelError, StoreError, UserError
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import VideoModel
from memreel.model.worker import on_model_thread
from memreel.world.palette import HeldOut

if TYPE_CHECKING:
    pass

CHUNKS = 8
"""Chunks a prompt where the caller does not say: 6 s, enough for everybody to arrive and for readings after it."""


@dataclass(frozen=True)
class Plan:
    """What to render: scripts ``0 .. scripts - 1`` of ``seed`` under each variant, with one configuration."""

    config: RunConfig
    variants: tuple[Variant, ...]
    scripts: int = QUICK
    seed: int = 0
    held_out: HeldOut = "nothing"
    judge: str = READER
    crops: tuple[str, str] | None = None

    @property
    def key(self) -> dict[str, Any]:
        """Return what a take depends on besides its script and its variant."""
        config = self.config.model_dump(mode="json")
        key = {"config": config, "seed": self.seed, "held_out": self.held_out, "judge": self.judge}
        return key if self.crops is None else {**key, "crops": list(self.crops)}


def make_take(plan: Plan, number: int, variant: Variant, model: VideoModel) -> Take:
    """Render one script under one variant and read it.

    Raises:
        UserError: the judge or the crops' locator cannot read the model's pictures, or a file of theirs is missing.
        ModelError: the judge gave no answer.
    """
    began = time.perf_counter()
    judge = _judge(plan)
    judge.check(model.spec)
    cropper = _cropper(plan, model.device)
    if cropper is not None:
        cropper.locator.check(model.spec)
    embed = sentence_encoder().embed
    script = make_script(number, plan.seed, plan.held_out)
    album = None if cropper is None else Album(cropper, script.story)
    watcher = Watcher(script, model.spec, plan.config.chunks_per_prompt, judge, album)
    donor, lent = _donor(plan, script, variant), None
    if donor is not None:
        memory = shoot(model, donor, replace(variant, lend=None), plan.config, embed).memory
        scenes = enumerate(script.story.scenes, 1)
        back = [n for n, scene in scenes if any(watcher.part(n, key)[0] == "return" for key in scene.present())]
        lent = {n: memory[n] for n in back}
    film = shoot(model, script, variant, plan.config, embed, watcher, lent)
    whose = donor if variant.lend == "altered" else None
    return watcher.take(variant.name, film, time.perf_counter() - began, model.fingerprint(), whose)


def _judge(plan: Plan) -> Judge:
    return judge_for(plan.judge, plan.config.agent)


def _gpu() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _cropper(plan: Plan, device: str) -> Cropper | None:
    return None if plan.crops is None else cropper_for(*plan.crops, device)


def _donor(plan: Plan, script: BenchScript, variant: Variant) -> BenchScript | None:
    """Return the script whose memory a control lends."""
    if variant.lend == "altered":
        return twin(script, plan.seed, plan.held_out)
    if variant.lend == "wrong":
        return make_script(script.number + 1, plan.seed, plan.held_out)
    return None


def _work(plan: Plan, process: int, task: tuple[int, Variant]) -> Take:
    """Make a take with the configured model, which is loaded once a process, on this process's GPU."""
    import memreel.model

    return make_take(plan, *task, memreel.model.load(_place(plan.config.model, process)))


def _place(model: ModelConfig, process: int) -> ModelConfig:
    """Give processes the machine's GPUs by turns, unless the configuration names one of them."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus < 2 or model.device not in ("auto", "cuda"):
        return model
    on_model_thread(torch.cuda.set_device)(process % gpus)
    return model.model_copy(update={"device": f"cuda:{process % gpus}"})


def run(
    plan: Plan,
    out: Path,
    model: VideoModel | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make every take that is not in ``out`` yet and return the account, which is written there as well.

    Args:
        plan: what to render.
        out: folder of the account and of the takes.
        model: the video model, if not the configuration's; it runs in this process.
        jobs: processes to share the work.
        seconds: time after which no more takes are made; the account is of the scripts that are finished then.
        advance: is told (done, all) after every take.

    Raises:
        UserError: ``out`` holds takes of another plan or of other weights, or no script is finished in time.
        ModelError: a model or a process failed.
        StoreError: ``out`` cannot be written.
    """
    until = None if seconds is None else time.monotonic() + seconds
    takes = _earlier(plan, out)
    todo = [(number, v) for number in range(plan.scripts) for v in plan.variants if (number, v.name) not in takes]
    total = plan.scripts * len(plan.variants)
    if advance:
        advance(total - len(todo), total)
    weights = next((take.weights for take in takes.values()), None)
    try:
        with (out / "takes.jsonl").open("a", encoding="utf-8") as log:
            for take in _takes(plan, todo, model, jobs, until):
                if take.weights != (weights := weights or take.weights):
                    raise UserError(f"{out} holds takes of other weights of '{plan.config.model.name}': another --out")
                takes[take.script, take.variant] = take
                log.write(json.dumps(asdict(take)) + "\n")
                log.flush()
                if advance:
                    advance(len(takes), total)
        result = account_of(plan, list(takes.values()))
        (out / "recall.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (out / "recall.md").write_text(account.markdown(result), encoding="utf-8")
        (out / "recall.svg").write_text(drawing(result), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out}: cannot write the benchmark's results ({error})") from error
    return result


def _takes(
    plan: Plan, todo: Sequence[tuple[int, Variant]], model: VideoModel | None, jobs: int, until: float | None
) -> Iterator[Take]:
    if jobs > 1 and model is None:
        yield from share(partial(_work, plan), todo, jobs, until)
        return
    longest = 0.0
    for number, variant in todo:
        if until is not None and time.monotonic() + longest > until:
            return
        take = _work(plan, 0, (number, variant)) if model is None else make_take(plan, number, variant, model)
        longest = max(longest, take.seconds)
        yield take


def _earlier(plan: Plan, out: Path) -> dict[tuple[int, str], Take]:
    """Return the takes that an earlier command left in ``out``; claim the folder for this plan."""
    wanted = {(number, variant.name) for number in range(plan.scripts) for variant in plan.variants}
    claim, log = out / "plan.json", out / "takes.jsonl"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if claim.exists() and _claimed(claim) != plan.key:
            raise UserError(f"{out} holds takes of another configuration or seed: choose another --out")
        claim.write_text(json.dumps(plan.key, indent=2) + "\n", encoding="utf-8")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        whole = [line for line in lines if line.endswith("}")]  # a kill may leave half a line
        if len(whole) != len(lines):
            log.write_text("".join(line + "\n" for line in whole), encoding="utf-8")
        takes = [Take.from_json(json.loads(line)) for line in whole]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{out}: cannot use it for the benchmark's results ({error}); choose another --out") from error
    return {(take.script, take.variant): take for take in takes if (take.script, take.variant) in wanted}


def _claimed(claim: Path) -> dict[str, Any]:
    """Return what a folder's takes depend on; settings that are newer than they are have their defaults."""
    told: dict[str, Any] = json.loads(claim.read_text(encoding="utf-8"))
    return {**told, "config": RunConfig.model_validate(told["config"]).model_dump(mode="json")}


def account_of(plan: Plan, takes: Sequence[Take]) -> dict[str, Any]:
    """Return the account of some takes, as it stands in ``recall.json``: of the scripts that every variant has taken.

    Raises:
        UserError: there is no such script.
    """
    made = {name: {t.script: t for t in takes if t.variant == name} for name in (v.name for v in plan.variants)}
    whole = sorted(set.intersection(*(set(of) for of in made.values())))
    if not whole:
        raise UserError(
            f"no script is finished under all {len(made)} strategies yet ({len(takes)} takes are kept): the same "
            "command goes on from here; give it more --seconds or --jobs"
        )
    rows = {name: [of[number] for number in whole] for name, of in made.items()}
    summaries = {name: figures.summary(of) for name, of in rows.items()}
    scripts = [make_script(number, plan.seed, plan.held_out) for number in whole]
    few = scripts[:QUICK]  # what is slow or costs money is measured on these
    accuracy = {}
    if plan.judge != NOBODY:
        accuracy["reader"] = reader_accuracy(scripts if plan.judge == READER else few, _judge(plan))
    if (cropper := _cropper(plan, _gpu())) is not None:
        accuracy["crops"] = crop_accuracy(few, cropper, plan.seed, plan.held_out)
    return {
        "strategies": summaries,
        "main": figures.main_of(takes),
        "targets": contrasts.targets(rows, summaries),
        "contrasts": contrasts.contrasts(rows),
        **accuracy,
        "scripts": len(whole),
        "takes": {"made": len(takes), "planned": plan.scripts * len(plan.variants)},
        "settings": {
            "model": plan.config.model.name,
            "weights": takes[0].weights,
            "reader": plan.config.agent.model or "the analyst",
            "chunks": plan.config.chunks_per_prompt,
            "seed": plan.config.seed,
            "script_seed": plan.seed,
            "held_out": plan.held_out,
            "judge": plan.judge,
            "crops": plan.crops,
        },
    }


def command(
    out: Path,
    config: str = "sketch",
    settings: Sequence[str] = (),
    *,
    full: bool = False,
    scripts: int | None = None,
    strategies: str | None = None,
    controls: bool = False,
    seed: int = 0,
    held_out: HeldOut = "nothing",
    judge: str | None = None,
    crops: Sequence[str] | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    as_json: bool = False,
) -> None:
    """Run the benchmark from the command line: progress to stderr, the account to stdout.

    Raises:
        MemreelError: see `run`; also unknown strategies and settings.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    chosen = variants([name for name in strategies.split(",") if name.strip()]) if strategies is not None else TABLE
    count = scripts if scripts is not None else FULL if full else QUICK
    if count < 1 or jobs < 1:
        raise UserError("the benchmark needs at least one script and one job")
    if seconds is not None and not seconds >= 0:
        raise UserError(f"--seconds {seconds}: 0 makes the account of what is there, more also goes on for that long")
    if not any(setting.replace(" ", "").startswith("chunks_per_prompt=") for setting in settings):
        settings = [f"chunks_per_prompt={CHUNKS}", *settings]
    loaded = load_config(config, settings)
    if model := loaded.agent.model or os.environ.get("MEMREEL_LLM_MODEL"):  # a take depends on it: it goes on record
        loaded = loaded.model_copy(update={"agent": loaded.agent.model_copy(update={"model": model})})
    if controls:
        chosen = [*chosen, *(v for v in (*controls_of(loaded), *(READERS if model else ())) if v not in chosen)]
    if not chosen:
        raise UserError("the benchmark needs at least one strategy")
    if over := [v.name for v in chosen if v.memory(loaded.memory).slots > slots_of(loaded)]:
        most = slots_of(loaded)
        raise UserError(f"'{over[0]}': the video model '{loaded.model.name}' attends to {most} memory frames at most")
    pair = None if crops is None else (crops[0], crops[1])
    if pair is not None:
        check_folders(*pair)
    if judge is None:
        judge = READER if pair is None or loaded.model.name == "sketch" else NOBODY
    if judge == NOBODY and pair is None:
        raise UserError("--judge nobody leaves nothing to tell by: name a detector and an encoder with --crops")
    plan = Plan(loaded, tuple(chosen), count, seed, held_out, judge, pair)
    for variant in chosen:
        reader_for(variant, make_script(0, seed, held_out), loaded.agent)  # nothing is asked; what cannot work says so
    if plan.config.chunks_per_prompt < CHUNKS - 1:
        raise UserError(
            f"chunks_per_prompt={plan.config.chunks_per_prompt}: people need {CHUNKS - 1} chunks to arrive and "
            "to leave the picture; set it higher"
        )
    console = Console(stderr=True)
    columns = (TextColumn("takes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("takes", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)
            if not console.is_terminal and (done == total or done % len(chosen) == 0):
                console.print(f"{done}/{total} takes", highlight=False)

        result = run(plan, out, jobs=jobs, seconds=seconds, advance=advance)
    if as_json:
        print(json.dumps(result))
    else:
        account.show(result, out, Console())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/recall"), help="folder of the account and the takes")
    parser.add_argument("--config", default="sketch", help="preset or YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    parser.add_argument("--full", action="store_true", help=f"{FULL} scripts instead of {QUICK}")
    parser.add_argument("--scripts", type=int, help="another number of scripts")
    parser.add_argument("--strategies", help="a comma-separated list, such as identity,identity@gold,none,oracle")
    parser.add_argument("--controls", action="store_true", help="add gold IDs, fewer frames, altered and wrong memory")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scripts")
    parser.add_argument("--held-out", choices=get_args(HeldOut), default="nothing", help="words unseen in training")
    parser.add_argument("--judge", metavar="MODEL", help="a chat model that sees reads the pictures, or nobody")
    parser.add_argument("--crops", nargs=2, metavar=("DETECTOR", "ENCODER"), help="folders: people are told by crops")
    parser.add_argument("--jobs", type=int, default=1, help="processes, on the machine's GPUs by turns")
    parser.add_argument("--seconds", type=float, help="stop after so long, with an account of the finished scripts")
    parser.add_argument("--json", action="store_true", help="make the last line of stdout one JSON object")
    args = parser.parse_args(arguments)
    try:
        command(
            args.out,
            args.config,
            args.set,
            full=args.full,
            scripts=args.scripts,
            strategies=args.strategies,
            controls=args.controls,
            seed=args.seed,
            held_out=args.held_out,
            judge=args.judge,
            crops=args.crops,
            jobs=args.jobs,
            seconds=args.seconds,
            as_json=args.json,
        )
    except MemreelError as error:
        print(f"recall: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("recall: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
