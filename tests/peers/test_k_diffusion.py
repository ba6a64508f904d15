"""Our trajectories are those of k-diffusion's ``sample_*``: one network, one list of levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.dpm2 import DPM2
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_2m_sde import DPMpp2MSDE
from sde_diffusion.solvers.dpmpp_2s import DPMpp2S
from sde_diffusion.solvers.dpmpp_3m_sde import DPMpp3MSDE
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.lms import LMS
from sde_diffusion.solvers.renoise import Renoise
from tests.peers.conftest import SIGMA, TOLERANCE, Trajectory, distance, draws, network, ours

STEPS = 12


@torch.no_grad()
def run(
    sampling: Any, name: str, noises: Sequence[Tensor], patch: pytest.MonkeyPatch, **options: Any
) -> Trajectory:
    """States at each level above 0 of k-diffusion's Karras grid; its last step, to 0, denoises."""
    levels = sampling.get_sigmas_karras(STEPS, 0.02, 60.0).double()
    start, *rest = noises
    states: list[Tensor] = []

    def remember(info: dict[str, Any]) -> None:
        churned = (info["sigma_hat"] ** 2 - info["sigma"] ** 2).sqrt()
        states.append(info["x"] - options.get("s_noise", 1.0) * churned * rest[len(states)])

    # The draw of a step is asked of torch before the step is shown, of a noise sampler after.
    patch.setattr(torch, "randn_like", lambda x: rest[len(states)])
    if "ancestral" in name or "sde" in name:
        options["noise_sampler"] = lambda t, s: rest[len(states) - 1]
    image = getattr(sampling, name)(
        lambda x, sigma: network(x, sigma[0]), levels[0] * start, levels,
        callback=remember, disable=True, **options,
    )  # fmt: skip
    return Trajectory(levels[:-1].tolist(), states, image)


# Churn ends below the first level: ours never goes above that, k-diffusion's may.
CHURN = {"s_churn": 4.0, "s_tmin": 0.05, "s_tmax": 40.0, "s_noise": 1.01}
CASES: dict[str, tuple[Solver, str, dict[str, Any]]] = {
    "euler": (DDIM(), "sample_euler", {}),
    "euler_ancestral": (Ancestral(), "sample_euler_ancestral", {}),
    "euler_ancestral eta=0.6": (Ancestral(0.6), "sample_euler_ancestral", {"eta": 0.6}),
    "heun": (Heun(), "sample_heun", {}),
    "heun churned": (Heun(**CHURN), "sample_heun", CHURN),
    "dpm_2": (DPM2(), "sample_dpm_2", {}),
    "dpmpp_2m": (DPMpp2M(), "sample_dpmpp_2m", {}),
    "dpmpp_2m_sde": (DPMpp2MSDE(), "sample_dpmpp_2m_sde", {}),
    # Its eta is the square of ours.
    "dpmpp_2m_sde eta=0.36": (DPMpp2MSDE(0.6), "sample_dpmpp_2m_sde", {"eta": 0.36}),
    "dpmpp_3m_sde": (DPMpp3MSDE(), "sample_dpmpp_3m_sde", {}),
    "dpmpp_3m_sde eta=0.5": (DPMpp3MSDE(0.5), "sample_dpmpp_3m_sde", {"eta": 0.5}),
    "dpmpp_3m_sde eta=0": (DPMpp3MSDE(0.0), "sample_dpmpp_3m_sde", {"eta": 0.0}),
    "dpmpp_2s_ancestral": (Renoise(DPMpp2S()), "sample_dpmpp_2s_ancestral", {}),
    "dpm_2_ancestral": (Renoise(DPM2()), "sample_dpm_2_ancestral", {}),
    "dpm_2_ancestral eta=0.5": (Renoise(DPM2(), 0.5), "sample_dpm_2_ancestral", {"eta": 0.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_trajectory_is_k_diffusions(
    case: str, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 steps: every state, and the image at the end, within 1e-5 of a state of variance 1."""
    solver, name, options = CASES[case]
    noises = draws(STEPS)
    theirs = run(sampling, name, noises, monkeypatch, **options)
    assert distance(ours(solver, SIGMA, theirs.levels, noises), theirs, SIGMA) < TOLERANCE


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_exception_2_lms_extrapolates_to_0(
    order: int, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of k-diffusion's LMS, to level 0, has all its terms: it is no denoising.

    Taken on to a level of 1e-9, ours is theirs; denoised, it is not, but at order 1.
    """
    noises = draws(STEPS)
    theirs = run(sampling, "sample_lms", noises, monkeypatch, order=order)
    denoised = ours(LMS(order), SIGMA, theirs.levels, noises)
    on = ours(LMS(order), SIGMA, [*theirs.levels, 1e-9], noises, whole=True)
    same = Trajectory(theirs.levels, on.states[:-1], on.states[-1])
    assert distance(same, theirs, SIGMA) < TOLERANCE
    assert (distance(denoised, theirs, SIGMA) > 10 * TOLERANCE) == (order > 1)
