"""Time grids: ends, order, count, their formulas, and what they refuse."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.few_steps import Skipped
from sde_diffusion.process.grids import Explicit, Karras, LogSNR, TimeGrid, Uniform, VPTime
from sde_diffusion.process.sde import EDM, SDE, VE, VP, CosineVP, RectifiedFlow, SubVP
from sde_diffusion.process.searched import Searched
from sde_diffusion.process.timesteps import ByTimestep, FlowShift

SDES: dict[str, SDE] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": CosineVP(),
    "edm": EDM(),
    "flow": RectifiedFlow(),
}
GRIDS: dict[str, type[TimeGrid]] = {
    "uniform": Uniform,
    "karras": Karras,
    "logsnr": LogSNR,
    "vptime": VPTime,
    "searched": Searched,
}


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("grid", GRIDS)
def test_n_steps_from_end_to_end_and_down(grid: str, sde: str, n: int) -> None:
    times = GRIDS[grid](0.01, 40.0) if grid in ("uniform", "logsnr") else GRIDS[grid](
        sigma_min=0.01, sigma_max=40.0
    )  # fmt: skip
    found = times.times(SDES[sde], n)
    assert found.shape == (n + 1,)
    assert found.dtype == torch.float64
    assert bool((found[1:] < found[:-1]).all())
    levels = SDES[sde].noise_level(found[[0, -1]])
    assert levels.tolist() == pytest.approx([40.0, 0.01], rel=1e-12)


def levels(grid: TimeGrid, n: int) -> Tensor:
    return EDM().noise_level(grid.times(EDM(), n))


def test_karras_is_equation_5_of_edm() -> None:
    n, rho = 18, 7.0
    a, b = 80.0 ** (1 / rho), 0.002 ** (1 / rho)
    expected = [(a + i / (n - 1) * (b - a)) ** rho for i in range(n)]
    assert levels(Karras(), n - 1).tolist() == pytest.approx(expected, rel=1e-12)


def test_logsnr_is_uniform_in_the_log_level() -> None:
    steps = levels(LogSNR(), 10).log().diff()
    assert steps.tolist() == pytest.approx([-math.log(40000.0) / 10] * 10, rel=1e-10)


def test_uniform_is_uniform_in_the_time_of_the_sde() -> None:
    steps = Uniform().times(VP(), 10).diff()
    assert steps.tolist() == pytest.approx([float(steps[0])] * 10, rel=1e-12)


def test_vptime_is_a_power_of_the_time_of_vp_on_every_sde() -> None:
    expected = VP().time_at(torch.tensor([80.0, 0.002], dtype=torch.float64)).sqrt()
    for sde in SDES.values():
        tau = VP().time_at(sde.noise_level(VPTime(rho=2.0).times(sde, 8))).sqrt()
        steps = [float(expected[1] - expected[0]) / 8] * 8
        assert tau.diff().tolist() == pytest.approx(steps, rel=1e-8)


def test_an_explicit_list_is_kept() -> None:
    found = Explicit([10.0, 1.0, 0.1]).times(VP(), 2)
    assert VP().noise_level(found).tolist() == pytest.approx([10.0, 1.0, 0.1], rel=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Karras(sigma_min=0.0), r"grid\.sigma_min=0"),
        (lambda: LogSNR(5.0, 1.0), r"grid\.sigma_min=5"),
        (lambda: Karras(rho=0.0), r"grid\.rho=0"),
        (lambda: VPTime(rho=-1.0), r"grid\.rho=-1"),
        (lambda: VPTime(beta_min=30.0), r"grid\.beta_min=30"),
        (lambda: Explicit([1.0]), r"grid\.levels"),
        (lambda: Explicit([1.0, 1.0]), r"grid\.levels"),
        (lambda: Explicit([1.0, 2.0]), r"grid\.levels"),
        (lambda: Explicit([1.0, 0.0]), r"grid\.levels"),
        (lambda: Explicit([2.0, 1.0, -1.0]), r"grid\.levels="),
        (lambda: Explicit([1e10, 1.0]), r"grid\.levels="),
        (lambda: Explicit([10.0, 1.0, 0.1]).times(VP(), 3), r"levels above 0 make 2 steps"),
        (lambda: Karras().times(VP(), 0), r"grid: 0 steps"),
        (lambda: Karras(sigma_max=500.0).times(VE(), 5), r"reaches noise level 100, not 500"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "ends", [(0.002, 80.0), (0.0010005, 152.16666), (0.02, 100.0), (0.00011, 3.0)]
)
@pytest.mark.parametrize("grid", [Karras(7.0, 1e-5, 500.0), ByTimestep(), Skipped()])
def test_levels_outside_the_model_come_with_numbers_within_it(
    grid: TimeGrid, ends: tuple[float, float]
) -> None:
    with pytest.raises(InputError, match="grid") as refusal:
        grid.fitted(*ends).check(*ends)
    line = str(refusal.value)
    remedy = line.rsplit("give", 1)[1]
    numbers = re.findall(r"(sigma_min|sigma_max|beta_start|beta_end)[=:]([\d.e-]+)", remedy)
    typed = {key: float(value) for key, value in numbers}
    within = grid.changed(**typed) if isinstance(grid, Karras) else grid.changed(betas=typed)
    within.fitted(*ends).check(*ends)


@pytest.mark.parametrize(
    ("grid", "remedy"),
    [
        (Karras(7.0, 0.01, 500.0), "give grid=karras grid.sigma_max=80"),
        (Karras(7.0, 0.001, 50.0), "give grid=karras grid.sigma_min=0.002"),
        (FlowShift(), "give another grid, grid=exponential"),
        (Explicit([500.0, 1.0, 0.1]), "give levels within it, or another grid, grid=exponential"),
    ],
)
def test_a_remedy_names_what_the_grid_takes(grid: TimeGrid, remedy: str) -> None:
    with pytest.raises(InputError, match=f"{re.escape(remedy)}$"):
        grid.check(0.002, 80.0)
