"""Measures a trained `sketch` on held-out stories: ``python -m memreel.training.evaluate [--samples 256]``.

Each figure is the share of entities whose attributes are all right in the last picture of a generated chunk, given the
true frames before it. `described`: first mention in words. `memory`: named only, unseen in sink and local, with its
memory frames; `none`: the same without; `wrong`: with another story's frames; `enriched`: memory and words together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch

from memreel.model.codec import VideoCodec
from memreel.model.minilm import SentenceEncoder, sentence_encoder
from memreel.model.sketch.net import LATENT, SketchNet
from memreel.training.device import Easel
from memreel.training.flow import generate, layout_times, pick, read_texts, write_context
from memreel.training.samples import Sample, collate, make_sample
from memreel.world import palette
from memreel.world.reader import find_faces, read_colour
from memreel.world.stories import pose_at

Score = dict[str, float]


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
                out[spot.key] = right and near is not None and (near.hair, near.top, near.hat) == (look.hair, look.top, look.hat)
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


class Evaluator:
    """Draws held-out samples once and scores a network on them under several conditions."""

    def __init__(
        self, codec: VideoCodec, encoder: SentenceEncoder, device: str, samples: int, seed: int = 7, held_out: bool = True
    ) -> None:
        self.codec, self.encoder, self.device = codec, encoder, device
        self.easel = Easel(device)
        random = Random(seed)
        self.described: list[Sample] = []
        self.back: list[Sample] = []
        while len(self.described) < samples or len(self.back) < samples:
            sample = make_sample(random, (3, 3, 6), held_out=held_out, enriched=False)
            if sample.reentry and len(self.back) < samples:
                self.back.append(sample)
            elif sample.described and len(self.described) < samples:
                self.described.append(sample)

    @torch.no_grad()
    def _run(
        self, net: SketchNet, samples: list[Sample], change: Callable[[torch.Tensor], torch.Tensor] | None, size: int = 32
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made, truth = [], []
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            batch = collate(part, self.encoder)
            pictures, _ = self.easel(batch)
            with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu"):
                latents = self.codec.encode(pictures).float()
                context, owner = latents[:, :-3], batch["owner"].to(self.device)
                keep = torch.arange(12, device=self.device)
                if change is not None:
                    keep = change(keep)
                text = read_texts(net, self.encoder, batch, self.device)
                owners = owner[:, :-3][:, keep]
                shown = context[:, keep]
                if len(keep) == 12 and change is not None:
                    shown = shown.clone()
                    shown[:, 3:6] = context.roll(1, 0)[:, 3:6]
                    owners = owners.clone()
                    owners[:, 3:6] = owner.roll(1, 0)[:, 3:6]
                frames = write_context(net, shown, text, owners, layout_times(len(keep)))
                noise = torch.randn(len(part), 3, *LATENT, generator=torch.Generator().manual_seed(start)).to(self.device)
                out = generate(net, frames, pick(text, owner[:, -1]), noise)
                decoded = self.codec.decode(out, context[:, -1])
            made.append(decoded[:, -1].float().clamp(0, 1).cpu())
            truth.append(pictures[:, -1].cpu())
        return torch.cat(made), torch.cat(truth)

    def score(self, net: SketchNet, pictures: Path | None = None) -> dict[str, Score]:
        """Return the rates of every condition; write a picture grid (truth above, generated below) where asked."""
        net.eval()
        out: dict[str, Score] = {}
        without = [s for i in (range(3), range(6, 12)) for s in i]
        conditions: dict[str, tuple[list[Sample], Callable[[torch.Tensor], torch.Tensor] | None]] = {
            "described": (self.described, None),
            "memory": (self.back, None),
            "none": (self.back, lambda keep: keep[without]),
            "wrong": (self.back, lambda keep: keep),
            "enriched": ([_enriched(s) for s in self.back], None),
        }
        for name, (samples, change) in conditions.items():
            made, truth = self._run(net, samples, change)
            keys = [s.described if name == "described" else s.reentry for s in samples]
            found = [judge(p.permute(1, 2, 0).numpy(), s, k) for p, s, k in zip(made, samples, keys, strict=True)]
            out[name] = rates(list(zip(samples, found, strict=True)))
            if name == "memory":
                real = [judge(p.permute(1, 2, 0).numpy(), s, k) for p, s, k in zip(truth, samples, keys, strict=True)]
                out["reader"] = rates(list(zip(samples, real, strict=True)))
            if pictures is not None and name in ("described", "memory"):
                save_grid(truth, made, pictures / f"{name}.png")
        return out


def _enriched(sample: Sample) -> Sample:
    return Sample(sample.story, sample.context, sample.target, True, sample.described, sample.reentry)


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
    parser.add_argument("--pictures", type=Path, default=None)
    parser.add_argument("--trained-words", action="store_true", help="names and colour words from training, not held out")
    args = parser.parse_args()
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    codec, net = load_codec(args.weights).to(device), load_net(args.weights).to(device)
    encoder = sentence_encoder(device)
    evaluator = Evaluator(codec, encoder, device, args.samples, held_out=not args.trained_words)
    for name, score in evaluator.score(net, args.pictures).items():
        print(name, score)


if __name__ == "__main__":
    main()
