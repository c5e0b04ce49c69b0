"""Trains `sketch` on the drawn world: ``torchrun --nproc-per-node N -m memreel.training.sketch --out DIR --seconds S``.

Flow matching on latents of painted samples, with more weight on figures. A context is encoded once and shared by
several noise draws of its chunk. Stops at a wall-clock budget, returns averaged weights in shards, and starts again
from them (``--resume``, with the optimiser's state where it is still there); ``--decay`` ends with a falling rate.
"""

from __future__ import annotations

import argparse
import json
import time
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
from memreel.training.samples import Batches

DRAWS = 4
FIGURE_WEIGHT = 5.0


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
        data = Batches(batch, seed * 1000 + here.rank, encoder.tokenizer)
        self.loader = iter(
            torch.utils.data.DataLoader(
                data, batch_size=None, num_workers=workers, prefetch_factor=3 if workers else None, pin_memory=here.device != "cpu"
            )
        )
        self.noise = torch.Generator(here.device).manual_seed(seed * 77 + here.rank)
        matrices = [p for p in self.net.parameters() if p.ndim > 1]
        rest = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}],
            lr=1e-3, betas=(0.9, 0.95), fused=here.device != "cpu",
        )  # fmt: skip
        self.step = 0

    def resume(self, folder: Path) -> None:
        """Start from earlier weights; the optimiser's state is used where it lies beside them."""
        self.net.load_state_dict(load_net(folder).state_dict())
        self.net.requires_grad_(True).train()
        state = folder / "optimizer.pt"
        if state.exists():
            kept = torch.load(state, map_location=self.here.device, weights_only=True)
            self.net.load_state_dict(kept["net"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.ema, self.step = kept["ema"], kept["step"]
        else:
            self.ema = {k: v.clone() for k, v in self.net.state_dict().items()}

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted velocity error of one batch."""
        device, cast = self.here.device, self.here.device.split(":")[0]
        pictures, masks = self.easel(batch)
        with torch.autocast(cast, torch.bfloat16, enabled=cast == "cuda"):
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

    def train(self, seconds: float, rate: float, decay: bool) -> list[tuple[int, float]]:
        """Train for ``seconds``; returns (step, loss) every hundred steps."""
        start, log = time.monotonic(), []
        parameters = list(self.net.parameters())
        first = self.step
        running = torch.zeros((), device=self.here.device)
        while True:
            done = float(agree(torch.tensor((time.monotonic() - start) / seconds, device=self.here.device), self.here.world))
            if done >= 1.0:
                return log
            warm = min(1.0, (self.step - first + 1) / 200)
            fall = min(1.0, max(0.02, (1.0 - done) / 0.45)) if decay else 1.0
            for group in self.optimizer.param_groups:
                group["lr"] = rate * warm * fall
            loss = self.loss(next(self.loader))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            average(parameters, self.here.world)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            self.step += 1
            keep = min(0.999, 1 - 1 / (self.step + 1))
            with torch.no_grad():
                state = list(self.net.state_dict().values())
                torch._foreach_lerp_(list(self.ema.values()), state, 1 - keep)
            running += loss.detach()
            if self.step % 100 == 0:
                mean = float(running) / 100
                running.zero_()
                log.append((self.step, mean))
                if self.here.first:
                    rate_now = (self.step - first) / (time.monotonic() - start)
                    print(f"step {self.step} {time.monotonic() - start:.0f} s loss {mean:.4f} {rate_now:.2f} steps/s", flush=True)

    def save(self, log: list[tuple[int, float]], optimizer: bool) -> None:
        """Write the averaged weights in shards, the log, and the optimiser's state for an immediate resume."""
        save_shards(self.ema, self.out)
        (self.out / "log.json").write_text(json.dumps(log))
        if optimizer:
            torch.save(
                {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema, "step": self.step},
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
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", action="store_true", help="let the rate fall to zero over the last 45 %%")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=384, help="held-out samples a condition at the end; 0: none")
    args = parser.parse_args()
    here = join()
    torch.manual_seed(args.seed)
    if here.device != "cpu":
        for name in ("before", "between", "after"):
            setattr(Block, name, torch.compile(getattr(Block, name)))
    encoder = SentenceEncoder(args.encoder or weights_folder(), here.device)
    trainer = Trainer(here, args.out, encoder, args.batch, args.workers, args.seed)
    if args.resume is not None:
        trainer.resume(args.resume)
    log = trainer.train(args.seconds, args.rate, args.decay)
    if here.first:
        trainer.save(log, optimizer=here.device != "cpu")
        if args.samples:
            trainer.net.load_state_dict(trainer.ema)
            figures = Evaluator(trainer.codec, encoder, here.device, args.samples).score(trainer.net, args.out)
            (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
            for name, score in figures.items():
                print(name, score, flush=True)


if __name__ == "__main__":
    main()
