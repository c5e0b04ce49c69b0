"""Three-axis rotary position embedding (time, height, width) for video tokens, as in Wan 2.1.

Each attention head's complex pairs are split between the axes: a sixth of the head's width (rounded down) each for
height and width, the rest for time. Angles are position / 10000^(2i/d) per axis (Su et al., RoFormer). Keys are cached
without rotation, so the time position of a frame is chosen anew whenever a context is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

THETA = 10_000.0


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Return how many complex pairs of a head turn with time, height and width (22, 21, 21 for 128)."""
    spatial = head_dim // 6
    return head_dim // 2 - 2 * spatial, spatial, spatial


def rotation(
    times: Sequence[float] | torch.Tensor, height: int, width: int, head_dim: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return the angles' cosine and sine for every token of frames at the given time positions.

    Args:
        times: the time position of each frame, in latent frames.
        height: token rows of a frame.
        width: token columns of a frame.
        head_dim: width of an attention head.
        device: where the angles are computed and stay.

    Returns:
        ``[2, frames * height * width, head_dim / 2]``, float32.
    """
    t = torch.as_tensor(times, dtype=torch.float64).to(device, non_blocking=True)  # nothing waits for the device
    rows, columns = (torch.arange(size, dtype=torch.float64, device=device) for size in (height, width))
    grids = torch.meshgrid(t, rows, columns, indexing="ij")
    parts = []
    for position, pairs in zip(grids, axis_pairs(head_dim), strict=True):
        rate = THETA ** (-torch.arange(pairs, dtype=torch.float64, device=device) / pairs)
        parts.append(position.reshape(-1, 1) * rate)
    angle = torch.cat(parts, dim=1)
    return torch.stack((angle.cos(), angle.sin())).to(torch.float32)


def rotate(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Turn queries or keys ``[..., tokens, heads, head_dim]`` by ``turn`` ``[2, tokens, head_dim / 2]``."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if not torch.compiler.is_compiling():  # in one pass over memory
        turned = torch.view_as_complex(pairs) * torch.complex(turn[0], turn[1]).unsqueeze(-2)
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    cos, sin = turn[0].unsqueeze(-2), turn[1].unsqueeze(-2)  # the compiler has no code for complex numbers
    even, odd = pairs[..., 0], pairs[..., 1]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
