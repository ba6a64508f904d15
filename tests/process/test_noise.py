"""Noise: each sample's own, the same in every batch and dtype, and a path under refinement."""

from __future__ import annotations

import itertools

import pytest
import torch

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Brownian, NoiseSource, Seeds
from sde_diffusion.process.sde import EDM, SDE, VP
from sde_diffusion.solvers.euler_maruyama import EulerMaruyama
from sde_diffusion.solvers.step import Ask

F64 = torch.float64
T, M, S = 0.8, 0.5, 0.1
SOURCES: dict[str, NoiseSource] = {"seeds": Seeds(), "brownian": Brownian()}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_sample_has_its_own_numbers(source: NoiseSource) -> None:
    """Equal in any batch and order; unequal between seeds; unequal from draw to draw."""
    batch, alone = source.batch([3, 8, 5], (2, 2), F64), source.batch([5], (2, 2), F64)
    for _ in range(2):
        assert torch.equal(batch.fresh()[2], alone.fresh()[0])
    first, second = batch.normal(T, M), batch.normal(M, S)
    assert torch.equal(first[2], alone.normal(T, M)[0])
    assert torch.equal(second[2], alone.normal(M, S)[0])
    assert len({float(v) for v in torch.cat([first, second]).flatten()}) == 24
    assert batch.entropy()[2] == alone.entropy()[0]
    assert len({*batch.entropy(), *batch.entropy()}) == 6


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_dtype_sees_the_same_numbers(source: NoiseSource) -> None:
    single, double = (source.batch([1, 2], (3,), d) for d in (torch.float32, F64))
    assert torch.equal(single.fresh(), double.fresh().float())
    assert torch.equal(single.normal(T, S), double.normal(T, S).float())
    assert single.entropy() == double.entropy()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_draws_are_standard_normal(source: NoiseSource) -> None:
    """40,000 draws of 4 seeds: mean, variance and fourth moment within 5 standard errors."""
    noise, n = source.batch(range(4), (10000,), F64), 40000
    for draw in (noise.fresh(), noise.normal(T, M), noise.normal(M, S)):
        assert abs(float(draw.mean())) < 5 / n**0.5
        assert abs(float(draw.square().mean()) - 1) < 5 * (2 / n) ** 0.5
        assert abs(float((draw**4).mean()) - 3) < 5 * (96 / n) ** 0.5


def test_a_brownian_path_is_the_same_on_a_finer_grid() -> None:
    """Increments of two halves add up to that of the whole, in any order of asking."""
    whole = Brownian().batch([4, 9], (5,), F64).normal(T, S) * (T - S) ** 0.5
    halves = Brownian().batch([4, 9], (5,), F64)
    second, first = halves.normal(M, S), halves.normal(T, M)
    total = first * (T - M) ** 0.5 + second * (M - S) ** 0.5
    assert torch.allclose(whole, total, rtol=0, atol=1e-12)


def test_a_path_is_one_function_of_time() -> None:
    """200 steps of unequal size, asked forwards and backwards, add up to the one long step."""
    times = torch.logspace(-5, 1.9, 201, dtype=F64).tolist()
    one = Brownian().batch([4], (3,), F64).normal(times[0], times[-1])
    one = one * (times[-1] - times[0]) ** 0.5
    for order in (range(200), range(199, -1, -1)):
        noise, total = Brownian().batch([4], (3,), F64), torch.zeros(1, 3, dtype=F64)
        for i in order:
            total += noise.normal(times[i], times[i + 1]) * (times[i + 1] - times[i]) ** 0.5
        assert torch.allclose(total, one, rtol=0, atol=1e-10)


def test_increments_of_short_steps_are_independent_standard_normals() -> None:
    """300 steps x 100 numbers: second moments and neighbours' products within 5 errors."""
    times = torch.logspace(-4.5, 1.9, 301, dtype=F64).tolist()
    noise = Brownian().batch([1], (100,), F64)
    z = torch.cat([noise.normal(a, b) for a, b in itertools.pairwise(times)])
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / z.numel()) ** 0.5
    assert float((z.square().mean(1) - 1).abs().max()) < 6 * (2 / 100) ** 0.5
    for lag in (1, 2, 3):
        assert abs(float((z[lag:] * z[:-lag]).mean())) < 5 / (z[lag:].numel()) ** 0.5


def test_a_step_beyond_the_path_is_refused() -> None:
    with pytest.raises(InputError, match=r"^noise\.t_max=0\.5"):
        Brownian(t_max=0.5).batch([1], (2,)).normal(T, S)


def test_a_start_is_no_part_of_the_path() -> None:
    noise = Brownian().batch([4], (1000,), F64)
    start, step = noise.fresh()[0], noise.normal(T, S)[0]
    assert abs(float(torch.corrcoef(torch.stack([start, step]))[0, 1])) < 5 / 1000**0.5


@pytest.mark.parametrize("sde", [VP(), EDM()], ids=["vp", "edm"])
def test_a_finer_solution_on_one_path_comes_nearer(sde: SDE) -> None:
    """Strong convergence of Euler-Maruyama: 4 x finer steps, at least 3 x nearer to 16 x finer."""
    ends = []
    denoiser = GaussianDenoiser(torch.linspace(0.1, 1.0, 64, dtype=F64))
    for n in (16, 64, 256):
        # The last step draws nothing: from a low level it does not show.
        times = Karras(sigma_min=0.002, sigma_max=10.0).times(sde, n)
        x = torch.ones(1, 64, dtype=F64)
        noise = Brownian().batch([1], (64,), F64)
        ends.append(EulerMaruyama().solve(Ask(sde, denoiser), x, times, noise))
    errors = [float((x - ends[-1]).square().mean().sqrt()) for x in ends[:-1]]
    assert errors[1] < errors[0] / 3
