"""Our trajectories are those of k-diffusion's ``sample_*``: one network, one list of levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from sde_diffusion.solvers.seeds_method import SEEDS
from sde_diffusion.solvers.wrappers.renoise import Renoise
from tests.peers.conftest import (
    SIGMA,
    TOLERANCE,
    InTurn,
    Trajectory,
    distance,
    draws,
    network,
    ours,
)

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
    if "ancestral" in name or "m_sde" in name:
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


def gap(case: str, sampling: Any, patch: pytest.MonkeyPatch) -> float:
    """Largest difference over 12 steps, states and image."""
    solver, name, options = CASES[case]
    noises = draws(STEPS)
    theirs = run(sampling, name, noises, patch, **options)
    return distance(ours(solver, SIGMA, theirs.levels, noises), theirs, SIGMA)


@pytest.mark.parametrize("case", CASES)
def test_the_trajectory_is_k_diffusions(
    case: str, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 steps: every state, and the image at the end, within 1e-5 of a state of variance 1."""
    assert gap(case, sampling, monkeypatch) < TOLERANCE


def lms_gaps(order: int, sampling: Any, patch: pytest.MonkeyPatch) -> tuple[float, float]:
    """The last step of k-diffusion's LMS, to level 0, has all its terms: it is no denoising.

    The differences of ours, denoised, and of ours taken on to a level of 1e-9.
    """
    noises = draws(STEPS)
    theirs = run(sampling, "sample_lms", noises, patch, order=order)
    denoised = ours(LMS(order), SIGMA, theirs.levels, noises)
    on = ours(LMS(order), SIGMA, [*theirs.levels, 1e-9], noises, whole=True)
    same = Trajectory(theirs.levels, on.states[:-1], on.states[-1])
    return distance(denoised, theirs, SIGMA), distance(same, theirs, SIGMA)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_exception_2_lms_extrapolates_to_0(
    order: int, sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At order 1 the two are one."""
    denoised, same = lms_gaps(order, sampling, monkeypatch)
    assert same < TOLERANCE
    assert (denoised > 10 * TOLERANCE) == (order > 1)


Whole = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class TwoDraws:
    """Draws of a step t -> s with a stage at m: z_1 up to m, then what ``whole`` makes of both."""

    def __init__(self, draws: Sequence[Tensor], whole: Whole) -> None:
        self.draws, self.whole = iter(draws), whole
        self.half: tuple[Tensor, Tensor] | None = None

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        z = next(self.draws)
        if self.half is None:
            self.half = s, z
            return z
        (m, z_1), self.half = self.half, None
        return self.whole(t, m, s, z_1, z)


def brownian_in_sigma(t: Tensor, m: Tensor, s: Tensor, z_1: Tensor, z_2: Tensor) -> Tensor:
    """The normalised increment over t -> s of a path in sigma: k-diffusion's own sampler."""
    return ((t - m).sqrt() * z_1 + (m - s).sqrt() * z_2) / (t - s).sqrt()


def of_the_process(t: Tensor, m: Tensor, s: Tensor, z_1: Tensor, z_2: Tensor) -> Tensor:
    """The noise of the reverse SDE at s, normalised: that at m shrinks by (s / m)^2 on its way."""
    first, second = (s / m) ** 2 * m * (1 - (m / t) ** 2).sqrt(), s * (1 - (s / m) ** 2).sqrt()
    return (first * z_1 + second * z_2) / (s * (1 - (s / t) ** 2).sqrt())


def dpmpp_sde_gaps(sampling: Any, patch: pytest.MonkeyPatch) -> tuple[float, float]:
    """k-diffusion's DPM++ SDE has stage and step noise from one Brownian path in sigma.

    The reverse SDE has the one carried on to the other. Differences of SEEDS-2 to it with its own
    draws, and to it with those of the process.
    """
    noises, found = draws(2 * STEPS), []
    for whole in (brownian_in_sigma, of_the_process):
        drawn = TwoDraws(noises[1:], whole)
        theirs = run(sampling, "sample_dpmpp_sde", noises, patch, noise_sampler=drawn)
        seeds = ours(SEEDS(2), SIGMA, theirs.levels, noises, noise=InTurn)
        found.append(distance(seeds, theirs, SIGMA))
    return found[0], found[1]


def test_exception_3_the_noise_of_dpmpp_sde_is_not_the_process(
    sampling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, same = dpmpp_sde_gaps(sampling, monkeypatch)
    assert same < TOLERANCE
    assert published > 100 * TOLERANCE


@torch.no_grad()
def test_dpm_fast_of_two_evaluations_is_a_step_of_dpm_solver_2(sampling: Any) -> None:
    """The rest of dpm_fast, steps of order 3 between, has no counterpart here."""
    levels, (start, _) = [2.0, 0.25], draws(1)
    model = lambda x, sigma: network(x, sigma[0])  # noqa: E731
    theirs = sampling.sample_dpm_fast(model, 2.0 * start, 0.25, 2.0, 2, disable=True)
    found = ours(DPM2(), SIGMA, levels, [start], whole=True).states[-1]
    assert float((found - theirs).abs().max()) < TOLERANCE
