"""Resize protocols: TensorFlow 1's by its definition, and the wrong way that looks the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.extractors.resize import RESIZES, tf1_bilinear

from .inception_weights import random_images


def smooth(n: int, side: int) -> torch.Tensor:
    """Pictures with edges and slopes, as photographs have them."""
    images = random_images(n, 3, side // 4, side // 4).double()
    return F.interpolate(images, (side, side), mode="bicubic").clamp(0, 255).round().float()


def by_definition(x: torch.Tensor, size: int) -> torch.Tensor:
    """out[k] = in[floor(k n / size)] + fraction * (in[floor + 1] - in[floor]), rows and columns."""
    c, h, w = x.shape
    out = torch.empty(c, size, size, dtype=torch.float64)
    for k in range(size):
        for m in range(size):
            y, z = k * h / size, m * w / size
            i, j = math.floor(y), math.floor(z)
            p, q = min(i + 1, h - 1), min(j + 1, w - 1)
            a, b = y - i, z - j
            out[:, k, m] = (1 - a) * ((1 - b) * x[:, i, j] + b * x[:, i, q]) + a * (
                (1 - b) * x[:, p, j] + b * x[:, p, q]
            )
    return out


@pytest.mark.parametrize(("h", "w", "size"), [(8, 8, 19), (9, 14, 11), (19, 8, 8), (5, 5, 5)])
def test_tensorflows_resize_by_its_definition(h: int, w: int, size: int) -> None:
    x = random_images(2, 3, h, w).float()
    found = tf1_bilinear(x, size)
    exact = torch.stack([by_definition(image.double(), size) for image in x])
    # Positions are single precision there too.
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)


def grey_levels_from_the_protocol(resized: torch.Tensor, x: torch.Tensor, size: int) -> float:
    return float((resized - tf1_bilinear(x, size)).abs().mean())


@pytest.mark.parametrize(("side", "size"), [(32, 299), (32, 20)])
def test_an_antialiased_resize_is_several_grey_levels_off(side: int, size: int) -> None:
    x = smooth(8, side)
    wrong = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
    assert grey_levels_from_the_protocol(wrong, x, size) > 2
    assert grey_levels_from_the_protocol(tf1_bilinear(x, size), x, size) == 0


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [20, 50])
def test_filtered_resizes_are_those_of_image_libraries(name: str, size: int) -> None:
    x = smooth(1, 32)
    found = RESIZES[name](x, size)[0].permute(1, 2, 0)
    image = Image.fromarray(x[0].permute(1, 2, 0).numpy().astype(np.uint8))
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = torch.from_numpy(np.array(image.resize((size, size), filters[name])))
    difference = (found - expected.float()).abs()
    # Theirs rounds and clips between rows and columns too.
    assert float(difference.max()) <= 2
    assert float(difference.mean()) < 0.5


def test_none_is_for_images_of_the_right_size() -> None:
    x = smooth(1, 32)
    assert RESIZES["none"](x, 32) is x
    with pytest.raises(InputError, match=r"extractor\.size=33"):
        RESIZES["none"](x, 33)
