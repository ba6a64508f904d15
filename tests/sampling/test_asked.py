"""At which noise levels a walk asks: known beforehand, and an interval that none meets is said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.config import groups
from sde_diffusion.denoisers.closed_form import EmpiricalDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import Interval, guided
from sde_diffusion.operators import Box
from sde_diffusion.operators.measurement import with_measurement
from sde_diffusion.process.grids import Explicit, Karras, TimeGrid
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.asked import Heard
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.adaptive.dopri import DoPri
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpm2 import DPM2
from sde_diffusion.system.notice import new_job
from tests.refusals import named, refused
from tests.solvers.conftest import NAMES, make

SHAPE = (1, 4, 4)
F64 = Execution(dtype=torch.float64)
POSTERIOR = "daps", "ddnm", "ddrm", "diffpir", "particles", "repaint"
FIXED = [name for name in NAMES if not make(name)[0].adaptive and name != "calibrated"]


def heard() -> Heard:
    return Heard(EmpiricalDenoiser(torch.zeros(2, *SHAPE, dtype=torch.float64), 0.5))


def part(name: str) -> Solver:
    given = {"operator": Box(noise=0.1)} if name in POSTERIOR else {}
    solver: Solver = groups.make("solver", name, **given)
    return solver


@pytest.mark.parametrize("name", [*FIXED, *POSTERIOR])
@pytest.mark.parametrize("denoise_last", [False, True])
def test_the_levels_of_fixed_steps_are_known_before_they_are_taken(
    name: str, denoise_last: bool
) -> None:
    inner = heard()
    sampler = Sampler.build(EDM(), inner, part(name), Karras(), denoise_last=denoise_last)
    steps = 5
    spent = sampler.solver.spent(steps)
    cond = None
    if name in POSTERIOR:
        cond = with_measurement(torch.zeros(2, *SHAPE))
    request = Request([3, 4], (spent or 60) + denoise_last, cond)
    walker, times = sampler.walk(request)
    expected = walker._rehearsed(request, times)[0]
    assert not inner.levels
    sampler.sample(request, F64)
    assert inner.levels == expected


@pytest.mark.parametrize(("grid", "nfe"), [
    (Explicit([float("inf"), 10.0, 1.0, 0.1, 0.0]), 8), (Karras(), 6),
])  # fmt: skip
def test_an_interval_between_two_levels_is_refused_with_two_that_meet_one(
    grid: TimeGrid, nfe: int
) -> None:
    """Every call was of the condition alone, and nothing said so; the remedies were typed."""
    inner, request = heard(), Request([0], nfe, Condition.label([1]))

    def walk(**ends: float) -> None:
        guide = Interval(2.0, **{"low": 4.0, "high": 4.1, **ends})
        Sampler.build(EDM(), guided(inner, [guide]), DDIM(), grid).walk(request)

    with pytest.raises(InputError) as refusal:
        walk()
    named(str(refusal.value), "guidance.interval.low=4, high=4.1", "none of the", "give low=")
    remedies = re.findall(r"(low|high)=([\d.]+)", str(refusal.value))[2:]
    assert [name for name, _ in remedies] == ["low", "high"]
    for name, value in remedies:
        walk(**{name: float(value)})
    assert not inner.levels


def test_a_level_within_a_step_meets_an_interval() -> None:
    """dpm2 asks at the middle of a step too, where ddim on the same levels does not."""
    grid, request = Explicit([10.0, 1.0, 0.1]), Request([0], 8, Condition.label([1]))
    denoiser = guided(heard(), [Interval(2.0, low=3.0, high=3.3)])  # sqrt(10) is the middle
    Sampler.build(EDM(), denoiser, DPM2(), grid).walk(request)
    with refused("guidance.interval.low=3", "none of the 2 noise levels"):
        Sampler.build(EDM(), denoiser, DDIM(), grid).walk(replace(request, nfe=4))


def test_an_adaptive_solver_that_steps_over_an_interval_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its levels are known only when it has been there: a line, not a refusal."""
    new_job()
    denoiser = guided(heard(), [Interval(2.0, low=1.0, high=1.0000001)])
    request = Request([0], None, Condition.label([1]))
    Sampler.build(EDM(), denoiser, DoPri(), Karras()).sample(request, F64)
    named(capsys.readouterr().err, "guidance.interval.low=1", "none of the", "give low=")
    denoiser = guided(heard(), [Interval(2.0, low=1.0, high=2.0)])
    Sampler.build(EDM(), denoiser, DoPri(), Karras()).sample(request, F64)
    assert capsys.readouterr().err == ""


def test_a_calibration_under_an_interval_that_its_reference_passes_by_is_refused() -> None:
    with refused("guidance__interval__low=1.3", "none of the 20 noise levels"):
        load("mnist").calibrate(nfe=4, nodes=20, guidance=Interval(4.0, low=1.3, high=1.31))
