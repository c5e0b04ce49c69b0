"""PNG files as another library reads them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from memreel.output.png import png


@pytest.mark.parametrize("size", [(480, 832), (1, 1), (7, 13)])
def test_a_picture_is_read_back_as_it_was(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(png(picture))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(read), picture)
        turned = png(picture[:, ::-1])
    with Image.open(io.BytesIO(turned)) as read:
        assert np.array_equal(np.asarray(read), picture[:, ::-1])


def test_damage_is_seen() -> None:
    content = bytearray(png(np.zeros((8, 8, 3), np.uint8)))
    content[-20] ^= 1
    with pytest.raises((SyntaxError, OSError)), Image.open(io.BytesIO(bytes(content))) as read:
        read.verify()
