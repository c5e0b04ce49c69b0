"""Paints tables of shapes on a CUDA GPU: the Triton kernel behind `memreel.world.draw.paint`.

One program paints one tile of one picture: it keeps the tile in registers, goes over the picture's shapes back to
front, skips those that cannot reach the tile, and writes pictures and mask once. Triton comes with CUDA builds of torch
only, so nothing but `draw.paint` imports this module, and only for tables that lie on a GPU.
"""

import torch
import triton
import triton.language as tl

TALL, WIDE = 16, 32
"""Pixels of a tile; they divide a picture's height and width."""


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _paint_tile(  # type: ignore[no-untyped-def]
    tables, backgrounds, places, pictures, masks, shapes,
    PARAMS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
    EMPTY: tl.constexpr,
):  # fmt: skip
    """Paint one tile of one picture."""
    tiles: tl.constexpr = (HEIGHT // TALL) * (WIDTH // WIDE)
    size: tl.constexpr = HEIGHT * WIDTH
    picture = tl.program_id(0).to(tl.int64) // tiles
    tile = tl.program_id(0) % tiles
    top = tile // (WIDTH // WIDE) * TALL
    left = tile % (WIDTH // WIDE) * WIDE
    rows = top + tl.arange(0, TALL)[:, None]
    columns = left + tl.arange(0, WIDE)[None, :]
    at = rows * WIDTH + columns
    ys, xs = rows.to(tl.float32) + 0.5, columns.to(tl.float32) + 0.5
    up, low = top.to(tl.float32), top.to(tl.float32) + TALL
    near, far = left.to(tl.float32), left.to(tl.float32) + WIDE
    mask = tl.zeros((TALL, WIDE), tl.float32)
    if EMPTY:
        red = tl.zeros((TALL, WIDE), tl.float32)
        green = tl.zeros((TALL, WIDE), tl.float32)
        blue = tl.zeros((TALL, WIDE), tl.float32)
    else:
        behind = backgrounds + tl.load(places + picture).to(tl.int64) * 3 * size + at
        red = tl.load(behind).to(tl.float32)
        green = tl.load(behind + size).to(tl.float32)
        blue = tl.load(behind + 2 * size).to(tl.float32)
    row = tables + picture * shapes * PARAMS
    for _ in range(shapes):
        opacity = tl.load(row + 12).to(tl.float32)
        if opacity > 0.0:
            cx = tl.load(row).to(tl.float32)
            cy = tl.load(row + 1).to(tl.float32)
            hw = tl.load(row + 2).to(tl.float32)
            hh = tl.load(row + 3).to(tl.float32)
            sin = tl.load(row + 4).to(tl.float32)
            cos = tl.load(row + 5).to(tl.float32)
            taper = tl.load(row + 7).to(tl.float32)
            ellipse = tl.load(row + 8).to(tl.float32)
            wide = hw * (1.0 + tl.abs(taper))
            soft = 0.5 + ellipse * 0.5 * tl.maximum(hw, hh) / tl.minimum(hw, hh) + 0.5
            rx = tl.abs(wide * cos) + tl.abs(hh * sin) + soft
            ry = tl.abs(wide * sin) + tl.abs(hh * cos) + soft
            across = (cx + rx > near) & (cx - rx < far)
            if across & (cy + ry > up) & (cy - ry < low):
                corner = tl.load(row + 6).to(tl.float32)
                dx, dy = xs - cx, ys - cy
                x, y = dx * cos + dy * sin, dy * cos - dx * sin
                if ellipse > 0.5:
                    u, v = x / hw, y / hh
                    distance = (tl.sqrt(u * u + v * v + 1e-9) - 1.0) * tl.minimum(hw, hh)
                else:
                    along = tl.minimum(tl.maximum(y / hh, -1.0), 1.0)
                    qx = tl.abs(x) - hw * (1.0 + taper * along) + corner
                    qy = tl.abs(y) - hh + corner
                    ox, oy = tl.maximum(qx, 0.0), tl.maximum(qy, 0.0)
                    distance = tl.sqrt(ox * ox + oy * oy + 1e-9) + tl.minimum(tl.maximum(qx, qy), 0.0) - corner
                cover = tl.minimum(tl.maximum(0.5 - distance, 0.0), 1.0) * opacity
                red += cover * (tl.load(row + 9).to(tl.float32) - red)
                green += cover * (tl.load(row + 10).to(tl.float32) - green)
                blue += cover * (tl.load(row + 11).to(tl.float32) - blue)
                mask += cover * (tl.load(row + 13).to(tl.float32) - mask)
        row += PARAMS
    out = pictures + picture * 3 * size + at
    tl.store(out, red.to(pictures.dtype.element_ty))
    tl.store(out + size, green.to(pictures.dtype.element_ty))
    tl.store(out + 2 * size, blue.to(pictures.dtype.element_ty))
    tl.store(masks + picture * size + at, mask.to(masks.dtype.element_ty))


def paint_tiles(
    tables: torch.Tensor,
    backgrounds: torch.Tensor | None,
    places: torch.Tensor | None,
    size: tuple[int, int],
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint tables ``[pictures, shapes, PARAMS]`` (any float type) of pictures of ``size`` (height, width).

    Args:
        tables: shape tables.
        backgrounds: pictures to paint over, ``[any, 3, height, width]``; None: black.
        places: which background each picture has; None: its own.
        size: height and width.
        dtype: type of what is returned.

    Returns:
        Pictures ``[pictures, 3, height, width]`` and masks ``[pictures, height, width]``.
    """
    count, shapes, params = tables.shape
    height, width = size
    assert height % TALL == 0
    assert width % WIDE == 0
    pictures = torch.empty(count, 3, height, width, device=tables.device, dtype=dtype)
    masks = torch.empty(count, height, width, device=tables.device, dtype=dtype)
    if places is None:
        places = torch.arange(count, device=tables.device)
    grid = (count * (height // TALL) * (width // WIDE),)
    behind = pictures if backgrounds is None else backgrounds.contiguous()
    _paint_tile[grid](
        tables.contiguous(), behind, places, pictures, masks, shapes,
        PARAMS=params, HEIGHT=height, WIDTH=width, TALL=TALL, WIDE=WIDE, EMPTY=backgrounds is None, num_warps=2,
    )  # fmt: skip
    return pictures, masks
