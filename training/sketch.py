"""Trains `sketch` on the drawn world: ``torchrun --nproc-per-node N -m memreel.training.sketch --out DIR --seconds S``.

Flow matching on latents of painted samples, with more weight on figures. A context is encoded once and shared by
several noise draws of its chunk. Matrices of the blocks are updated by Muon, everything else by AdamW. Stops when the
process is as old as its budget. Leaves averaged weights (``net-*``), the last ones themselves (``last-*``) and, for an
immediate ``--resume``, the whole state (``optimizer.pt``); resuming takes the best of these that it finds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.model.replay import Replayed, Tensors
from memreel.model.sampler import mix, shifted
from memreel.model.sketch.net import LAYOUT, SHIFT, SketchNet
from memreel.model.sketch.weights import load_codec, load_net, save_shards
from memreel.training.device import Easel, Gradients, Place, agree, compile_pieces, join, started_ago
from memreel.training.evaluate import Evaluator
from memreel.training.flow import layout_times, pick, token_states, turn, write_context
from memreel.training.muon import StackedMuon
from memreel.training.samples import EMPHASES, LAYOUTS, Batches, Emphasis, Layouts

DRAWS = 4
FIGURE_WEIGHT = 6.0
MATRIX_RATE, REST_RATE = 1.5e-3, 1e-3
CLOCK = 10
"""Steps between two looks at the clock, each of which waits for the device and for the other processes."""
OPENING: Layouts = (((0, 0, 0), 0.8), ((3, 3, 6), 0.2))


def figure_weight(masks: torch.Tensor) -> torch.Tensor:
    """Return the weight of latent cells ``[batch, 3, 1, h, w]``, mean 1, from masks ``[batch, 12, height, width]``."""
    cells = torch.nn.functional.avg_pool2d(masks.unflatten(1, (3, 4)).amax(2), 8)
    weight = 1.0 + (FIGURE_WEIGHT - 1.0) * cells
    return (weight / weight.mean(dim=(1, 2, 3), keepdim=True)).unsqueeze(2)


class Trainer:
    """One process's share of the training."""

    def __init__(
        self,
        here: Place,
        out: Path,
        encoder: SentenceEncoder,
        batch: int,
        workers: int,
        seed: int,
        emphasis: Emphasis = EMPHASES["everything"],
    ) -> None:
        """Build with random weights; ``out`` holds the codec."""
        self.here, self.out, self.encoder = here, out, encoder
        self.codec = load_codec(out).to(here.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = SketchNet().to(here.device)
        self.ema = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.easel = Easel(here.device, torch.bfloat16 if here.device != "cpu" else torch.float32)
        self.batch, self.workers, self.seed, self.emphasis = batch, workers, seed, emphasis
        self.noise = torch.Generator(here.device).manual_seed(seed * 77 + here.rank)
        self.mark: Callable[[str], object] = str
        """Called with the name of each part of a step once it has been issued; does nothing here."""
        self.gradients = Gradients(self.net.parameters())
        self.mixed = partial(torch.autocast, here.device.split(":")[0], torch.bfloat16)
        self.replayed = Replayed(here.device)
        named = dict(self.net.named_parameters())
        inner = {n for n, p in named.items() if p.ndim == 2 and (".blocks." in n or ".layers." in n)}
        self.optimizers: list[torch.optim.Optimizer] = [
            StackedMuon(
                [named[n] for n in sorted(inner)], lr=MATRIX_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(
                [p for n, p in named.items() if n not in inner], lr=REST_RATE, betas=(0.9, 0.95), weight_decay=0.0
            ),
        ]
        self.step = 0

    def resume(self, folder: Path) -> None:
        """Go on from ``optimizer.pt``, else from the last and the averaged weights, else from the averaged ones."""
        state = folder / "optimizer.pt"
        if state.exists():
            kept = torch.load(state, map_location=self.here.device, weights_only=True)
            self.net.load_state_dict(kept["net"])
            for optimizer, state_dict in zip(self.optimizers, kept["optimizers"], strict=True):
                optimizer.load_state_dict(state_dict)
            self.ema, self.step = kept["ema"], kept["step"]
            return
        averaged = load_net(folder).state_dict()
        raw = load_net(folder, "last").state_dict() if any(folder.glob("last-*.safetensors")) else averaged
        self.net.load_state_dict(raw)
        self.ema = {k: v.to(self.here.device, copy=True) for k, v in averaged.items()}

    @torch.no_grad()
    def prepare(self, batch: Tensors) -> Tensors:
        """Paint and encode a batch of `samples.collate`, read its texts and draw its noise: what `learn` needs."""
        device, dice = self.here.device, self.noise
        batch = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
        pictures, masks = self.easel(batch)
        self.mark("paint")
        with self.mixed():
            latents = self.codec.encode(pictures).float()
            self.mark("encode")
            states = token_states(self.encoder, batch["ids"], batch["mask"])
            self.mark("text")
        past, target = latents[:, :-3], latents[:, -3:].repeat_interleave(DRAWS, 0)
        worn = 0.15 * torch.rand(len(past), 1, 1, 1, 1, device=device, generator=dice)
        grid = torch.arange(DRAWS, device=device).repeat(len(past))
        return {
            "past": past + worn * torch.randn(past.shape, device=device, generator=dice),
            "target": target,
            "noise": torch.randn(target.shape, device=device, generator=dice),
            "sigma": shifted((grid + torch.rand(len(target), device=device, generator=dice)) / DRAWS, SHIFT),
            "weight": figure_weight(masks[:, -12:].float()).repeat_interleave(DRAWS, 0),
            "states": states,
            "mask": batch["mask"],
            "owner": batch["owner"],
        }

    def learn(self, given: Tensors) -> torch.Tensor:
        """Write the gradients of the weighted velocity error of a prepared batch; returns the error."""
        past, target, owner = given["past"], given["target"], given["owner"]
        sigma = given["sigma"].view(-1, 1, 1, 1, 1)
        self.gradients.clear()
        with self.mixed():
            text = self.net.read(given["states"], given["mask"])
            context = write_context(self.net, past, text, owner[:, :-3], layout_times(past.shape[1]))
            velocity = self.net.transformer(
                mix(target, given["noise"], sigma),
                (given["sigma"] * 1000.0).view(-1, 1).expand(-1, 3),
                pick(text, owner[:, -1]),
                turn(LAYOUT.current(), self.here.device),
                context,
            )
        loss: torch.Tensor = ((velocity - (given["noise"] - target)).square() * given["weight"]).mean()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        return loss.detach()

    def update(self, batch: Tensors) -> torch.Tensor:
        """Take one step; returns the loss."""
        given = self.prepare(batch)
        self.mark("noise")
        loss = self.replayed(self.learn, given).clone()
        self.mark("learn")
        self.gradients.average(self.here.world)
        self.gradients.clip(1.0)
        self.mark("average")
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.values()), list(self.net.state_dict().values()), 1 - keep)
        self.mark("optimiser")
        return loss

    def batches(self, layouts: Layouts) -> Iterator[Tensors]:
        """Start the workers and return their endless batches."""
        seed = self.seed * 1000 + self.step * 10 + self.here.rank
        data = Batches(self.batch, seed, self.encoder.tokenizer, layouts, self.emphasis)
        return iter(
            torch.utils.data.DataLoader(
                data,
                batch_size=None,
                num_workers=self.workers,
                prefetch_factor=3 if self.workers else None,
                pin_memory=self.here.device != "cpu",
            )
        )

    def train(
        self,
        seconds: float,
        opening: float,
        decay: float,
        pace: float = 1.0,
        spent: float = 0.0,
        save_every: float = math.inf,
    ) -> list[tuple[int, float]]:
        """Train for ``seconds``; returns (step, loss) every hundred steps.

        Args:
            seconds: wall-clock budget.
            opening: share of the time spent on first chunks, which cost less: figures and words before memory.
            decay: share of the time, at the end, over which the rate falls to nothing.
            pace: factor on the learning rates, for small batches.
            spent: seconds of the budget that are gone already.
            save_every: seconds between two saves on the way.
        """
        start = time.monotonic() - spent
        log: list[tuple[int, float]] = []
        first, waited, done = self.step, 0.0, 0.0
        running = torch.zeros((), device=self.here.device)
        early, saved = opening > 0.0, start
        batches = self.batches(OPENING if early else LAYOUTS)
        while True:
            if (self.step - first) % CLOCK == 0:
                share = torch.tensor((time.monotonic() - start) / seconds, device=self.here.device)
                done = float(agree(share, self.here.world))
            if done >= 1.0:
                return log
            if early and done > opening:
                early = False
                batches = self.batches(LAYOUTS)
            warm = min(1.0, (self.step - first + 1) / 200)
            fall = pace * (min(1.0, max(0.02, (1.0 - done) / decay)) if decay else 1.0)
            for optimizer, rate in zip(self.optimizers, (MATRIX_RATE, REST_RATE), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * warm * fall
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            running += self.update(batch)
            if self.step % 100 == 0:
                mean = float(running) / 100
                running.zero_()
                log.append((self.step, mean))
                if self.here.first:
                    now = time.monotonic() - start
                    print(f"step {self.step} {now:.0f} s, waited {waited:.0f} s, loss {mean:.4f}", flush=True)
                    if now + start - saved > save_every:
                        self.save(log)
                        saved = time.monotonic()

    def save(self, log: list[tuple[int, float]]) -> None:
        """Write averaged and last weights in shards, the log, and the whole state for an immediate resume."""
        save_shards(self.ema, self.out)
        save_shards(self.net.state_dict(), self.out, "last")
        (self.out / "log.json").write_text(json.dumps(log))
        state = {
            "net": self.net.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "ema": self.ema,
            "step": self.step,
        }
        torch.save(state, self.out / "optimizer.pt")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that holds codec.safetensors; weights go there")
    parser.add_argument("--resume", type=Path, default=None, help="folder of net-*.safetensors to start from")
    parser.add_argument("--encoder", type=Path, default=None, help="folder of the sentence encoder, if not packaged")
    parser.add_argument("--seconds", type=float, default=600, help="wall-clock budget, from the process's start")
    parser.add_argument("--batch", type=int, default=128, help="samples a process and step")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--opening", type=float, default=0.0, help="share of the time on first chunks only")
    parser.add_argument(
        "--decay", type=float, default=0.0, help="share of the time over which the rate falls, at the end"
    )
    parser.add_argument("--emphasis", choices=list(EMPHASES), default="everything", help="what samples are about")
    parser.add_argument("--pace", type=float, default=1.0, help="factor on the learning rates, for small batches")
    parser.add_argument("--save-every", type=float, default=180, help="seconds between two saves on the way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=384, help="held-out samples a condition at the end; 0: none")
    parser.add_argument("--score-seconds", type=float, default=60, help="time limit on the scores at the end")
    args = parser.parse_args()
    here = join()
    torch.manual_seed(args.seed)
    if here.device != "cpu":
        compile_pieces()
    encoder = SentenceEncoder(args.encoder or weights_folder(), here.device)
    trainer = Trainer(here, args.out, encoder, args.batch, args.workers, args.seed, EMPHASES[args.emphasis])
    if args.resume is not None:
        trainer.resume(args.resume)
    log = trainer.train(args.seconds, args.opening, args.decay, args.pace, started_ago(), args.save_every)
    if here.first:
        trainer.save(log)
        if args.samples:
            trainer.net.load_state_dict(trainer.ema)
            evaluator = Evaluator(trainer.codec, encoder, here.device, args.samples)
            figures = evaluator.score(trainer.net, args.out, args.score_seconds)
            (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
            for name, score in figures.items():
                print(name, score, flush=True)


if __name__ == "__main__":
    main()
