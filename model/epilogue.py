"""A linear layer whose GELU is applied by the matrix product itself, before its result is written.

cuBLAS applies the GELU (tanh form) to the sums in float32, so the widest numbers of a block, ``[tokens, ffn_dim]``, are
written once instead of written, read and written again, and rounded once. There is no such product on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from memreel.model.transformer import VideoTransformer


class GeluLinear(nn.Module):
    """A linear layer and the GELU after it."""

    def __init__(self, linear: nn.Linear) -> None:
        """Take over a layer's weight and bias."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the GELU of the projection of ``[..., in]``, ``[..., out]``."""
        if not x.is_cuda:
            return F.gelu(F.linear(x, self.weight, self.bias), approximate="tanh")
        rows = x.flatten(0, -2)
        out: torch.Tensor = torch._addmm_activation(self.bias, rows, self.weight.t(), use_gelu=True)
        return torch.unflatten(out, 0, x.shape[:-1])


def fuse_gelu(net: VideoTransformer) -> None:
    """Let the feed-forward nets of a transformer apply their GELU in their first product."""
    for block in net.each_block():
        wide = block.ffn[0]
        assert isinstance(wide, nn.Linear)
        block.ffn[0] = GeluLinear(wide)
        block.ffn[1] = nn.Identity()
