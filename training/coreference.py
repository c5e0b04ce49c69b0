"""Trains the analyst's coreference network on marked stories.

``python -m memreel.training.coreference --stories FILE … --out FILE`` fine-tunes MiniLM by low-rank updates.
A marked story has a ``cast`` (each label ``named``, ``unnamed`` or ``object``) and ``told``, its prompts, with
``{label}`` behind the head word of every mention ("She{mia} lifts the lamp{lamp}"). Stories that are labelled by prompt
only (`memreel.benchmarks.cast`) teach what their words alone decide: a noun that only one label is called by.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional as F

from memreel.agent.coreference import KINDS, RANK, WEIGHTS, Coreference
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
from memreel.benchmarks.cast import PARTS
from memreel.model.minilm import SentenceEncoder, weights_folder

STORIES = Path(__file__).parent / "stories"
OURS = sorted([*STORIES.glob("*.yaml"), *(PARTS[part] for part in ("tuned", "named", "fresh", "bridged", "workshop"))])
"""The marked stories, those of the sketch world, and the labelled ones that are not kept aside."""
MARK = re.compile(r"\{([^{}]*)\}")
UNSURE = -1
KIND_WEIGHTS = torch.tensor([1.0, 1.0, 1.5])
"""Of the kinds: things are rarer than characters."""
BATCH, WARMING, REPEATS = 24, 100, 2
"""Prompts a step, steps until the full learning rate, and epochs with the same strangers among the cast."""


@dataclass(frozen=True)
class Mark:
    """A mention in a text: where its word begins, and whom it means."""

    start: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A prompt without marks, what is marked in it, and where words begin of which nothing is known."""

    text: str
    marks: list[Mark]
    unsure: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Story:
    """A story: whom it is about, by label "character" or "object", and its prompts."""

    kinds: dict[str, str]
    told: list[Told]


@dataclass
class Example:
    """A page, and for each of its words its kind, how many it means and its antecedents (columns of the scores).

    A kind of `UNSURE` teaches nothing.
    """

    page: Page
    kinds: list[int]
    several: list[bool]
    antecedents: list[list[int]] = field(default_factory=list)


def marked(path: Path) -> list[Story]:
    """Read marked stories."""
    return [
        Story({label: _kind(kind) for label, kind in record["cast"].items()}, [_told(text) for text in record["told"]])
        for record in yaml.safe_load(path.read_text("utf-8"))
    ]


def _kind(kind: str) -> str:
    return "object" if kind == "object" else "character"


def _told(text: str) -> Told:
    plain, marks, last = "", list[Mark](), 0
    for found in MARK.finditer(text):
        plain += text[last : found.start()]
        last = found.end()
        here = [word for word in words_of(plain) if word.end <= len(plain)]
        word = here[-1]
        if word.text == "s" and len(here) > 1 and plain[word.start - 1 : word.start] in ("'", "’"):
            word = here[-2]
        marks.append(Mark(word.start, tuple(found.group(1).split())))
    return Told(plain + text[last:], marks)


def labelled(path: Path) -> list[Story]:
    """Read stories that are labelled by prompt: marks are nouns that one label of the prompt is called by."""
    found = []
    for record in yaml.safe_load(path.read_text("utf-8")):
        groups = {group: record.get(group) or {} for group in ("named", "unnamed", "objects")}
        called = {
            label: {singular_of(word) for word in str(words).split()}
            for group in groups.values()
            for label, words in group.items()
        }
        kinds = {label: _kind(group.rstrip("s")) for group, labels in groups.items() for label in labels}
        told = [_by_words(text, labels.split(), called) for prompt in record["told"] for labels, text in prompt.items()]
        found.append(Story(kinds, told))
    return found


def _by_words(text: str, labels: Sequence[str], called: dict[str, set[str]]) -> Told:
    marks, unsure = list[Mark](), set[int]()
    everything = set().union(*called.values())
    for word in words_of(text):
        plain = singular_of(word.text)
        owners = [label for label in labels if plain in called[label]]
        if len(owners) == 1 and plain == word.text.lower():
            marks.append(Mark(word.start, (owners[0],)))
        elif plain in everything or plain in PRONOUNS or owners:
            unsure.add(word.start)
    return Told(text, marks, frozenset(unsure))


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
        before = [earlier.text for earlier in story.told[:number]] if chance.random() < 0.8 else []
        page, words = page_of(tokenizer, told.text, cast[:MEMBERS], before)
        found.append(_example(page, words, told, story, labels[:MEMBERS]))
        spoken = list(dict.fromkeys(label for mark in reversed(told.marks) for label in mark.labels))
        order = [*spoken, *(label for label in order if label not in spoken)]
        for mark in told.marks:
            form = next(word.text for word in words_of(told.text) if word.start == mark.start)
            if len(mark.labels) == 1 and form.lower() not in PRONOUNS:
                forms.setdefault(mark.labels[0], [])
                if form not in forms[mark.labels[0]]:
                    forms[mark.labels[0]].append(form)
            for label in mark.labels:
                forms.setdefault(label, [])
                first.setdefault(label, (told.text, mark.start))
    return found


def _example(page: Page, words: Sequence[Word], told: Told, story: Story, labels: Sequence[str | None]) -> Example:
    meant = {mark.start: mark.labels for mark in told.marks}
    example = Example(page, [], [])
    for i, word in enumerate(words):
        mine = meant.get(word.start, ())
        if word.start in told.unsure:
            example.kinds.append(UNSURE)
        else:
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
    kinds = torch.full((len(batch), words), UNSURE)
    several = torch.zeros(len(batch), words)
    right = torch.zeros(len(batch), words, members + words, dtype=torch.bool)
    for row, example in enumerate(batch):
        kinds[row, : len(example.kinds)] = torch.tensor(example.kinds)
        several[row, : len(example.kinds)] = torch.tensor(example.several).float()
        here = len(example.page.members)
        for i, columns in enumerate(example.antecedents):
            for column in columns:
                right[row, i, column if column < here else members + column - here] = True
    there = torch.zeros_like(right)
    for row, example in enumerate(batch):
        there[row, :, : len(example.page.members)] = True
    there[:, :, members:] = (kinds > 0).unsqueeze(1) & torch.ones(words, words, dtype=torch.bool).tril(-1)
    right &= there
    heads, scores = network(pages.to(device))
    kinds, several, right, there = (part.to(device) for part in (kinds, several, right, there))
    mention = kinds > 0
    count = max(1, int(mention.sum()))
    found = F.cross_entropy(
        heads[..., :-1].flatten(0, 1), kinds.flatten(), KIND_WEIGHTS.to(device), ignore_index=UNSURE
    )
    plural = F.binary_cross_entropy_with_logits(heads[..., -1][mention], several[mention])
    scores, right, there, many = scores[mention], right[mention], there[mention], several[mention] > 0
    each = F.binary_cross_entropy_with_logits(scores, right.float(), reduction="none") * there
    scores = F.pad(scores.masked_fill(~there, -1e9), (1, 0))
    chosen = torch.cat((~right.any(1, keepdim=True), right), 1)
    missed = scores.logsumexp(1) - scores.masked_fill(~chosen, -1e9).logsumexp(1)
    total: torch.Tensor = 4 * found + plural + (each[many].sum() + missed[~many].sum()) / count
    return total


@torch.inference_mode()
def check(network: Coreference, examples: Sequence[Example], device: str) -> dict[str, float]:
    """Return how many mentions are found, of those said to be one are, and of those have a right antecedent."""
    network.eval()
    right = said = there = linked = of = several = 0
    for example in examples:
        heads, pairs = (part[0].cpu() for part in network(batch_of([example.page]).to(device)))
        kinds, members = heads[:, : len(KINDS)].argmax(-1).tolist(), len(example.page.members)
        for i, kind in enumerate(example.kinds):
            if kind == UNSURE:
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


def train(
    stories: Sequence[Story],
    aside: Sequence[Story],
    out: Path,
    *,
    seconds: float,
    epochs: int,
    device: str,
    seed: int,
    rate: float,
    rank: int,
) -> None:
    """Train until the time is up or the epochs are over, and write the weights of the best epoch."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    encoder = SentenceEncoder(weights_folder())
    tokenizer = encoder.tokenizer
    tokenizer.no_truncation()
    network = Coreference(encoder, rank).to(device)
    own = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=rate, weight_decay=0.01)
    told = [member for story in stories for member in everyone(story)]
    tested = [example for story in aside for example in examples_of(tokenizer, story, [], random.Random(0))]
    began, best, step = time.monotonic(), -1.0, 0
    whole = epochs * (sum(len(story.told) for story in stories) // BATCH + 1)
    examples: list[Example] = []
    for epoch in range(epochs):
        if epoch % REPEATS == 0:  # with others among the cast
            examples = [example for story in stories for example in examples_of(tokenizer, story, told, chance)]
        chance.shuffle(examples)
        network.train()
        losses = list[torch.Tensor]()
        for start in track(range(0, len(examples), BATCH), f"epoch {epoch + 1}", transient=True):
            spent = max(step / whole, (time.monotonic() - began) / seconds)
            if spent >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / WARMING) * (1 - spent)
            loss = loss_of(network, examples[start : start + BATCH], device)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(own, 1.0)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
        found = check(network, tested, device)
        line = {"epoch": epoch + 1, "steps": step, "seconds": round(time.monotonic() - began), **found}
        print(json.dumps(line | {"loss": round(float(torch.stack(losses).mean()), 3) if losses else None}), flush=True)
        worth = found["links"] + 0.5 * (found["recall"] + found["precision"])
        if worth >= best:
            best = worth
            out.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: value.half().contiguous().cpu() for name, value in network.own().items()}, out)
        if len(losses) * BATCH < len(examples):
            break


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
    parser.add_argument("--stories", type=Path, nargs="+", default=OURS, help="files of stories, marked or labelled")
    parser.add_argument(
        "--aside", type=float, default=0.08, help="share of the marked stories to choose the weights by"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--rank", type=int, default=RANK, help="of the updates")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    stories, aside = list[Story](), list[Story]()
    for path in options.stories:
        first = yaml.safe_load(path.read_text("utf-8"))[0]
        read = marked(path) if "cast" in first else labelled(path)
        kept = round(len(read) * options.aside) if "cast" in first else 0
        stories += read[kept:]
        aside += read[:kept]
    print(f"{len(stories)} stories, {len(aside)} aside")
    train(
        stories,
        aside,
        options.out,
        seconds=options.seconds,
        epochs=options.epochs,
        device=options.device,
        seed=options.seed,
        rate=options.rate,
        rank=options.rank,
    )


if __name__ == "__main__":
    main()
