"""Trains the analyst's coreference network on marked stories.

``python -m memreel.training.coreference --stories FILE … --out FILE`` fine-tunes MiniLM on stories in which every
mention is marked (`memreel.benchmarks.marked`).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional as F

from memreel.agent.coreference import KINDS, WEIGHTS, Coreference
from memreel.agent.pages import (
    MEMBERS,
    PRONOUNS,
    Member,
    Page,
    Word,
    batch_of,
    introduced,
    page_of,
    singular_of,
    words_of,
)
from memreel.benchmarks.marked import KNOWN, MARK, PARTS, Record, Told, groups_of, told_of
from memreel.model.minilm import SentenceEncoder, weights_folder

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
REMEMBERED, RENAMED = 0.85, 0.5
"""Share of pages with the prompts before, and of stories told with other names."""
GENDERS = {
    "he": {"he", "him", "his", "himself"},
    "she": {"she", "her", "hers", "herself"},
    "it": {"it", "its", "itself"},
}
"""Pronouns that tell the gender of whom they mean."""


@dataclass(frozen=True)
class Story:
    """A story: whom it is about, by label "character" or "object", and its prompts."""

    kinds: dict[str, str]
    told: list[Told]


@dataclass
class Example:
    """A page, and for each of its words its kind, how many it means and its antecedents (columns of the scores)."""

    page: Page
    kinds: list[int]
    several: list[bool]
    antecedents: list[list[int]] = field(default_factory=list)


def story_of(record: Record) -> Story:
    """Return a marked story as it is written down."""
    groups = groups_of(record)
    kinds = {label: "object" if group == "objects" else "character" for label, group in groups.items()}
    return Story(kinds, [told_of(text) for text in record["told"]])


def names_of(records: Sequence[Record]) -> dict[str, str]:
    """Return the names in marked stories, each with the gender that most of its owners' pronouns have.

    A name is marked as somebody's who has one, has a capital letter, and is nowhere written without, or behind an
    article.
    """
    texts = [MARK.sub("", text) for record in records for text in record["told"]]
    plain = {word for text in texts for word in text.split()}
    plain |= {word.lower() for text in texts for word in re.findall(r"\b[Tt]he (\w+)", text)}  # "the Swede"
    said: dict[str, list[str]] = {}
    for record in records:
        own = dict[str, list[str]]()
        for word, label in re.findall(r"(\w+)(?:['’]s)?\{(\w+)\}", " ".join(record["told"])):
            own.setdefault(label, []).append(word)
        groups = groups_of(record)
        for label, words in own.items():
            genders = [gender for word in words for gender, forms in GENDERS.items() if word.lower() in forms]
            for name in words if groups.get(label) == "named" else ():
                if name[:1].isupper() and len(name) > 2 and name.lower() not in plain:
                    said.setdefault(name, []).extend(genders)
    return {name: max(set(genders), key=genders.count) for name, genders in sorted(said.items()) if genders}


def renamed(record: Record, names: dict[str, str], chance: random.Random) -> Record:
    """Return a marked story whose named characters have other names of their gender."""
    told = "\n".join(record["told"])
    for name in dict.fromkeys(re.findall(r"([A-Z]\w+)(?:['’]s)?\{\w+\}", told)):
        others = [word for word, gender in names.items() if gender == names.get(name) and word not in told]
        if others:
            told = re.sub(rf"\b{name}\b", chance.choice(others), told)
    return {**record, "told": told.split("\n")}


def examples_of(tokenizer: Any, story: Story, others: Sequence[Member], chance: random.Random) -> list[Example]:
    """Return a story's prompts, each beside the cast that those before it told of, and some of ``others`` among it."""
    found = []
    forms: dict[str, list[str]] = {}
    first: dict[str, tuple[str, int]] = {}
    order: list[str] = []
    for number, told in enumerate(story.told):
        recent = order[:MEMBERS]
        cast = [
            Member(
                introduced(forms[label], *first[label]),
                frozenset(singular_of(form.rsplit(" ", 1)[-1]) for form in forms[label]),
                story.kinds[label],  # type: ignore[arg-type]
            )
            for label in recent
        ]
        labels: list[str | None] = [*recent]
        for other in chance.sample(list(others), min(len(others), chance.choice((0, 0, 1, 3, 8)))):
            place = chance.randint(len(cast) // 2, len(cast))
            cast.insert(place, other)
            labels.insert(place, None)
        labels = labels[:MEMBERS]
        before = [past.text for past in story.told[:number]] if chance.random() < REMEMBERED else []
        page, words = page_of(tokenizer, told.text, cast[:MEMBERS], before)
        found.append(_example(page, words, told, story, labels))
        spoken = list(dict.fromkeys(label for mark in reversed(told.marks) for label in mark.labels))
        order = [*spoken, *(label for label in order if label not in spoken)]
        for mark in told.marks:
            form = next(word.text for word in words_of(told.text) if word.start == mark.start)
            if len(mark.labels) == 1 and form.lower() not in PRONOUNS:
                forms.setdefault(mark.labels[0], [])
                if form not in forms[mark.labels[0]]:
                    forms[mark.labels[0]].append(form)
        for mark in sorted(told.marks, key=lambda mark: len(mark.labels)):  # by itself, if it is
            for label in mark.labels:
                forms.setdefault(label, [])
                first.setdefault(label, (told.text, mark.start))
    return found


def _example(page: Page, words: Sequence[Word], told: Told, story: Story, labels: Sequence[str | None]) -> Example:
    meant = {mark.start: mark.labels for mark in told.marks}
    example = Example(page, [], [])
    for i, word in enumerate(words):
        mine = meant.get(word.start, ())
        example.kinds.append(KINDS.index(story.kinds[mine[0]]) if mine else 0)
        example.several.append(len(mine) > 1)
        columns = [rank for rank, label in enumerate(labels) if label in mine]
        columns += [len(labels) + j for j in range(i) if set(meant.get(words[j].start, ())) & set(mine)]
        example.antecedents.append(columns)
    return example


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


def laid_out(stories: Sequence[Story], strangers: Sequence[Member] = (), seed: int = 0) -> list[Example]:
    """Return the pages of stories; see `examples_of`."""
    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    chance = random.Random(seed)
    return [example for story in stories for example in examples_of(tokenizer, story, strangers, chance)]


def averaged(runs: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of the weights of runs that began with the same (Wortsman et al., Model soups, 2022)."""
    return {name: torch.stack([run[name] for run in runs]).mean(0) for name in runs[0]}


def everyone(story: Story) -> list[Member]:
    """Return everybody in a story as its prompts introduce them."""
    found: dict[str, Member] = {}
    for told in story.told:
        for mark in told.marks:
            form = next(word.text for word in words_of(told.text) if word.start == mark.start)
            if len(mark.labels) == 1 and mark.labels[0] not in found and form.lower() not in PRONOUNS:
                kind: Any = story.kinds[mark.labels[0]]
                found[mark.labels[0]] = Member(
                    introduced([form], told.text, mark.start), frozenset([singular_of(form)]), kind
                )
    return list(found.values())


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
        found = check(network, pages, "cpu")
        print(json.dumps({"weights": name, **found}), flush=True)
        if found["links"] + found["recall"] + found["precision"] > best:
            best = found["links"] + found["recall"] + found["precision"]
            options.out.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: value.half().contiguous() for name, value in weights.items()}, options.out)


if __name__ == "__main__":
    main()
