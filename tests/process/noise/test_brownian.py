"""Brownian paths: the exact covariance of their expansions, consistency, and what is refused."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.noise import Brownian, PathNoise
from sde_diffusion.process.noise.brownian import DEPTH, expansion
from tests.refusals import refused

F64 = torch.float64


def covariance(x: Tensor, depth: int) -> Tensor:
    """Of W(x), exactly: nodes are independent, so only shared ones count."""
    nodes, weights = expansion(x, depth)
    same = nodes[:, None, :, None] == nodes[None, :, None, :]
    return (weights[:, None, :, None] * weights[None, :, None, :] * same).sum((0, 1))


def test_the_covariance_is_exact() -> None:
    """min(x, x') to rounding, for times in different cells, ends of cells and 0, 1 included."""
    g = torch.Generator().manual_seed(0)
    cells = 2 + torch.randperm(2**8 - 3, generator=g)[:60]
    cells = cells[cells != 128]
    x = (cells + torch.rand(len(cells), generator=g, dtype=F64)) / 2**8
    x = torch.cat([x, torch.tensor([0.0, 1.0, 2.0**-8, 0.5], dtype=F64)])
    assert torch.allclose(covariance(x, 8), torch.minimum(x[:, None], x), rtol=0, atol=1e-14)


def test_within_a_cell_the_difference_is_too_small_but_the_variance_right() -> None:
    x = torch.tensor([0.1, 0.1 + 2.0**-12], dtype=F64)
    c = covariance(x, 8)
    assert torch.allclose(c.diagonal(), x, rtol=1e-12, atol=0)
    assert float(c[0, 0] + c[1, 1] - 2 * c[0, 1]) < 0.5 * 2.0**-12


def increments(noise: PathNoise, times: list[float]) -> Tensor:
    """W(times[-1]) - W(times[0]), added up step by step."""
    return torch.stack(
        [noise.normal(t, s) * abs(s - t) ** 0.5 for t, s in itertools.pairwise(times)]
    ).sum(0)


def test_a_path_is_one_function_of_time() -> None:
    """Steps of unequal size, downwards and upwards, add up to the one long step, to 1e-12."""
    times = torch.logspace(-5, 1.9, 101, dtype=F64).tolist()
    noise = Brownian().batch([4, 9], (3,), F64)
    one = increments(noise, [times[0], times[-1]])
    for order in (times, times[::-1], [times[k] for k in (0, 7, 50, 51, 100)]):
        total = increments(Brownian().batch([4, 9], (3,), F64), order)
        assert torch.allclose(total, one, rtol=0, atol=1e-12)


def test_what_was_asked_before_does_not_show() -> None:
    """Bit for bit: in any order, and across octaves, at their borders and far apart."""
    steps = [(80.0, 64.0), (64.0, 3.0), (3.0, 2.5), (2.5, 2.0), (2.0, 1e-3), (1e-3, 5e-324)]
    fresh = {step: Brownian().batch([4], (3,), F64).normal(*step) for step in steps}
    for order in itertools.islice(itertools.permutations(steps), 0, 720, 37):
        noise = Brownian().batch([4], (3,), F64)
        assert all(torch.equal(noise.normal(*step), fresh[step]) for step in order)
    assert all(torch.equal(fresh[t, s], Brownian().batch([4], (3,), F64).normal(s, t))
               for t, s in steps)  # fmt: skip


def test_steps_are_independent_standard_normals() -> None:
    """300 steps x 200 numbers: second moments, and products of neighbours, within 5 errors."""
    times = torch.logspace(1.9, -4.5, 301, dtype=F64).tolist()
    noise = Brownian().batch([1], (200,), F64)
    z = torch.cat([noise.normal(t, s) for t, s in itertools.pairwise(times)])
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / z.numel()) ** 0.5
    assert float((z.square().mean(1) - 1).abs().max()) < 6 * (2 / 200) ** 0.5
    for lag in (1, 2, 3):
        assert abs(float((z[lag:] * z[:-lag]).mean())) < 5 / (z[lag:].numel()) ** 0.5


def test_the_law_over_many_seeds() -> None:
    """Covariance of W at four times, of 40,000 rows, within 5 standard errors of min(t, t')."""
    times = [0.05, 0.3, 0.7, 2.9, 11.0]
    noise = Brownian().batch(range(200), (200,), F64)
    w = torch.stack([noise.normal(times[0], t) * (t - times[0]) ** 0.5 for t in times[1:]])
    w = w.flatten(1)
    elapsed = torch.tensor(times[1:], dtype=F64) - times[0]
    exact = torch.minimum(elapsed[:, None], elapsed)
    error = ((elapsed[:, None] * elapsed + exact**2) / w.shape[1]).sqrt()
    assert float(((w @ w.T / w.shape[1] - exact) / error).abs().max()) < 5


def test_the_path_is_continuous() -> None:
    """Times that differ by rounding: values by the root of it, so that grids may share knots."""
    noise = Brownian().batch([4], (100,), F64)
    for t in (0.3, 0.5, 7.0, 64.0):
        near = math.nextafter(t, 100.0)
        a, b = (noise.normal(t_, 1e-3) * (t_ - 1e-3) ** 0.5 for t_ in (t, near))
        assert float((a - b).abs().max()) < 6 * (near - t) ** 0.5 + 1e-14 * t**0.5


@pytest.mark.parametrize(
    ("t", "s"),
    [(1.0, 0.0), (1.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (math.nan, 1.0), (1.0, math.nan)],
)
def test_steps_without_a_path_are_refused(t: float, s: float) -> None:
    with refused("noise=brownian", "noise=seeds"):
        Brownian().batch([1], (2,)).normal(t, s)


def test_a_step_within_a_cell_is_refused() -> None:
    """Its law would be wrong; the next longer one is right."""
    noise, cell = Brownian().batch([1], (2,)), 2.0**-DEPTH
    with refused("noise=brownian", "take fewer steps"):
        noise.normal(1 + 0.9 * cell, 1 + 0.1 * cell)
    noise.normal(1 + 1.1 * cell, 1 + 0.1 * cell)
