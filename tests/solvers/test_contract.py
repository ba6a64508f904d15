"""What every conf/solver/*.yaml must hold to, found by globbing: a new solver is tested unasked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from sde_diffusion.config import conf_dir, locate, parameters
from sde_diffusion.errors import InputError
from sde_diffusion.exact import marginal
from sde_diffusion.grid import Karras
from sde_diffusion.noise import Seeds
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import SDE
from sde_diffusion.solvers.base import Solver, StepSolver
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.predictor_corrector import PredictorCorrector
from tests.solvers.conftest import (
    MEAN,
    NAMES,
    SDES,
    VARIANCE,
    Averaged,
    Forbidden,
    gaussian,
    make,
    mixture,
    slope,
    with_mean,
)

# Choices beside the defaults whose law or order is another.
VARIANTS = {
    "ancestral": ["eta=0.0", "eta=0.5"],
    "deis": ["order=1", "order=2"],
    "dpmpp_2m": ["lower_order_final=true"],
    "dpmpp_2m_sde": ["eta=0.0", "eta=0.5"],
    "dpmpp_3m": ["published=false", "lower_order_final=true"],
    "er_sde": ["order=1", "order=2", "scale=ode", "scale=sde"],
    "euler_maruyama": ["eta=0.0", "eta=0.5"],
    "heun": ["s_churn=10"],
    "ipndm": ["order=1", "order=2", "order=3"],
    "langevin": ["n_steps=3"],
    "restart": ["repeats=[0]"],
    "sa_solver": ["predictor=2", "corrector=0", "corrector=2", "tau=0.0", "lower_order_final=true"],
    "seeds": ["order=1", "order=3", "prediction=noise"],
    "torchsde": ["method=srk", "method=milstein", "eta=0.5"],
    "unipc": ["order=1", "order=3", "lower_order_final=true"],
}
CASES = [(name,) for name in NAMES]
CASES += [(n, f"solver.{o}") for n, options in VARIANTS.items() for o in options]
MEASURED = [case for case in CASES if make(*case)[0].order is not None]
FIXED = [case for case in CASES if not make(*case)[0].adaptive]
FREE = [name for name in NAMES if make(name)[0].adaptive]
# Written in the SDE's own time, or with its alpha: the rest see noise levels only.
OWN_TIME = {"euler_maruyama", "langevin", "predictor_corrector", "reverse_diffusion", "torchsde"}
COVARIANT = [name for name in NAMES if name not in OWN_TIME]


def ids(case: tuple[str, ...]) -> str:
    return " ".join(word.removeprefix("solver.") for word in case)


def budget(solver: Solver, n: int = 6) -> int | None:
    """Evaluations that make n steps; None for a solver that takes none."""
    return None if solver.adaptive else _nfe(solver, n)


def _nfe(solver: Any, n: int) -> int:
    return int(n * solver.evaluations - solver.saved)


@torch.no_grad()
def run(
    solver: Solver,
    sde: SDE,
    seeds: list[int],
    n: int = 6,
    dtype: torch.dtype = torch.float64,
    noise_seed: int = 0,
) -> torch.Tensor:
    """x / alpha at the end of a Karras grid, on a mixture, from the prior of ``seeds``."""
    steps = solver.steps(budget(solver, n))
    times = Karras().times(sde, steps)
    start = Seeds().batch(seeds, MEAN.shape, dtype).fresh()
    noise = Seeds().batch([noise_seed + 1000 + k for k in seeds], MEAN.shape, dtype)
    x = solver.solve(Reverse(sde, mixture()), sde.prior(start, times[0]), times, noise)
    return x / sde.alpha(times[-1])


def nodes(node: Any) -> Iterator[DictConfig]:
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield node
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from nodes(node[key])


@pytest.mark.parametrize("name", NAMES)
def test_a_yaml_holds_every_constructor_argument_and_no_other(name: str) -> None:
    config = OmegaConf.load(Path(conf_dir(), "solver", f"{name}.yaml"))
    found = list(nodes(config))
    assert found
    for node in found:
        keys = {str(key) for key in node} - {"_target_", "defaults"}
        assert keys == set(parameters(locate(node["_target_"], "solver")))


@pytest.mark.parametrize("name", NAMES)
def test_a_yaml_states_the_constructor_defaults(name: str) -> None:
    """The library face and the command line mean the same by a solver's name."""
    config = OmegaConf.load(Path(conf_dir(), "solver", f"{name}.yaml"))
    for node in nodes(config):
        for key, parameter in parameters(locate(node["_target_"], "solver")).items():
            if parameter.default is not inspect.Parameter.empty:
                assert node[key] == parameter.default, key


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("case", [c for c in MEASURED if len(c) == 1], ids=ids)
def test_converges_to_the_exact_law_at_the_declared_order(case: tuple[str, ...], sde: str) -> None:
    solver, grid = make(*case)
    order, last = slope(solver, grid, SDES[sde])
    assert solver.order is not None
    assert order >= solver.order - 0.15
    assert last < 0.05


@pytest.mark.parametrize("sde", ["vp", "edm"])
@pytest.mark.parametrize("case", [c for c in MEASURED if len(c) > 1], ids=ids)
def test_so_does_every_variant(case: tuple[str, ...], sde: str) -> None:
    test_converges_to_the_exact_law_at_the_declared_order(case, sde)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("name", FREE)
@torch.no_grad()
def test_a_black_box_reaches_the_exact_law(name: str, sde: str) -> None:
    """32 x 16 draws a mode: means and variances within 5 standard errors (false alarm 5e-6)."""
    solver, process = make(name)[0], SDES[sde]
    copies, rows = 16, 32
    denoiser = type(gaussian())(VARIANCE.repeat(copies), MEAN.repeat(copies))
    times = Karras().times(process, solver.steps(None))
    noise = Seeds().batch(range(rows), (len(denoiser.mean),), torch.float64)
    first = marginal(process, times[0], denoiser.variance, denoiser.mean)
    x = solver.solve(
        Reverse(process, denoiser), first.mean + first.variance.sqrt() * noise.fresh(), times, noise
    )
    last = marginal(process, times[-1], VARIANCE, MEAN)
    z = (x.reshape(-1, len(MEAN)) - last.mean) / last.variance.sqrt()
    assert float(z.mean(0).abs().max()) * len(z) ** 0.5 < 5
    assert float((z.square().mean(0) - 1).abs().max()) * (len(z) / 2) ** 0.5 < 5


@pytest.mark.parametrize("name", COVARIANT)
def test_the_same_noise_levels_give_the_same_sample_on_every_sde(name: str) -> None:
    """Tolerance 1e-9: what the inversion of a noise level to a time leaves, over 6 steps."""
    solver = make(name)[0]
    found = [run(solver, sde, [1, 2, 3]) for sde in SDES.values()]
    # Adaptive steps follow the rounding of their own error estimates.
    atol = 1e-9 if budget(solver) is not None else 1e-7
    for other in found[1:]:
        assert torch.allclose(found[0], other, rtol=0, atol=atol)


@pytest.mark.parametrize("sde", ["vp", "flow"])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_sample_does_not_depend_on_its_batch(case: tuple[str, ...], sde: str) -> None:
    solver = make(*case)[0]
    assert not solver.couples_batch
    batch = run(solver, SDES[sde], [5, 6, 7, 8, 9])
    for k in (5, 9):
        alone = run(solver, SDES[sde], [k])
        assert torch.allclose(batch[k - 5], alone[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["langevin", "predictor_corrector"])
def test_norms_over_the_batch_are_declared_to_couple_it(name: str) -> None:
    key = "solver.norm" if name == "langevin" else "solver.corrector.norm"
    solver = make(name, f"{key}=batch")[0]
    assert solver.couples_batch
    batch = run(solver, SDES["vp"], [5, 6, 7])
    assert not torch.allclose(batch[:1], run(solver, SDES["vp"], [5]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("case", FIXED, ids=ids)
def test_any_number_of_steps_is_finite(case: tuple[str, ...], sde: str) -> None:
    solver = make(*case)[0]
    for n in (1, 2, 3, 10):
        assert run(solver, SDES[sde], [1, 2], n).isfinite().all()


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_kept_and_agrees_with_float64(name: str, sde: str) -> None:
    """Within 2 % of the state's scale; random paths of adaptive steps need not agree."""
    solver = make(name)[0]
    single = run(solver, SDES[sde], [1, 2, 3], dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.isfinite().all()
    if not (solver.stochastic and budget(solver) is None):
        double = run(solver, SDES[sde], [1, 2, 3])
        assert float((single - double).abs().max()) < 0.02 * max(1.0, float(double.abs().max()))


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("case", FIXED, ids=ids)
@torch.no_grad()
def test_evaluations_are_what_was_asked_for(case: tuple[str, ...], n: int) -> None:
    solver, grid = make(*case)
    sde, denoiser, rows = SDES["vp"], mixture(), 3
    seen: list[tuple[float, torch.Tensor]] = []
    nfe = _nfe(solver, n)
    times = grid.times(sde, solver.steps(nfe))
    noise = Seeds().batch(range(rows), MEAN.shape, torch.float64)
    x = sde.prior(noise.fresh(), times[0])
    end = solver.solve(
        Reverse(sde, denoiser), x, times, noise, lambda t, x: seen.append((float(t), x))
    )
    assert denoiser.evaluations == nfe * rows
    assert [t for t, _ in seen] == times.tolist()
    assert torch.equal(seen[0][1], x)
    assert torch.equal(seen[-1][1], end)


@pytest.mark.parametrize("case", FIXED, ids=ids)
def test_a_budget_that_buys_no_whole_step_is_refused(case: tuple[str, ...]) -> None:
    solver: Any = make(*case)[0]
    refused = [None, 0, -2]
    refused += [_nfe(solver, 3) + k for k in range(1, solver.evaluations)]
    for nfe in refused:
        with pytest.raises(InputError, match=r"^nfe="):
            solver.steps(nfe)


@pytest.mark.parametrize("name", FREE)
def test_a_black_box_takes_no_budget(name: str) -> None:
    solver = make(name)[0]
    with pytest.raises(InputError, match=r"^nfe=10.*rtol"):
        solver.steps(10)
    assert solver.steps(None) == 1


@pytest.mark.parametrize("case", CASES, ids=ids)
@torch.no_grad()
def test_noise_is_drawn_only_if_declared(case: tuple[str, ...]) -> None:
    solver, sde = make(*case)[0], SDES["vp"]
    if solver.stochastic:
        first, second = (run(solver, sde, [1], noise_seed=seed) for seed in (0, 1))
        assert not torch.allclose(first, second, rtol=0, atol=1e-6)
        return
    times = Karras().times(sde, solver.steps(budget(solver)))
    x = sde.prior(torch.ones(2, len(MEAN), dtype=torch.float64), times[0])
    assert solver.solve(Reverse(sde, mixture()), x, times, Forbidden()).isfinite().all()


@pytest.mark.parametrize("case", CASES, ids=ids)
@torch.no_grad()
def test_linear_is_what_is_declared(case: tuple[str, ...]) -> None:
    """On a Gaussian the end of a mean start and mean draws is the mean of the ends, or is not."""
    solver, sde = make(*case)[0], SDES["vp"]
    times = Karras().times(sde, solver.steps(budget(solver)))
    rows = with_mean(Seeds().batch([3, 4], MEAN.shape, torch.float64).fresh())
    end = solver.solve(Reverse(sde, gaussian()), rows, times, Averaged())
    off = float((end - with_mean(end[:2])).abs().max())
    assert off < 1e-9 if solver.linear else off > 1e-7


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_nothing_is_kept_on_the_solver(case: tuple[str, ...]) -> None:
    solver = make(*case)[0]
    before = dict(vars(solver))
    first = run(solver, SDES["edm"], [1, 2])
    assert vars(solver) == before
    assert torch.equal(first, run(solver, SDES["edm"], [1, 2]))


@pytest.mark.parametrize("case", FIXED, ids=ids)
def test_any_fixed_step_solver_is_a_predictor(case: tuple[str, ...]) -> None:
    predictor: Any = make(*case)[0]
    both = PredictorCorrector(predictor, Langevin(snr=0.1, n_steps=2))
    assert isinstance(predictor, StepSolver)
    assert _nfe(both, 5) == _nfe(predictor, 5) + 10
    assert run(both, SDES["vp"], [1, 2], 5).isfinite().all()
