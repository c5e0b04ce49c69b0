"""Linear layers in 8 bits: weights in e4m3 with a scale an output row, activations with a scale a token.

On a GPU that has them (Hopper, Ada and later) the tensor cores multiply e4m3 directly; elsewhere the same rounded
numbers are multiplied in float32, slowly, which is what tests compare with. Scales are the largest value of a row over
448, e4m3's largest number.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from memreel.model.attention8 import E4M3, LARGEST
from memreel.model.transformer import VideoTransformer

TEXT_SIDE = ("cross_attn.k", "cross_attn.v")
"""Layers that run once a prompt, on the text: they stay as they are."""


def rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``[rows, columns]`` in e4m3, and each row's scale ``[rows, 1]`` in float32."""
    scale = rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (rows.float() / scale).clamp(-LARGEST, LARGEST).to(E4M3), scale


class Fp8Linear(nn.Module):
    """A linear layer whose weight and input are rounded to e4m3, row by row."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear, *, after_gelu: bool = False) -> None:
        """Round a layer's weight; its bias stays.

        Args:
            linear: the layer.
            after_gelu: apply the GELU to the input first, on the way to e4m3.
        """
        super().__init__()
        self.after_gelu = after_gelu
        weight, scale = rounded(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project ``[..., in]`` to ``[..., out]``."""
        rows, scale = self._input(x.flatten(0, -2))
        if x.is_cuda:
            out: torch.Tensor = torch._scaled_mm(
                rows, self.weight.t(), scale, self.scale, bias=self.bias, out_dtype=x.dtype, use_fast_accum=True
            )
        else:
            product = rows.float() @ self.weight.float().t() * scale * self.scale
            out = (product + self.bias.float()).to(x.dtype)
        return torch.unflatten(out, 0, x.shape[:-1])

    def _input(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if rows.is_cuda:
            from memreel.model.rows_gpu import round_rows

            rounded_rows, scale = round_rows(rows, self.after_gelu)
            return rounded_rows, scale
        return rounded(F.gelu(rows, approximate="tanh") if self.after_gelu else rows)


def quantise(net: VideoTransformer) -> int:
    """Turn the linear layers of a transformer's blocks into `Fp8Linear`, and return how many there were."""
    found = 0
    for block in net.each_block():
        for name, module in list(block.named_modules()):
            if isinstance(module, nn.Linear) and name not in TEXT_SIDE:
                parent, _, last = name.rpartition(".")
                setattr(block.get_submodule(parent), last, Fp8Linear(module, after_gelu=name == "ffn.2"))
                found += 1
        block.ffn[1] = nn.Identity()
    return found


def supported(device: str) -> bool:
    """Tell whether the device multiplies e4m3 (or is a CPU, which emulates it)."""
    return not device.startswith("cuda") or torch.cuda.get_device_capability(device) >= (8, 9)
