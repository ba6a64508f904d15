"""The levels of our grids are those of diffusers and k-diffusion, to the rounding of float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sde_diffusion.process.ays import AYS
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import EDM
from sde_diffusion.process.spread import Beta, Exponential, KarrasToZero
from sde_diffusion.process.timesteps import ByTimestep

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
STABLE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
THEIRS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
N = 12
SPREADS = {"karras": KarrasToZero, "exponential": Exponential, "beta": Beta}


def levels(grid: TimeGrid, n: int = N) -> list[float]:
    """n levels above zero, and zero."""
    return [*EDM().noise_level(grid.times(EDM(), n - 1)).tolist(), 0.0]


def of_diffusers(name: str, n: int = N, **options: Any) -> list[float]:
    scheduler = getattr(diffusers, name)(**THEIRS, **options)
    scheduler.set_timesteps(n)
    return scheduler.sigmas.tolist()


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize("spread", SPREADS)
def test_spreads_are_those_of_diffusers(spread: str, scheduler: str) -> None:
    """Of the numbers of a process, and between the ends of a model."""
    theirs = of_diffusers(scheduler, **{f"use_{spread}_sigmas": True})
    beyond = scheduler.startswith("DPM")
    numbered = ByTimestep(STABLE, "linspace", spread=spread, beyond=beyond)
    fitted = SPREADS[spread]().fitted(numbered.sigma_min, numbered.sigma_max)
    assert levels(numbered) == pytest.approx(theirs, rel=1e-5)
    assert levels(fitted) == pytest.approx(theirs, rel=1e-5)


def test_sgm_uniform_is_linspace_without_the_last_unrounded() -> None:
    """diffusers rounds the numbers of DPM-Solver++: by half a number, 4e-3 of a level at most."""
    theirs = of_diffusers("DPMSolverMultistepScheduler", timestep_spacing="linspace")
    found = levels(ByTimestep(STABLE, "sgm_uniform"))
    gaps = [abs(a / b - 1) for a, b in zip(found[:-1], theirs[:-1], strict=True)]
    assert 1e-4 < max(gaps) < 4e-3


@pytest.mark.parametrize(
    ("model", "name"), [("sd15", "StableDiffusion"), ("sdxl", "StableDiffusionXL")]
)
def test_ays_is_the_table_of_diffusers(model: str, name: str) -> None:
    """Its levels are those of its numbers; as sigmas it lists them rounded."""
    from diffusers.schedulers import AysSchedules

    scheduler = diffusers.EulerDiscreteScheduler(**THEIRS)
    scheduler.set_timesteps(timesteps=AysSchedules[f"{name}Timesteps"])
    assert levels(AYS(model), 10) == pytest.approx(scheduler.sigmas.tolist(), rel=1e-5)
    listed = AysSchedules[f"{name}Sigmas"]
    assert levels(AYS(model), 10) == pytest.approx(listed, rel=0.02)


def test_ays_of_video_is_the_table_of_diffusers() -> None:
    from diffusers.schedulers import AysSchedules

    listed = AysSchedules["StableDiffusionVideoSigmas"]
    assert levels(AYS("svd"), 10) == pytest.approx(listed, rel=1e-12)


def test_spreads_are_those_of_k_diffusion(sampling: Any) -> None:
    ends = (0.03, 14.6)
    karras, exponential, poly = (
        getattr(sampling, f"get_sigmas_{name}")(N, *ends).tolist()
        for name in ("karras", "exponential", "polyexponential")
    )
    assert levels(KarrasToZero(7.0, *ends)) == pytest.approx(karras, rel=1e-5)
    assert levels(Exponential(*ends)) == pytest.approx(exponential, rel=1e-5)
    assert levels(Exponential(*ends)) == pytest.approx(poly, rel=1e-5)


def test_beta_sigmas_of_a_folder_are_read() -> None:
    from sde_diffusion.models.schedulers import read_schedule

    config = {"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": True, **THEIRS}
    read = read_schedule(config)
    assert all(finding.honoured for finding in read.findings if finding.key == "use_beta_sigmas")
    theirs = of_diffusers("EulerDiscreteScheduler", use_beta_sigmas=True)
    assert levels(read.grid) == pytest.approx(theirs, rel=1e-5)
    assert torch.tensor(theirs).diff().lt(0).all()
