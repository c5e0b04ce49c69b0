"""Trains the video codec on painted pictures: ``python -m memreel.training.codec --out DIR --seconds 150``.

Loss: L1 and squared error, weighted towards figures, and L1 on picture gradients for crisp edges. Noise is added to the
latents before decoding, so that a small error of the diffusion model stays a small error in the picture.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from memreel.model.codec import VideoCodec
from memreel.model.minilm import SentenceEncoder, weights_folder
from memreel.model.sketch.weights import load_codec
from memreel.training.device import Easel, Gradients, agree, join, started_ago
from memreel.training.samples import Batches

LATENT_NOISE = 0.12


def picture_loss(out: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the weighted loss of pictures ``[batch, n, 3, h, w]``; ``mask`` ``[batch, n, h, w]`` marks figures."""
    weight = 1.0 + 3.0 * mask.unsqueeze(2)
    difference = out - target
    loss = (difference.abs() * weight).mean() + 2.0 * (difference.square() * weight).mean()
    across = (out.diff(dim=-1) - target.diff(dim=-1)).abs().mean() + (
        out.diff(dim=-2) - target.diff(dim=-2)
    ).abs().mean()
    return loss + 0.5 * across


def train(
    out: Path,
    seconds: float,
    batch: int,
    workers: int,
    encoder: Path,
    resume: bool,
    rate: float = 1.5e-3,
    seed: int = 1,
) -> float:
    """Train until the process is ``seconds`` old and write ``codec.safetensors``; returns the last PSNR in dB."""
    here = join()
    torch.manual_seed(seed)
    codec = load_codec(out).requires_grad_(True).train() if resume else VideoCodec()
    codec = codec.to(here.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    easel = Easel(here.device)
    gradients = Gradients(codec.parameters())
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    data = Batches(batch, seed * 100 + here.rank, SentenceEncoder(encoder).tokenizer, ((((3, 0, 6)), 1.0),))
    loader = iter(
        torch.utils.data.DataLoader(data, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
    )
    start, step, psnr, done = time.monotonic() - started_ago(), 0, 0.0, 0.0
    while True:
        if step % 10 == 0:
            done = float(agree(torch.tensor((time.monotonic() - start) / seconds, device=here.device), here.world))
        if done >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * max(0.02, 1.0 - done) ** 0.7
        pictures, masks = easel(next(loader))
        pictures, masks = pictures[:, -36:], masks[:, -36:]
        with torch.autocast(here.device.split(":")[0], torch.bfloat16, enabled=here.device != "cpu"):
            latents = codec.encode(pictures)
            noisy = latents + LATENT_NOISE * torch.rand(latents.shape[:2], device=here.device)[
                ..., None, None, None
            ] * torch.randn_like(latents)
            decoded = codec.decode(noisy)
        loss = picture_loss(decoded.float(), pictures, masks)
        gradients.clear()
        loss.backward()
        gradients.average(here.world)
        gradients.clip(1.0)
        optimizer.step()
        if step % 100 == 0:
            psnr = -10 * float(torch.log10((decoded.detach().float() - pictures).square().mean()))
            if here.first:
                print(
                    f"codec step {step} {time.monotonic() - start:.0f} s loss {float(loss):.4f} psnr {psnr:.2f} dB",
                    flush=True,
                )
        step += 1
    for buffer in (codec.norm.running_mean, codec.norm.running_var):
        if buffer is not None:
            agree(buffer, here.world)
    if here.first:
        out.mkdir(parents=True, exist_ok=True)
        weights = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in codec.state_dict().items()}
        save_file(weights, out / "codec.safetensors")
        print(f"codec done: {step} steps, psnr {psnr:.2f} dB", flush=True)
    return psnr


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--encoder", type=Path, default=None, help="folder of the sentence encoder, if not packaged")
    parser.add_argument("--resume", action="store_true", help="start from the weights that lie in --out")
    args = parser.parse_args()
    train(args.out, args.seconds, args.batch, args.workers, args.encoder or weights_folder(), args.resume)


if __name__ == "__main__":
    main()
