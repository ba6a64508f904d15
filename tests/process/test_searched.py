"""The searched grid: its local errors are the solvers', its path is the cheapest."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path

import pytest
import torch

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.exact import natural_image_variances, relative_error
from sde_diffusion.process.grids import Explicit, Karras, LogSNR, TimeGrid, Uniform, VPTime
from sde_diffusion.process.sde import EDM, VP
from sde_diffusion.process.searched import Searched, binned, cheapest_path, local_error, step_costs
from sde_diffusion.process.spectrum import DataSpectrum
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.history import History
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.solvers.unipc import UniPC
from tests.solvers.conftest import Forbidden

F64 = torch.float64
VARIANCE = torch.tensor([2.0, 0.3, 0.01], dtype=F64)
STANDARD = [Karras(), LogSNR(), VPTime(), Uniform()]


def errors(solver: Solver, grid: TimeGrid, nfe: int, variance: torch.Tensor) -> float:
    return relative_error(solver, EDM(), grid.times(EDM(), nfe), variance)


@torch.no_grad()
def test_the_local_errors_are_those_of_steps_of_ddim_and_2m() -> None:
    """One step on the exact path; for 2M with a history on it, a step of the same length back."""
    log_t, log_s = torch.tensor([0.7], dtype=F64), torch.tensor([-0.2], dtype=F64)
    before, t, s = (2 * log_t - log_s).exp()[0], log_t.exp()[0], log_s.exp()[0]
    ask = Ask(EDM(), GaussianDenoiser(VARIANCE))
    exact = [(VARIANCE + u**2).sqrt()[None] for u in (before, t, s)]
    back, step = (Step(ask.at(float(a)), ask.at(float(b)), 0, 2) for a, b in ((before, t), (t, s)))
    first, _ = DDIM().step(ask, exact[1], step, None, Forbidden())
    found = local_error(VARIANCE[:, None], log_t, log_s, 1)[:, 0]
    assert torch.allclose(found, first[0] / exact[2][0] - 1, atol=1e-12)
    history = History((ask.denoise(exact[0], back.a),), (back.a.lam,))
    second, _ = DPMpp2M().step(ask, exact[1], step, history, Forbidden())
    # 2M weighs the slope of D by 1/2 where the exact integral of the line has phi_2(h) / phi_1(h).
    h = float(log_t - log_s)
    phi_1, exact_share = -math.expm1(-h), h + math.expm1(-h)
    slope = ask.denoise(exact[1], step.a) - ask.denoise(exact[0], back.a)
    second = second + (exact_share / h - phi_1 / 2) * slope
    found = local_error(VARIANCE[:, None], log_t, log_s, 2)[:, 0]
    assert torch.allclose(found, second[0] / exact[2][0] - 1, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_path_is_the_cheapest_of_all(n: int) -> None:
    """Against every path over seven nodes."""
    cost = torch.rand(7, 7, generator=torch.Generator().manual_seed(n), dtype=F64)
    cost[torch.tril_indices(7, 7).unbind()] = torch.inf
    paths = [(0, *inner, 6) for inner in itertools.combinations(range(1, 6), n - 1)]
    totals = [sum(float(cost[a, b]) for a, b in itertools.pairwise(p)) for p in paths]
    assert tuple(cheapest_path(cost, n)) == paths[totals.index(min(totals))]


@pytest.mark.parametrize("nfe", [4, 6, 10, 20, 50, 200])
def test_it_beats_every_standard_grid_for_ddim(nfe: int) -> None:
    """At order 1 all local errors have one sign and their sum is what the end shows."""
    for variance in (natural_image_variances(), VARIANCE):
        grid = Searched(order=1)
        grid.modes = binned(variance)
        found = errors(DDIM(), grid, nfe, variance)
        assert found < min(errors(DDIM(), other, nfe, variance) for other in STANDARD)


@pytest.mark.parametrize("nfe", [20, 50, 200])
@pytest.mark.parametrize("solver", [DPMpp2M(), UniPC(2)])
def test_it_beats_every_standard_grid_for_multistep_from_20_steps(solver: Solver, nfe: int) -> None:
    variance = natural_image_variances()
    best = min(errors(solver, other, nfe, variance) for other in STANDARD)
    assert errors(solver, Searched(), nfe, variance) < 0.7 * best


def test_modes_in_groups_keep_their_number_and_their_power() -> None:
    variance = natural_image_variances()
    groups = binned(variance)
    assert len(groups) <= 32
    assert sum(count for _, count in groups) == len(variance)
    assert sum(v * count for v, count in groups) == pytest.approx(float(variance.sum()))
    assert binned(torch.tensor([0.5, 0.5, 0.0], dtype=F64))[-1] == (0.5, 2.0)


def test_it_is_found_in_a_second_and_twice_the_same() -> None:
    step_costs.cache_clear()
    before = time.process_time()
    first = Searched().times(VP(), 20)
    assert time.process_time() - before < 1.0
    step_costs.cache_clear()
    assert torch.equal(first, Searched().times(VP(), 20))


def test_a_spectrum_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "spectrum.safetensors"
    DataSpectrum(VARIANCE, VARIANCE + 1, "toy", "pca").save(path)
    back = DataSpectrum.load(path, "grid.spectrum")
    assert torch.equal(back.variance, VARIANCE)
    assert torch.equal(back.mean, VARIANCE + 1)
    assert (back.name, back.kind) == ("toy", "pca")
    mine, built_in = Searched(spectrum=str(path)), Searched()
    assert not torch.allclose(mine.times(EDM(), 8), built_in.times(EDM(), 8), rtol=0.01)
    # The searched levels, typed in, are the same grid.
    levels = mine.times(EDM(), 8)
    assert torch.allclose(Explicit(levels.tolist()).times(EDM(), 8), levels)


def test_what_is_no_spectrum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grid\.spectrum=.*no such file.*analyse"):
        Searched(spectrum="missing.safetensors")
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(InputError, match=r"grid\.spectrum=.*no spectrum.*analyse"):
        Searched(spectrum=str(tmp_path / "text"))
    with pytest.raises(InputError, match=r"grid\.order=4"):
        Searched(order=4)
