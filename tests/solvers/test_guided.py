"""Solvers that guide by themselves: each step is the published one, and costs what is counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config import groups
from sde_diffusion.denoisers.closed_form import MixtureDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.guidance import ClassifierFree, Projected, guided
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import EDM, SDE, VP, RectifiedFlow
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import StepSolver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.guided.apg import APGMomentum
from sde_diffusion.solvers.guided.cfg_zero import CFGZero
from sde_diffusion.solvers.guided.cfgpp import CFGpp
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.wrappers.renoise import Renoise
from sde_diffusion.solvers.wrappers.restart import Restart

F64 = torch.float64
COND = Condition.label([0, 1, 0])


def mixture() -> MixtureDenoiser:
    """Two classes of two components each, in three dimensions."""
    draw = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(4, 3, generator=draw, dtype=F64)
    return MixtureDenoiser(
        torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=F64), means,
        0.1 + torch.rand(4, 3, generator=draw, dtype=F64), labels=torch.tensor([0, 0, 1, 1]),
    )  # fmt: skip


def sides(x: Tensor, r: float) -> tuple[Tensor, Tensor]:
    """D(x, c) and D(x, empty) at noise level r."""
    model, level = mixture(), torch.tensor(r, dtype=F64)
    return model(x, level, COND), model(x, level, None)


def states(solver: StepSolver[Any], sde: SDE, n: int) -> list[Tensor]:
    """y = x / alpha after each step."""
    times, seen = Karras().times(sde, n), list[Tensor]()
    x = sde.prior(Seeds().start(range(3), (3,), F64), times[0])
    noise = Seeds().batch([7, 8, 9], (3,), F64)
    ask = Ask(sde, mixture(), COND)
    solver.solve(ask, x, times, noise, lambda at, x: seen.append(x / at.alpha))
    return seen


def levels(sde: SDE, n: int) -> list[float]:
    return sde.noise_level(Karras().times(sde, n)).tolist()


def sampler(solver: StepSolver[Any], *guidance: Any, sde: SDE | None = None) -> Sampler:
    return Sampler.build(sde or EDM(), guided(mixture(), guidance), solver, Karras())


def drawn(made: Sampler, nfe: int, cond: Condition | None = COND) -> tuple[Tensor, float]:
    found = made.sample(Request(range(3), nfe, cond), Execution(dtype=F64))
    return found.x, found.nfe


@pytest.mark.parametrize("sde", [EDM(), VP(), RectifiedFlow()])
def test_cfgpp_goes_on_with_the_noise_of_the_empty_side(sde: SDE) -> None:
    """y_s = D_u + lambda (D_c - D_u) + r_s (y - D_u) / r_t."""
    found, r = states(CFGpp(DDIM(), 0.7), sde, 6), levels(sde, 6)
    y = found[0]
    for i, after in enumerate(found[1:]):
        given, empty = sides(y, r[i])
        y = empty + 0.7 * (given - empty) + r[i + 1] * (y - empty) / r[i]
        assert torch.allclose(after, y, atol=1e-8)


def test_cfgpp_with_fresh_noise_is_its_ancestral_step() -> None:
    """y_s = D + r_d n_u + u z, the deviations of arXiv:2010.02502; the last step is the flow's."""
    found, r = states(Renoise(CFGpp(DDIM(), 0.7)), EDM(), 6), levels(EDM(), 6)
    plain = states(Ancestral(), EDM(), 6)
    i = 2
    up = r[i + 1] / r[i] * (r[i] ** 2 - r[i + 1] ** 2) ** 0.5
    down = (r[i + 1] ** 2 - up**2) ** 0.5
    given, empty = sides(found[i], r[i])
    mean = empty + 0.7 * (given - empty) + down * (found[i] - empty) / r[i]
    # The same noise as in the ancestral step under the condition alone.
    d = sides(plain[i], r[i])[0]
    z = plain[i + 1] - (d + down * (plain[i] - d) / r[i])
    assert torch.allclose(found[i + 1] - mean, z, atol=1e-8)


@pytest.mark.parametrize("sde", [EDM(), VP()])
def test_momentum_adds_the_pair_of_the_call_before(sde: SDE) -> None:
    found, r = states(APGMomentum(DDIM(), 3.0, -0.5, radius=0.8), sde, 6), levels(sde, 6)
    y, before = found[0], torch.zeros(3, 3, dtype=F64)
    for i, after in enumerate(found[1:]):
        given, empty = sides(y, r[i])
        before = given - empty - 0.5 * before
        g = before * (0.8 / before.norm(dim=1, keepdim=True)).clamp_max(1)
        unit = given / given.norm(dim=1, keepdim=True)
        d = given + 2 * (g - (g * unit).sum(1, keepdim=True) * unit)
        y = d + r[i + 1] * (y - d) / r[i]
        assert torch.allclose(after, y, atol=1e-8)


def test_without_momentum_it_is_the_guidance() -> None:
    """Over a multistep solver too; of scale 1 it is the condition alone, whatever the momentum."""
    by_solver = drawn(sampler(APGMomentum(DPMpp2M(), 3.0, 0.0)), 12)
    by_guidance = drawn(sampler(DPMpp2M(), Projected(3.0)), 12)
    assert torch.allclose(by_solver[0], by_guidance[0], atol=1e-10)
    assert by_solver[1] == by_guidance[1] == 12
    alone = drawn(sampler(APGMomentum(DPMpp2M(), 1.0)), 12)[0]
    assert torch.allclose(alone, drawn(sampler(DPMpp2M()), 6)[0], atol=1e-10)


def test_the_first_steps_of_cfg_zero_stand_still_and_cost_nothing() -> None:
    """In the flow's own x_t = y / (1 + r); then Euler's steps with the velocities of the paper."""
    flow, n = RectifiedFlow(), 6
    found, r = states(CFGZero(DDIM(), 3.0, still=2), flow, n), levels(flow, n)
    t = [level / (1 + level) for level in r]
    x = [y * (1 - time) for y, time in zip(found, t, strict=True)]
    assert torch.allclose(x[2], x[0], atol=1e-9)
    for i in range(2, n):
        v_c, v_u = ((x[i] - d) / t[i] for d in sides(x[i] / (1 - t[i]), r[i]))
        s = (v_c * v_u).sum(1, keepdim=True) / (v_u * v_u).sum(1, keepdim=True)
        v = s * v_u + 3 * (v_c - s * v_u)
        assert torch.allclose(x[i + 1], x[i] + (t[i + 1] - t[i]) * v, atol=1e-8)
    made = sampler(CFGZero(DDIM(), 3.0, still=2), sde=flow)
    assert made.steps(8) == n
    assert drawn(made, 8)[1] == 8


def test_scale_one_without_standing_still_is_the_condition_alone() -> None:
    zero = drawn(sampler(CFGZero(Heun(), 1.0, still=0), sde=VP()), 16)[0]
    assert torch.allclose(zero, drawn(sampler(Heun(), sde=VP()), 8)[0], atol=1e-9)


@pytest.mark.parametrize(
    "solver", [CFGpp(DDIM()), CFGpp(Heun()), APGMomentum(Restart(Heun())), CFGZero(DDIM())]
)
def test_evaluations_are_those_of_pairs(solver: StepSolver[Any]) -> None:
    """Over what calls more than once a step, or draws noise, too."""
    made = sampler(solver)
    nfe = solver.evaluations * 5 - solver.saved
    assert made.steps(nfe) == 5
    x, counted = drawn(made, nfe)
    assert counted == nfe
    assert bool(x.isfinite().all())


def test_the_other_side_may_be_a_condition_of_its_own() -> None:
    other = Condition(COND.parts, Condition.label([1, 0, 1]))
    by_solver = drawn(sampler(CFGpp(DDIM(), 0.5)), 12, other)[0]
    assert not torch.allclose(by_solver, drawn(sampler(CFGpp(DDIM(), 0.5)), 12)[0])
    wrong = Condition(COND.parts, Condition.label([5, 0, 1]))
    with pytest.raises(InputError, match="label=5"):
        drawn(sampler(CFGpp(DDIM())), 12, wrong)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CFGpp(DPMpp2M()), r"solver\.inner=DPMpp2M.*give"),
        (lambda: CFGZero(Ancestral()), r"solver\.inner=Ancestral.*give"),
        (lambda: APGMomentum(CFGpp(DDIM())), r"solver\.inner=CFGpp.*give"),
        (lambda: APGMomentum(DDIM(), momentum=1.0), r"solver\.momentum=1"),
        (lambda: CFGZero(DDIM(), still=-1), r"solver\.still=-1"),
        (lambda: sampler(CFGpp(DDIM()), ClassifierFree(2.0)), "solver=cfgpp: guides by itself"),
        (
            lambda: sampler(Renoise(CFGpp(DDIM())), ClassifierFree(2.0)),
            "solver=cfgpp: guides by itself",
        ),
        (lambda: drawn(sampler(CFGpp(DDIM())), 12, None), "solver=cfgpp: needs a condition"),
        (lambda: sampler(CFGZero(DDIM())).steps(7), "nfe=7"),
    ],
)
def test_what_does_not_go_together_is_refused(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_what_a_message_calls_a_method_can_be_typed() -> None:
    """Of solvers that guide or measure, and of guidance that does."""
    asked = 0
    for group in ("solver", "guidance"):
        for name in groups.names(group):
            if "???" in groups.node(group, name).values():
                continue
            said = getattr(groups.make(group, name), "method", "")
            if said.startswith(f"{group}="):
                asked += 1
                assert said == f"{group}={name}"
    assert asked >= 12
