"""Trains `sketch` on the drawn world: ``torchrun --nproc-per-node N -m memreel.training.sketch --out DIR --seconds S``.

Flow matching on latents of painted samples, with more weight on figures. A context is encoded once and shared by
several noise draws of its chunk. Stops at a wall-clock budget, returns averaged weights in shards, and starts again
from them (``--resume``, with the optimisers' state where it is still there). Matrices of the blocks are updated by Muon
(Jordan et al., 2024), everything else by AdamW.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.model.sampler import mix, shifted
from memreel.model.sketch.net import LAYOUT, SHIFT, SketchNet
from memreel.model.sketch.weights import load_codec, load_net, save_shards
from memreel.model.transformer import Block
from memreel.training.device import Easel, Place, agree, average, join
from memreel.training.evaluate import Evaluator
from memreel.training.flow import layout_times, pick, read_texts, repeated, turn, write_context
from memreel.training.samples import LAYOUTS, Batches, Layouts

DRAWS = 4
FIGURE_WEIGHT = 6.0
MATRIX_RATE, REST_RATE = 1.5e-3, 1e-3
OPENING: Layouts = (((0, 0, 0), 0.8), ((3, 3, 6), 0.2))


def figure_weight(masks: torch.Tensor) -> torch.Tensor:
    """Return the loss weight of latent cells ``[batch, 3, 1, h, w]`` from masks ``[batch, 12, height, width]``; mean 1."""
    cells = torch.nn.functional.avg_pool2d(masks.unflatten(1, (3, 4)).amax(2), 8)
    weight = 1.0 + (FIGURE_WEIGHT - 1.0) * cells
    return (weight / weight.mean(dim=(1, 2, 3), keepdim=True)).unsqueeze(2)


class Trainer:
    """One process's share of the training."""

    def __init__(self, here: Place, out: Path, encoder: SentenceEncoder, batch: int, workers: int, seed: int) -> None:
        self.here, self.out, self.encoder = here, out, encoder
        self.codec = load_codec(out).to(here.device, memory_format=torch.channels_last)
        self.net = SketchNet().to(here.device)
        self.ema = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.easel = Easel(here.device)
        self.batch, self.workers, self.seed = batch, workers, seed
        self.noise = torch.Generator(here.device).manual_seed(seed * 77 + here.rank)
        for parameter in self.net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        named = dict(self.net.named_parameters())
        inner = {n for n, p in named.items() if p.ndim == 2 and (".blocks." in n or ".layers." in n)}
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                [named[n] for n in sorted(inner)], lr=MATRIX_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(
                [p for n, p in named.items() if n not in inner], lr=REST_RATE, betas=(0.9, 0.95), weight_decay=0.0
            ),
        ]
        self.step = 0

    def resume(self, folder: Path) -> None:
        """Start from earlier weights; the optimiser's state is used where it lies beside them."""
        self.net.load_state_dict(load_net(folder).state_dict())
        self.net.requires_grad_(True).train()
        state = folder / "optimizer.pt"
        if state.exists():
            kept = torch.load(state, map_location=self.here.device, weights_only=True)
            self.net.load_state_dict(kept["net"])
            for optimizer, state_dict in zip(self.optimizers, kept["optimizers"], strict=True):
                optimizer.load_state_dict(state_dict)
            self.ema, self.step = kept["ema"], kept["step"]
        else:
            self.ema = {k: v.clone() for k, v in self.net.state_dict().items()}

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted velocity error of one batch."""
        device, cast = self.here.device, self.here.device.split(":")[0]
        pictures, masks = self.easel(batch)
        with torch.autocast(cast, torch.bfloat16):
            with torch.no_grad():
                latents = self.codec.encode(pictures).float()
            count, frames = latents.shape[0], latents.shape[1] - 3
            owner = batch["owner"].to(device)
            text = read_texts(self.net, self.encoder, batch, device)
            past = latents[:, :-3]
            worn = 0.15 * torch.rand(count, 1, 1, 1, 1, device=device, generator=self.noise)
            past = past + worn * torch.randn(past.shape, device=device, generator=self.noise)
            context = repeated(write_context(self.net, past, text, owner[:, :-3], layout_times(frames)), DRAWS)
            target = latents[:, -3:].repeat_interleave(DRAWS, 0)
            grid = torch.arange(DRAWS, device=device).repeat(count)
            u = (grid + torch.rand(count * DRAWS, device=device, generator=self.noise)) / DRAWS
            sigma = shifted(u, SHIFT).view(-1, 1, 1, 1, 1)
            noise = torch.randn(target.shape, device=device, generator=self.noise)
            timesteps = (sigma * 1000.0).view(-1, 1).expand(-1, 3)
            governing = pick(text, owner[:, -1].repeat_interleave(DRAWS))
            velocity = self.net.transformer(
                mix(target, noise, sigma), timesteps, governing, turn(LAYOUT.current(), device), context
            )
        weight = figure_weight(masks[:, -12:]).repeat_interleave(DRAWS, 0)
        return ((velocity - (noise - target)).square() * weight).mean()

    def _batches(self, layouts: Layouts) -> Iterator[dict[str, torch.Tensor]]:
        data = Batches(self.batch, self.seed * 1000 + self.step * 10 + self.here.rank, self.encoder.tokenizer, layouts)
        return iter(
            torch.utils.data.DataLoader(
                data,
                batch_size=None,
                num_workers=self.workers,
                prefetch_factor=3 if self.workers else None,
                pin_memory=self.here.device != "cpu",
            )
        )

    def train(self, seconds: float, opening: float, decay: float, pace: float = 1.0) -> list[tuple[int, float]]:
        """Train for ``seconds``; returns (step, loss) every hundred steps.

        Args:
            seconds: wall-clock budget.
            opening: share of the time spent on first chunks, which cost less: figures and words before memory.
            decay: share of the time, at the end, over which the rate falls to nothing.
            pace: factor on the learning rates, for small batches.
        """
        start, log = time.monotonic(), []
        parameters = list(self.net.parameters())
        grads = [p.grad for p in parameters if p.grad is not None]
        averaged, first, waited = list(self.ema.values()), self.step, 0.0
        running = torch.zeros((), device=self.here.device)
        early = opening > 0.0
        batches = self._batches(OPENING if early else LAYOUTS)
        while True:
            done = float(agree(torch.tensor((time.monotonic() - start) / seconds, device=self.here.device), self.here.world))
            if done >= 1.0:
                return log
            if early and done > opening:
                early = False
                batches = self._batches(LAYOUTS)
            warm = min(1.0, (self.step - first + 1) / 200)
            fall = pace * (min(1.0, max(0.02, (1.0 - done) / decay)) if decay else 1.0)
            for optimizer, rate in zip(self.optimizers, (MATRIX_RATE, REST_RATE), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * warm * fall
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            loss = self.loss(batch)
            torch._foreach_zero_(grads)
            loss.backward()
            average(parameters, self.here.world)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            with torch.no_grad():
                keep = min(0.999, (1 + self.step) / (10 + self.step))
                torch._foreach_lerp_(averaged, list(self.net.state_dict().values()), 1 - keep)
            running += loss.detach()
            if self.step % 100 == 0:
                mean = float(running) / 100
                running.zero_()
                log.append((self.step, mean))
                if self.here.first:
                    spent = time.monotonic() - start
                    print(f"step {self.step} {spent:.0f} s, waited {waited:.0f} s, loss {mean:.4f}", flush=True)

    def save(self, log: list[tuple[int, float]], optimizer: bool) -> None:
        """Write the averaged weights in shards, the log, and the optimiser's state for an immediate resume."""
        save_shards(self.ema, self.out)
        (self.out / "log.json").write_text(json.dumps(log))
        if optimizer:
            torch.save(
                {
                    "net": self.net.state_dict(),
                    "optimizers": [o.state_dict() for o in self.optimizers],
                    "ema": self.ema,
                    "step": self.step,
                },
                self.out / "optimizer.pt",
            )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that holds codec.safetensors; weights go there")
    parser.add_argument("--resume", type=Path, default=None, help="folder of net-*.safetensors to start from")
    parser.add_argument("--encoder", type=Path, default=None, help="folder of the sentence encoder, if not packaged")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--batch", type=int, default=128, help="samples a process and step")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--opening", type=float, default=0.0, help="share of the time on first chunks only")
    parser.add_argument("--decay", type=float, default=0.0, help="share of the time over which the rate falls, at the end")
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the learning rates, for small batches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=384, help="held-out samples a condition at the end; 0: none")
    args = parser.parse_args()
    here = join()
    torch.manual_seed(args.seed)
    if here.device != "cpu":
        for name in ("before", "between", "after"):
            setattr(Block, name, torch.compile(getattr(Block, name), dynamic=True))
    encoder = SentenceEncoder(args.encoder or weights_folder(), here.device)
    trainer = Trainer(here, args.out, encoder, args.batch, args.workers, args.seed)
    if args.resume is not None:
        trainer.resume(args.resume)
    log = trainer.train(args.seconds, args.opening, args.decay, args.pace)
    if here.first:
        trainer.save(log, optimizer=True)
        if args.samples:
            trainer.net.load_state_dict(trainer.ema)
            figures = Evaluator(trainer.codec, encoder, here.device, args.samples).score(trainer.net, args.out)
            (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
            for name, score in figures.items():
                print(name, score, flush=True)


if __name__ == "__main__":
    main()
