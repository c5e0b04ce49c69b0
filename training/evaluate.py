"""Measures a trained `sketch` on held-out stories: ``python -m memreel.training.evaluate [--samples 256]``.

Each figure is the share of entities whose attributes are all right in the last picture of a generated chunk, given the
true frames before it. `opening`: the first chunk of a video, from words alone; `described`: first mention in words, not
seen in any frame before; `memory`: named only, unseen in sink and local, with its memory frames; `none`: the same
without; `wrong`: with another story's frames; `enriched`: memory and words together; `reader`: the true picture instead
of the generated one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
import torch

from memreel.model.codec import VideoCodec
from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.model.sketch.net import LATENT, SketchNet
from memreel.training.device import Easel
from memreel.training.flow import generate, layout_times, pick, read_texts, write_context
from memreel.training.samples import Sample, collate, collate_texts, make_sample
from memreel.world import palette
from memreel.world.reader import find_faces, read_colour
from memreel.world.stories import pose_at

Score = dict[str, float]
CONDITIONS = ("opening", "described", "memory", "none", "wrong", "enriched", "reader")


def judge(picture: np.ndarray, sample: Sample, keys: set[int]) -> dict[int, bool]:
    """Say for each entity of ``keys`` whether all its attributes are right in a picture of the sample's last moment."""
    scene = sample.story.scenes[sample.target[0].scene]
    t = sample.target[2].times()[3]
    faces = find_faces(picture, scene.place)
    out: dict[int, bool] = {}
    for spot in scene.spots:
        pose = pose_at(spot.start, spot.x, spot.action, spot.phase, t)
        if not 18 <= pose.x <= 174:
            continue
        look = sample.story.beings[spot.key].look
        if spot.key in keys:
            if look.kind in palette.PEOPLE:
                near = min(faces, key=lambda f: abs(f.x - pose.x), default=None)
                right = near is not None and abs(near.x - pose.x) < 16
                out[spot.key] = (
                    right and near is not None and (near.hair, near.top, near.hat) == (look.hair, look.top, look.hat)
                )
            else:
                out[spot.key] = read_colour(picture, look.kind, pose.x, pose.lift) == look.colour
        if spot.holds in keys and spot.holds is not None:
            thing = sample.story.beings[spot.holds].look
            out[spot.holds] = read_colour(picture, thing.kind, pose.x, pose.lift, True) == thing.colour
    return out


def rates(judged: list[tuple[Sample, dict[int, bool]]]) -> Score:
    """Return the share right over people, over all else, and by one or several figures in the scene."""
    groups: dict[str, list[bool]] = {"people": [], "others": [], "alone": [], "accompanied": []}
    for sample, found in judged:
        spots = sample.story.scenes[sample.target[0].scene].spots
        figures = sum(not sample.story.beings[s.key].is_object for s in spots)
        for key, right in found.items():
            person = sample.story.beings[key].look.kind in palette.PEOPLE
            groups["people" if person else "others"].append(right)
            if person:
                groups["alone" if figures == 1 else "accompanied"].append(right)
    return {name: round(float(np.mean(v)), 3) if v else float("nan") for name, v in groups.items()} | {
        "n": float(len(groups["people"]))
    }


@dataclass
class Shown:
    """A batch of samples as the network meets it: latents of context and target, and the last true picture of each."""

    samples: list[Sample]
    latents: torch.Tensor
    truth: torch.Tensor


class Evaluator:
    """Draws held-out samples once and scores a network on them under several conditions."""

    def __init__(
        self,
        codec: VideoCodec,
        encoder: SentenceEncoder,
        device: str,
        samples: int,
        seed: int = 7,
        held_out: palette.HeldOut = "both",
    ) -> None:
        """Draw ``samples`` openings, as many samples with a later first description and as many with a return."""
        self.codec, self.encoder, self.device, self.count = codec, encoder, device, samples
        self.easel = Easel(device)
        random = Random(seed)
        self.opening = [make_sample(random, (0, 0, 0), held_out, False) for _ in range(samples)]
        self.described: list[Sample] = []
        self.back: list[Sample] = []
        while len(self.described) < samples or len(self.back) < samples:
            sample = make_sample(random, (3, 3, 6), held_out=held_out, enriched=False)
            if sample.reentry and len(self.back) < samples:
                self.back.append(sample)
            elif sample.described and len(self.described) < samples:
                self.described.append(sample)

    def _show(self, samples: list[Sample]) -> Shown:
        pictures, _ = self.easel(collate(samples, self.encoder))
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu"):
            latents = self.codec.encode(pictures).float()
        return Shown(samples, latents, pictures[:, -1].cpu())

    def _go_on(self, net: SketchNet, shown: Shown, condition: str, seed: int) -> torch.Tensor:
        samples = [replace(s, enriched=condition == "enriched") for s in shown.samples]
        texts = {k: v.to(self.device) for k, v in collate_texts(samples, self.encoder).items()}
        context, owner = shown.latents[:, :-3], texts["owner"]
        owners = owner[:, :-3]
        if condition == "none":
            kept = torch.tensor([0, 1, 2, 6, 7, 8, 9, 10, 11], device=self.device)
            context, owners = context[:, kept], owners[:, kept]
        if condition == "wrong":
            context = torch.cat((context[:, :3], context.roll(1, 0)[:, 3:6], context[:, 6:]), 1)
            owners = torch.cat((owners[:, :3], owners.roll(1, 0)[:, 3:6], owners[:, 6:]), 1)
        noise = torch.randn(len(samples), 3, *LATENT, generator=torch.Generator().manual_seed(seed)).to(self.device)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu"):
            text = read_texts(net, self.encoder, texts["ids"], texts["mask"])
            frames = write_context(net, context, text, owners, layout_times(context.shape[1]))
            out = generate(net, frames, pick(text, owner[:, -1]), noise)
            decoded = self.codec.decode(out, shown.latents[:, -4] if shown.latents.shape[1] > 3 else None)
        return decoded[:, -1].float().clamp(0, 1).cpu()

    @torch.no_grad()
    def score(
        self, net: SketchNet, pictures: Path | None = None, seconds: float = math.inf, size: int = 32
    ) -> dict[str, Score]:
        """Return the rates of every condition.

        Args:
            net: what is scored.
            pictures: folder for three picture grids (truth above, generated below), or None.
            seconds: time limit, looked at after every ``size`` samples; all conditions then have as many.
            size: samples of a batch.
        """
        net.eval()
        deadline = time.monotonic() + seconds
        judged: dict[str, list[tuple[Sample, dict[int, bool]]]] = {name: [] for name in CONDITIONS}
        grids: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"opening": [], "described": [], "memory": []}
        # Compiled pieces would be compiled anew for evaluation, which takes longer than the scores do.
        with torch.compiler.set_stance("force_eager"):
            for start in range(0, self.count, size):
                if start and time.monotonic() > deadline:
                    break
                drawn = (self.opening, self.described, self.back)
                opening, first, back = (self._show(s[start : start + size]) for s in drawn)
                for name, found in judged.items():
                    shown = {"opening": opening, "described": first}.get(name, back)
                    made = shown.truth if name == "reader" else self._go_on(net, shown, name, start)
                    for picture, sample in zip(made, shown.samples, strict=True):
                        keys = sample.described if name in ("opening", "described") else sample.reentry
                        found.append((sample, judge(picture.permute(1, 2, 0).numpy(), sample, keys)))
                    if name in grids:
                        grids[name].append((shown.truth, made))
        if pictures is not None:
            for name, pairs in grids.items():
                truth, made = (torch.cat(side) for side in zip(*pairs, strict=True))
                save_grid(truth, made, pictures / f"{name}.png")
        return {name: rates(found) for name, found in judged.items()}


def save_grid(truth: torch.Tensor, made: torch.Tensor, path: Path, columns: int = 6, rows: int = 6) -> None:
    """Write pairs of pictures, truth above what was generated."""
    from PIL import Image

    columns = min(columns, len(made))
    count = min(len(made), columns * rows) // columns * columns
    lines = []
    for i in range(0, count, columns):
        lines += [torch.cat(list(truth[i : i + columns]), 2), torch.cat(list(made[i : i + columns]), 2)]
    grid = torch.cat(lines, 1).permute(1, 2, 0).numpy()
    Image.fromarray((grid * 255).clip(0, 255).astype(np.uint8)).save(path)


def main() -> None:
    """Run the command line."""
    from memreel.model.sketch.weights import load_codec, load_net

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--encoder", type=Path, default=None, help="folder of the sentence encoder, if not packaged")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for grids of pictures and figures.json")
    parser.add_argument("--seconds", type=float, default=math.inf, help="time limit on the scores")
    parser.add_argument(
        "--held-out", choices=get_args(palette.HeldOut), default="both", help="words that training never saw"
    )
    args = parser.parse_args()
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    codec, net = load_codec(args.weights).to(device), load_net(args.weights).to(device)
    encoder = SentenceEncoder(args.encoder or weights_folder(), device)
    evaluator = Evaluator(codec, encoder, device, args.samples, held_out=args.held_out)
    figures = evaluator.score(net, args.pictures, args.seconds)
    if args.pictures is not None:
        (args.pictures / "figures.json").write_text(json.dumps(figures, indent=1))
    for name, score in figures.items():
        print(name, score, flush=True)


if __name__ == "__main__":
    main()
