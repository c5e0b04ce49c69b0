"""Teaches a trained `sketch` new colour words: ``python -m memreel.training.words --weights DIR --seconds S``.

Only the text refiner learns, and only from texts: what it makes of a story told with other words for its colours shall
be what it made, before, of the same story in plain ones. Tokens of the two tellings are aligned; every token of another
word for a colour is held against the plain word. Takes minutes on a CPU, knows nothing of pictures, and replaces
``net-*`` in the folder.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch

from memreel.model.minilm import SentenceEncoder, sentence_encoder
from memreel.model.sketch.net import SketchNet
from memreel.model.sketch.text import MAX_TOKENS
from memreel.model.sketch.weights import load_net, save_shards
from memreel.training.flow import token_states
from memreel.world import palette
from memreel.world.sentences import tell
from memreel.world.stories import Being, make_story

RATE = 6e-4
EMPHASIS = 5.0
"""Weight of a token whose plain token is another one."""
UNCHANGED = 0.25
"""Share of texts in plain words: what they meant stays."""


def plain(being: Being) -> Being:
    """Return the being with every colour called by its plain name."""
    colours = {"hair": being.look.hair, "top": being.look.top, "hat": being.look.hat, "colour": being.look.colour}
    nouns = (*palette.HAIR_NOUNS, *palette.GARMENTS, *palette.HEADGEAR)
    words = {}
    for name, phrase in being.words.items():
        noun = max((n for n in nouns if phrase.endswith(" " + n)), key=len, default="")
        words[name] = f"{colours[name]} {noun}".strip()
    return replace(being, words=words)


def tellings(random: Random) -> Iterator[tuple[str, str]]:
    """Yield endless pairs of texts: one in other words, and the same in plain ones."""
    while True:
        story = make_story(random, scenes=3)
        again = copy.deepcopy(story)
        again.beings = {key: plain(being) for key, being in story.beings.items()}
        seed = random.random()
        tell(Random(seed), story)
        tell(Random(seed), again)
        for scene, same in zip(story.scenes, again.scenes, strict=True):
            yield (same.enriched if random.random() < UNCHANGED else scene.enriched), same.enriched


class Alignment(NamedTuple):
    """For each token of a telling: the plain token that it stands for, and its weight in the lesson."""

    standing: list[int]
    weights: list[float]


def align(ids: list[int], plain_ids: list[int]) -> Alignment | None:
    """Align two tellings by their token ids; None if they differ in more than colours."""
    out = Alignment([], [])
    for kind, a, b, c, d in SequenceMatcher(None, ids, plain_ids, autojunk=False).get_opcodes():
        if kind == "insert" or (kind == "replace" and (d - c > b - a or b - a > 8)):
            return None
        last = d - 1 if kind != "delete" else min(c, len(plain_ids) - 1)
        out.standing.extend(min(c + i, last) for i in range(b - a))
        out.weights.extend([1.0 if kind == "equal" else EMPHASIS] * (b - a))
    return out


def lesson(
    source: Iterator[tuple[str, str]], encoder: SentenceEncoder, size: int
) -> tuple[list[str], list[str], list[Alignment]]:
    """Return ``size`` pairs of texts that align, and their alignments."""
    told: list[str] = []
    meant: list[str] = []
    stands: list[Alignment] = []
    encoder.tokenizer.enable_truncation(MAX_TOKENS)
    while len(told) < size:
        one, other = next(source)
        found = align(encoder.tokenizer.encode(one).ids, encoder.tokenizer.encode(other).ids)
        if found is not None:
            told.append(one)
            meant.append(other)
            stands.append(found)
    return told, meant, stands


def refined(net: SketchNet, encoder: SentenceEncoder, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the refiner's states ``[texts, tokens, dim]`` and the mask."""
    ids, mask = encoder.tokenize(texts, MAX_TOKENS)
    states: torch.Tensor = net.refiner(token_states(encoder, ids, mask), mask)
    return states, mask


def teach(net: SketchNet, encoder: SentenceEncoder, seconds: float, batch: int, seed: int) -> list[float]:
    """Train the refiner in place; returns the mean squared error every fifty steps."""
    before = copy.deepcopy(net).eval()
    net.refiner.requires_grad_(True)
    optimizer = torch.optim.AdamW(net.refiner.parameters(), lr=RATE, weight_decay=0.0)
    source, started = tellings(Random(seed)), time.monotonic()
    log: list[float] = []
    running: list[float] = []
    while (done := (time.monotonic() - started) / seconds) < 1.0:
        told, meant, stands = lesson(source, encoder, batch)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 2.0 * (1.0 - done))
        with torch.no_grad():
            goal, _ = refined(before, encoder, meant)
        states, mask = refined(net, encoder, told)
        index = torch.zeros(mask.shape, dtype=torch.long)
        weight = torch.zeros(mask.shape)
        for row, found in enumerate(stands):
            index[row, : len(found.standing)] = torch.tensor(found.standing)
            weight[row, : len(found.standing)] = torch.tensor(found.weights)
        away = (states - goal.gather(1, index.unsqueeze(-1).expand(-1, -1, goal.shape[-1]))).square().mean(-1)
        error = (away * weight).sum() / weight.sum()
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call, unused-ignore]
        optimizer.step()
        running.append(float(error.detach()))
        if len(running) == 50:
            log.append(sum(running) / 50)
            running.clear()
            print(f"{done:.0%} error {log[-1]:.4f}", flush=True)
    net.refiner.requires_grad_(False)
    return log


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of net-*.safetensors, which are replaced")
    parser.add_argument("--seconds", type=float, default=600, help="wall-clock budget")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    net = load_net(args.weights)
    teach(net, sentence_encoder("cpu"), args.seconds, args.batch, args.seed)
    save_shards(net.state_dict(), args.weights)


if __name__ == "__main__":
    main()
