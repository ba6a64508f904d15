"""Resampling filters against a direct convolution, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn import functional as F

from sde_diffusion.networks.layers.resampling import Down, Up

TAPS = [[1, 1], [1, 3, 3, 1], [1, 2, 3, 3, 2, 1]]
every = pytest.mark.parametrize("taps", TAPS, ids=str)


def image(h: int = 8, w: int = 12) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, h, w, generator=g, dtype=torch.float64)


def direct(x: np.ndarray, taps: list[int], gain: float) -> np.ndarray:
    """The full convolution of one channel with the separable filter of sum ``gain``."""
    f = np.outer(taps, taps) / sum(taps) ** 2
    return convolve2d(x, gain * f, mode="full")


@every
def test_down_is_a_convolution_of_which_every_second_is_kept(taps: list[int]) -> None:
    x, k = image(), len(taps)
    out = Down(taps).double()(x)
    for row, found in zip(x.flatten(0, 1), out.flatten(0, 1), strict=True):
        # Output i stands between inputs 2i and 2i + 1.
        whole = direct(row.numpy(), taps, 1.0)[k // 2 : k // 2 + 8 : 2, k // 2 : k // 2 + 12 : 2]
        assert np.allclose(found.numpy(), whole, atol=1e-15)


@every
def test_up_is_a_convolution_of_zeros_put_between(taps: list[int]) -> None:
    x, k = image(), len(taps)
    out = Up(taps).double()(x)
    for row, found in zip(x.flatten(0, 1), out.flatten(0, 1), strict=True):
        sparse = np.zeros((16, 24))
        sparse[::2, ::2] = row.numpy()
        start = k // 2 - 1
        whole = direct(sparse, taps, 4.0)[start : start + 16, start : start + 24]
        assert np.allclose(found.numpy(), whole, atol=1e-15)


def test_the_box_is_the_mean_and_the_nearest() -> None:
    x = image()
    assert torch.allclose(Down([1, 1]).double()(x), F.avg_pool2d(x, 2), atol=1e-15)
    assert torch.equal(Up([1, 1]).double()(x), F.interpolate(x, scale_factor=2.0))


@every
def test_a_constant_stays_within_the_image(taps: list[int]) -> None:
    """Away from the border, where zeros enter, both keep a constant."""
    x, b = torch.ones(1, 1, 16, 16, dtype=torch.float64), len(taps) // 2
    assert torch.allclose(Down(taps).double()(x)[..., b:-b, b:-b], x[..., :1, :1], atol=1e-15)
    assert torch.allclose(Up(taps).double()(x)[..., b:-b, b:-b], x[..., :1, :1], atol=1e-15)


@every
def test_shifts_by_two_go_through(taps: list[int]) -> None:
    """Down: 2 pixels become 1; up: 1 pixel becomes 2; with room for the shift at the border."""
    x = F.pad(image(), (6, 6, 6, 6))
    moved = x.roll((2, -2), (2, 3))
    assert torch.equal(Down(taps).double()(moved), Down(taps).double()(x).roll((1, -1), (2, 3)))
    moved = x.roll((1, -1), (2, 3))
    assert torch.equal(Up(taps).double()(moved), Up(taps).double()(x).roll((2, -2), (2, 3)))


@every
def test_up_is_four_times_the_transpose_of_down(taps: list[int]) -> None:
    """<down(x), y> = <x, up(y)> / 4: the two are one filter."""
    x, y = image(), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    left, right = (Down(taps).double()(x) * y).sum(), (x * Up(taps).double()(y)).sum() / 4
    assert float(left) == pytest.approx(float(right), rel=1e-12)
