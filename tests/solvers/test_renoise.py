"""Renoise: DDIM's is ancestral sampling; what remembers steps or draws noise is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.euler_maruyama import EulerMaruyama
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.sa_solver import SASolver
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.unipc import UniPC
from sde_diffusion.solvers.wrappers.renoise import Renoise
from sde_diffusion.solvers.wrappers.restart import Restart
from tests.solvers.conftest import SDES, mixture

F64 = torch.float64


@torch.no_grad()
def states(solver: StepSolver[Any], sde: str, n: int = 8) -> list[Tensor]:
    times = Karras().times(SDES[sde], n)
    x = SDES[sde].prior(Seeds().start(range(3), (4,), F64), times[0])
    seen: list[Tensor] = []
    noise = Seeds().batch([7, 8, 9], (4,), F64)
    solver.solve(Ask(SDES[sde], mixture()), x, times, noise, lambda at, x: seen.append(x))
    return seen


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_over_ddim_it_is_ancestral_sampling_up_to_the_last_step(eta: float, sde: str) -> None:
    """Whose noise is left out: there it is the flow, not the mean of the ancestral step."""
    pairs = zip(states(Renoise(DDIM(), eta), sde), states(Ancestral(eta), sde), strict=True)
    gaps = [float((a - b).abs().max()) for a, b in pairs]
    assert max(gaps[:-1]) < 1e-9
    assert gaps[-1] > 1e-6


@pytest.mark.parametrize("sde", ["edm", "vp"])
@torch.no_grad()
def test_nothing_is_asked_below_the_last_level(sde: str) -> None:
    """The step before the last would go to 0.4^2 / 0.9 = 0.18; a network ends at 0.3, say."""
    asked: list[float] = []

    class Listening(type(mixture())):  # type: ignore[misc]
        def denoise(self, x: Tensor, sigma: Tensor, cond: object) -> Tensor:
            asked.append(float(sigma))
            return super().denoise(x, sigma, cond)

    inner = mixture()
    denoiser = Listening(inner.weights, inner.means, inner.variances)
    times = SDES[sde].time_at(torch.tensor([2.0, 0.9, 0.4, 0.3], dtype=F64))
    noise = Seeds().batch([1], (4,), F64)
    Renoise(Heun()).solve(Ask(SDES[sde], denoiser), torch.ones(1, 4).to(F64), times, noise)
    assert min(asked) == pytest.approx(0.3)


class Odd(EulerMaruyama):
    """A deterministic solver of one step with the rarer of each fact."""

    linear, couples_batch, saved, evaluations = False, True, 1, 3


@pytest.mark.parametrize("inner", [DDIM(), Heun(), Odd(eta=0.0)], ids=lambda s: type(s).__name__)
def test_it_is_what_its_inner_solver_is(inner: StepSolver[Any]) -> None:
    facts = ("order", "evaluations", "saved", "linear", "covariant", "couples_batch")
    outer = Renoise(inner)
    assert [getattr(outer, fact) for fact in facts] == [getattr(inner, fact) for fact in facts]


@pytest.mark.parametrize(
    "inner",
    [Ancestral(), Langevin(), DPMpp2M(), UniPC(), SASolver(tau=0.0), Restart(DDIM(), repeats=[0]),
     DoPri()],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_an_inner_solver_that_cannot_serve_is_refused(inner: StepSolver[Any]) -> None:
    with pytest.raises(InputError, match=rf"^solver\.inner={type(inner).__name__}: give"):
        Renoise(inner)
