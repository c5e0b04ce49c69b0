"""Trains the analyst's coreference network on marked stories.

``python -m memreel.training.coreference --stories FILE … --out FILE`` fine-tunes MiniLM on stories in which every
mention is marked (`memreel.benchmarks.marked`), laid out by `memreel.training.answers`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import yaml
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional as F

from memreel.agent.coreference import KINDS, WEIGHTS, Coreference
from memreel.agent.pages import batch_of
from memreel.benchmarks.marked import KNOWN, PARTS, Record
from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.training.answers import RENAMED, Example, Story, everyone, laid_out, names_of, renamed, story_of

STORIES = Path(__file__).parent / "stories"
OURS = sorted([*STORIES.glob("*.yaml"), *(PARTS[part] for part in KNOWN)])
"""Stories written for this, those of the sketch world, and those of the benchmark that are not kept aside."""
OUTSIDE = -1
"""Kind of what is no word of a page."""
KIND_WEIGHTS = torch.tensor([1.0, 1.0, 1.5])
"""Of the kinds: things are rarer than characters."""
BATCH, WARMING, REPEATS = 32, 100, 2
"""Prompts a step, steps until the full learning rate, and epochs with the same names and strangers among the cast."""
READERS, STRANGERS = 6, 500
"""Processes that lay out pages, and how many strangers each has to choose from."""
HEADS = 4
"""How much faster the heads learn, which know nothing yet."""


def loss_of(network: Coreference, batch: Sequence[Example], device: str) -> torch.Tensor:
    """Return the mean loss of a batch: of kinds, of meaning several, of antecedents (marginal over the right ones)."""
    pages = batch_of([example.page for example in batch])
    members, words = pages.members, pages.features.shape[1]
    labels = np.full((len(batch), words), OUTSIDE)
    plurals = np.zeros((len(batch), words), np.float32)
    answers = np.zeros((len(batch), words, members + words), np.bool_)
    known = np.zeros_like(answers)
    for row, example in enumerate(batch):
        labels[row, : len(example.kinds)], plurals[row, : len(example.kinds)] = example.kinds, example.several
        here = len(example.page.members)
        known[row, :, :here] = True
        for i, columns in enumerate(example.antecedents):
            answers[row, i, [column if column < here else members + column - here for column in columns]] = True
    known[:, :, members:] = (labels > 0)[:, None] & np.tri(words, k=-1, dtype=np.bool_)
    answers &= known
    with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
        heads, scores = (part.float() for part in network(pages.to(device)))
    kinds, several, right, there = (
        torch.from_numpy(part).to(device, non_blocking=True) for part in (labels, plurals, answers, known)
    )
    mention = kinds > 0
    count = max(1, int(mention.sum()))
    found = F.cross_entropy(
        heads[..., :-1].flatten(0, 1), kinds.flatten(), KIND_WEIGHTS.to(device), ignore_index=OUTSIDE
    )
    plural = F.binary_cross_entropy_with_logits(heads[..., -1][mention], several[mention])
    scores, right, there, many = scores[mention], right[mention], there[mention], several[mention] > 0
    each = F.binary_cross_entropy_with_logits(scores, right.float(), reduction="none") * there
    scores = F.pad(scores.masked_fill(~there, -1e9), (1, 0))
    chosen = torch.cat((~right.any(1, keepdim=True), right), 1)
    missed = scores.logsumexp(1) - scores.masked_fill(~chosen, -1e9).logsumexp(1)
    total: torch.Tensor = 4 * found + plural + (each[many].sum() + missed[~many].sum()) / count
    return total


def _read(
    network: Coreference, examples: Sequence[Example], device: str
) -> Iterator[tuple[Example, torch.Tensor, torch.Tensor]]:
    """Yield each example with what the network says of its page, without the padding."""
    for start in range(0, len(examples), BATCH):
        some = examples[start : start + BATCH]
        pages = batch_of([example.page for example in some])
        for example, *said in zip(some, *(part.cpu() for part in network(pages.to(device))), strict=True):
            words, members = len(example.page.words), len(example.page.members)
            heads, pairs = (part[:words] for part in said)
            yield example, heads, torch.cat((pairs[:, :members], pairs[:, pages.members : pages.members + words]), 1)


@torch.inference_mode()
def check(network: Coreference, examples: Sequence[Example], device: str) -> dict[str, float]:
    """Return how many mentions are found, of those said to be one are, and of those have a right antecedent."""
    network.eval()
    right = said = there = linked = of = several = 0
    for example, heads, pairs in _read(network, examples, device):
        kinds, members = heads[:, : len(KINDS)].argmax(-1).tolist(), len(example.page.members)
        for i, kind in enumerate(example.kinds):
            if kind == OUTSIDE:
                continue
            there, said, right = there + (kind > 0), said + (kinds[i] > 0), right + (kind > 0 and kinds[i] == kind)
            if kind > 0 and not example.several[i]:
                columns = [*range(members), *(members + j for j in range(i) if example.kinds[j] > 0)]
                scores = F.pad(pairs[i, columns], (1, 0))
                best = int(scores.argmax())
                linked += (best == 0 and not example.antecedents[i]) or (
                    best > 0 and columns[best - 1] in example.antecedents[i]
                )
                of += 1
            several += kind > 0 and (bool(heads[i, -1] > 0) == example.several[i])
    return {
        "recall": round(right / max(1, there), 4),
        "precision": round(right / max(1, said), 4),
        "links": round(linked / max(1, of), 4),
        "several": round(several / max(1, there), 4),
        "mentions": there,
    }


@dataclass(frozen=True)
class Plan:
    """How to train: by which stories, judged by which, how long (seconds, epochs), how fast, from which seed."""

    stories: Sequence[Record]
    aside: Sequence[Story]
    seconds: float
    epochs: int
    rate: float
    seed: int

    @property
    def steps(self) -> int:
        """Most steps."""
        return self.epochs * (sum(len(record["told"]) for record in self.stories) // BATCH + 1)


def train(plan: Plan, device: str, order: int = 0) -> dict[str, torch.Tensor]:
    """Train until the time is up or the epochs are over, and return the weights.

    Args:
        plan: how.
        device: where.
        order: from which the order of the stories, their names and the strangers among their casts are drawn; the
            weights to begin with are drawn from the plan's seed.
    """
    torch.manual_seed(plan.seed)
    network = Coreference(SentenceEncoder(weights_folder())).to(device)
    own = [(name.startswith("bert."), value) for name, value in network.named_parameters() if value.requires_grad]
    rates = {True: plan.rate, False: HEADS * plan.rate}
    optimizer = torch.optim.AdamW(
        [{"params": [value for inner, value in own if inner is part], "rate": rates[part]} for part in rates],
        weight_decay=0.01,
    )
    tested = laid_out(plan.aside)
    began, step = time.monotonic(), 0
    with ProcessPoolExecutor(READERS, get_context("spawn")) as readers:
        following = _asked_for(readers, plan.stories, random.Random(order))
        examples: list[Example] = []
        for epoch in range(plan.epochs):
            if epoch % REPEATS == 0:
                examples = [example for part in following for example in part.result()]
                following = _asked_for(readers, plan.stories, random.Random(f"{order} {epoch}"))
            random.Random(f"{order} {epoch}").shuffle(examples)
            network.train()
            losses = list[torch.Tensor]()
            for start in track(range(0, len(examples), BATCH), f"epoch {epoch + 1}", transient=True):
                spent = max(step / plan.steps, (time.monotonic() - began) / plan.seconds)
                if spent >= 1:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = group["rate"] * min(1.0, (step + 1) / WARMING) * (1 - spent)
                loss = loss_of(network, examples[start : start + BATCH], device)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_([value for _, value in own], 1.0)
                optimizer.step()
                losses.append(loss.detach())
                step += 1
            line = {"device": device, "epoch": epoch + 1, "steps": step, "seconds": round(time.monotonic() - began)}
            loss_now = round(float(torch.stack(losses).mean()), 3) if losses else None
            print(json.dumps({**line, "loss": loss_now, **check(network, tested, device)}), flush=True)
            if len(losses) * BATCH < len(examples):
                break
        for part in following:
            part.cancel()
    return {name: value.cpu() for name, value in network.own().items()}


def _asked_for(readers: Executor, stories: Sequence[Record], chance: random.Random) -> list[Future[list[Example]]]:
    """Have all stories laid out, some with other names, and with strangers among their casts."""
    names = names_of(stories)
    now = [renamed(record, names, chance) if chance.random() < RENAMED else record for record in stories]
    read = [story_of(record) for record in now]
    strangers = [member for story in read for member in everyone(story)]
    return [
        readers.submit(laid_out, read[part::READERS], chance.sample(strangers, min(STRANGERS, len(strangers))), part)
        for part in range(READERS)
    ]


def averaged(runs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of the weights of runs that began with the same (Wortsman et al., Model soups, 2022)."""
    return {name: torch.stack([run[name] for run in runs]).mean(0) for name in runs[0]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m memreel.training.coreference", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--stories", type=Path, nargs="+", default=OURS, help="files of marked stories")
    parser.add_argument("--aside", type=float, default=0.05, help="share of the stories to choose the weights by")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument(
        "--devices", nargs="+", default=["cpu"], help="one run on each; the best, or their mean, is kept"
    )
    parser.add_argument("--rate", type=float, default=2e-4, help=f"learning rate; of the heads {HEADS} times as much")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    stories, aside = list[Record](), list[Story]()
    for path in options.stories:
        read: list[Record] = yaml.safe_load(path.read_text("utf-8"))
        kept = round(len(read) * options.aside)
        stories += read[kept:]
        aside += map(story_of, read[:kept])
    print(f"{len(stories)} stories, {len(aside)} aside")
    plan = Plan(stories, aside, options.seconds, options.epochs, options.rate, options.seed)
    with ProcessPoolExecutor(len(options.devices), get_context("spawn")) as processes:
        runs = list(processes.map(partial(train, plan), options.devices, range(len(options.devices))))
    network = Coreference(SentenceEncoder(weights_folder()))
    pages, best = laid_out(aside), -1.0
    found_by = {f"run {i}": run for i, run in enumerate(runs)}
    for name, weights in (found_by | {"mean": averaged(runs)} if len(runs) > 1 else found_by).items():
        network.load_state_dict(weights, strict=False)
        found = check(network.to(options.devices[0]), pages, options.devices[0])
        print(json.dumps({"weights": name, **found}), flush=True)
        if found["links"] + found["recall"] + found["precision"] > best:
            best = found["links"] + found["recall"] + found["precision"]
            options.out.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: value.half().contiguous() for name, value in weights.items()}, options.out)


if __name__ == "__main__":
    main()
