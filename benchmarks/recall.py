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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, get_args

from memreel.benchmarks.recallbench import account, figures
from memreel.benchmarks.recallbench.cases import Take, Watcher
from memreel.benchmarks.recallbench.film import reader_for, shoot
from memreel.benchmarks.recallbench.judges import READER, Judge, judge_for
from memreel.benchmarks.recallbench.scripts import FULL, QUICK, BenchScript, looks, make_script, make_scripts, twin
from memreel.benchmarks.recallbench.strategies import CONTROLS, READERS, TABLE, Variant, variants
from memreel.configs import load_config
from memreel.configs.schema import RunConfig
from memreel.errors import MemreelError, StoreError, UserError
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import VideoModel
from memreel.world.palette import HeldOut

if TYPE_CHECKING:
    from rich.console import Console

CHUNKS = 8
"""Chunks a prompt where the caller does not say: 6 s, enough for everybody to arrive and for readings after it."""
READER_OFFSET = 8.0
"""Pixels by which expected places are put off when the reader itself is measured."""


@dataclass(frozen=True)
class Plan:
    """What to render: scripts ``0 .. scripts - 1`` of ``seed`` under each variant, with one configuration."""

    config: RunConfig
    variants: tuple[Variant, ...]
    scripts: int = QUICK
    seed: int = 0
    held_out: HeldOut = "nothing"
    judge: str = READER

    @property
    def key(self) -> dict[str, Any]:
        """Return what a take depends on besides its script and its variant."""
        config = self.config.model_dump(mode="json")
        return {"config": config, "seed": self.seed, "held_out": self.held_out, "judge": self.judge}


def make_take(plan: Plan, number: int, variant: Variant, model: VideoModel) -> Take:
    """Render one script under one variant and read it.

    Raises:
        UserError: the judge cannot read the model's pictures.
        ModelError: the judge gave no answer.
    """
    began = time.perf_counter()
    judge = _judge(plan)
    judge.check(model.spec)
    embed = sentence_encoder().embed
    script = make_script(number, plan.seed, plan.held_out)
    watcher = Watcher(script, model.spec, plan.config.chunks_per_prompt, judge)
    donor, lent = _donor(plan, script, variant), None
    if donor is not None:
        memory = shoot(model, donor, replace(variant, lend=None), plan.config, embed).memory
        scenes = enumerate(script.story.scenes, 1)
        back = [n for n, scene in scenes if any(watcher.part(n, key)[0] == "return" for key in scene.present())]
        lent = {n: memory[n] for n in back}
    film = shoot(model, script, variant, plan.config, embed, watcher, lent)
    return watcher.take(variant.name, film, time.perf_counter() - began, donor if variant.lend == "altered" else None)


def _judge(plan: Plan) -> Judge:
    return judge_for(plan.judge, plan.config.agent)


def _donor(plan: Plan, script: BenchScript, variant: Variant) -> BenchScript | None:
    """Return the script whose memory a control lends."""
    if variant.lend == "altered":
        return twin(script, plan.seed, plan.held_out)
    if variant.lend == "wrong":
        return make_script(script.number + 1, plan.seed, plan.held_out)
    return None


def _work(plan: Plan, number: int, variant: Variant) -> Take:
    """Make a take with the configured model, which is loaded once a process."""
    import memreel.model

    return make_take(plan, number, variant, memreel.model.load(plan.config.model))


def _quiet() -> None:
    import torch

    torch.set_num_threads(1)


def run(
    plan: Plan,
    out: Path,
    model: VideoModel | None = None,
    jobs: int = 1,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make every take that is not in ``out`` yet and return the account, which is written there as well.

    Args:
        plan: what to render.
        out: folder of the account and of the takes.
        model: the video model, if not the configuration's; it runs in this process.
        jobs: processes to share the work.
        advance: is told (done, all) after every take.

    Raises:
        UserError: ``out`` holds takes of another plan.
        StoreError: ``out`` cannot be written.
    """
    takes = _earlier(plan, out)
    todo = [(number, v) for number in range(plan.scripts) for v in plan.variants if (number, v.name) not in takes]
    total = plan.scripts * len(plan.variants)
    if advance:
        advance(total - len(todo), total)
    try:
        with (out / "takes.jsonl").open("a", encoding="utf-8") as log:
            for take in _takes(plan, todo, model, jobs):
                takes[take.script, take.variant] = take
                log.write(json.dumps(asdict(take)) + "\n")
                log.flush()
                if advance:
                    advance(len(takes), total)
        result = account_of(plan, list(takes.values()))
        (out / "recall.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (out / "recall.md").write_text(account.markdown(result), encoding="utf-8")
        (out / "recall.svg").write_text(account.drawing(result), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out}: cannot write the benchmark's results ({error})") from error
    return result


def _takes(plan: Plan, todo: Sequence[tuple[int, Variant]], model: VideoModel | None, jobs: int) -> Iterator[Take]:
    if model is not None or jobs == 1:
        for number, variant in todo:
            yield _work(plan, number, variant) if model is None else make_take(plan, number, variant, model)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _quiet) as pool:
        waiting = [pool.submit(_work, plan, number, variant) for number, variant in todo]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _earlier(plan: Plan, out: Path) -> dict[tuple[int, str], Take]:
    """Return the takes that an earlier command left in ``out``; claim the folder for this plan."""
    wanted = {(number, variant.name) for number in range(plan.scripts) for variant in plan.variants}
    claim, log = out / "plan.json", out / "takes.jsonl"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if claim.exists() and json.loads(claim.read_text(encoding="utf-8")) != plan.key:
            raise UserError(f"{out} holds takes of another configuration or seed: choose another --out")
        claim.write_text(json.dumps(plan.key, indent=2) + "\n", encoding="utf-8")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        whole = [line for line in lines if line.endswith("}")]  # a kill may leave half a line
        if len(whole) != len(lines):
            log.write_text("".join(line + "\n" for line in whole), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StoreError(f"{out}: cannot use it for the benchmark's results ({error})") from error
    takes = [Take.from_json(json.loads(line)) for line in whole]
    return {(take.script, take.variant): take for take in takes if (take.script, take.variant) in wanted}


def account_of(plan: Plan, takes: Sequence[Take]) -> dict[str, Any]:
    """Return the account of some takes, as it stands in ``recall.json``."""
    rows = {v.name: figures.summary(t for t in takes if t.variant == v.name) for v in plan.variants}
    return {
        "strategies": rows,
        "reader": reader_accuracy(make_scripts(plan.scripts, plan.seed, plan.held_out), _judge(plan)),
        "scripts": plan.scripts,
        "settings": {
            "model": plan.config.model.name,
            "reader": plan.config.agent.model or "the analyst",
            "chunks": plan.config.chunks_per_prompt,
            "seed": plan.config.seed,
            "script_seed": plan.seed,
            "held_out": plan.held_out,
            "judge": plan.judge,
        },
    }


def reader_accuracy(scripts: Sequence[BenchScript], judge: Judge, seed: int = 0) -> dict[str, figures.Interval]:
    """Measure a judge on painted truth: one moment of every scene, expected places off by `READER_OFFSET`."""
    import torch

    from memreel.world import palette
    from memreel.world.draw import paint
    from memreel.world.places import backgrounds
    from memreel.world.shapes import table

    random = Random(seed)
    values: dict[str, list[tuple[int, float]]] = {}
    for script in scripts:
        for number, scene in enumerate(script.story.scenes):
            t = script.story.settled(number) + random.uniform(0, 2)
            behind = backgrounds()[palette.PLACES.index(scene.place)][None]
            drawn, _ = paint(torch.from_numpy(table(script.story.rows(number, t)))[None], behind)
            picture = (drawn[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            glance = judge.look(picture, script.story, number, t, random.choice((-READER_OFFSET, READER_OFFSET)))
            for key, shown in glance.shown.items():
                truth = looks(script.story.beings[key].look)
                for name, value in truth.items():
                    hit = float(shown is not None and shown[name] == value)
                    values.setdefault(name, []).append((script.number, hit))
                values.setdefault("all", []).append((script.number, float(shown == truth)))
            values.setdefault("nobody_else", []).append((script.number, float(not glance.others)))
    return {name: found for name, pairs in values.items() if (found := figures.interval(pairs)) is not None}


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
    judge: str = READER,
    jobs: int = 1,
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
    if not chosen or count < 1 or jobs < 1:
        raise UserError("the benchmark needs at least one strategy, one script and one job")
    if not any(setting.replace(" ", "").startswith("chunks_per_prompt=") for setting in settings):
        settings = [f"chunks_per_prompt={CHUNKS}", *settings]
    loaded = load_config(config, settings)
    if model := loaded.agent.model or os.environ.get("MEMREEL_LLM_MODEL"):  # a take depends on it: it goes on record
        loaded = loaded.model_copy(update={"agent": loaded.agent.model_copy(update={"model": model})})
    if controls:
        chosen = [*chosen, *(v for v in (*CONTROLS, *(READERS if model else ())) if v not in chosen)]
    plan = Plan(loaded, tuple(chosen), count, seed, held_out, judge)
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

        result = run(plan, out, jobs=jobs, advance=advance)
    _print(result, out, Console(), as_json)


def _print(result: dict[str, Any], out: Path, console: Console, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    from rich.table import Table

    shown = ("recall", "first_mention", "wrong_person", "duplicates", "persistence", "covered", "matched")
    table = Table("strategy", *shown)
    for name, row in result["strategies"].items():
        cells = [row.get(c) for c in shown]
        table.add_row(name, *("" if c is None else f"{c['mean']:.2f} [{c['low']:.2f}, {c['high']:.2f}]" for c in cells))
    console.print(table)
    console.print(f"{out / 'recall.md'}\n{out / 'recall.svg'}\n{out / 'recall.json'}", highlight=False)


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
    parser.add_argument("--judge", default=READER, metavar="MODEL", help="a chat model that sees reads the pictures")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
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
            jobs=args.jobs,
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
