"""Our trajectories are those of diffusers' schedulers: one network, one list of noise levels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.process.sde import SDE, VP
from sde_diffusion.solvers.ancestral import Ancestral
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.deis import DEIS
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_2m_sde import DPMpp2MSDE
from sde_diffusion.solvers.dpmpp_3m import DPMpp3M
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.sa_solver import SASolver
from sde_diffusion.solvers.unipc import UniPC
from tests.peers.conftest import (
    SIGMA,
    TOLERANCE,
    VARIANCE_PRESERVING,
    Trajectory,
    distance,
    draws,
    network,
    ours,
)

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed; see [peers]")
# What its own code does with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@dataclass(frozen=True)
class Peer:
    """A scheduler, and how it is set up.

    Attributes:
        sde: the coordinates it works in. calls: its steps for one of ours.
        epsilon: the network's output is asked for as noise, where x_0 is not taken.
        noisy_end: its last step, to a level above 0, has noise; ours has none.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    step: dict[str, Any] = field(default_factory=dict)
    sde: SDE = VARIANCE_PRESERVING
    calls: int = 1
    epsilon: bool = False
    noisy_end: bool = False

    @torch.no_grad()
    def run(self, n: int, noises: Sequence[Tensor], monkeypatch: pytest.MonkeyPatch) -> Trajectory:
        """n steps on the scheduler's own grid, with given draws, in float64 where it lets us."""
        kind = getattr(diffusers, self.name)
        prediction = "epsilon" if self.epsilon else "sample"
        scheduler = kind(num_train_timesteps=1000, prediction_type=prediction, **self.options)
        scheduler.set_timesteps(n)
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = scheduler.sigmas.double()
        levels = self.levels(scheduler)
        start, *rest = noises
        module = sys.modules[kind.__module__]
        if hasattr(module, "randn_tensor"):
            monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: rest.pop(0))
        first = levels[0]
        x = start * (first if self.sde is SIGMA else first / (1 + first**2) ** 0.5)
        states, image = [x], x
        for i, t in enumerate(scheduler.timesteps):
            level = levels[i]
            alpha = 1.0 if self.sde is SIGMA else 1 / (1 + level**2) ** 0.5
            image = network(x / alpha, torch.tensor(level))
            output = (x / alpha - image) / level if self.epsilon else image
            scheduler.is_scale_input_called = True
            x = scheduler.step(output, t, x, **self.step).prev_sample.double()
            if i % self.calls == self.calls - 1:
                states.append(x)
        if levels[-1] == 0:
            # The convention of these schedulers: the last step, to level 0, is a denoising.
            assert len(states) == n + (self.calls == 1)
            return Trajectory(levels[: -1 : self.calls], states[:n], x)
        last = levels[-1]
        image = network(x * (1 + last**2) ** 0.5, torch.tensor(last))
        return Trajectory(levels, states, image, whole=not self.noisy_end)

    def levels(self, scheduler: Any) -> list[float]:
        """Noise levels that the scheduler passes through, one a call and the last."""
        if hasattr(scheduler, "sigmas"):
            return scheduler.sigmas.double().tolist()
        a = scheduler.alphas_cumprod[scheduler.timesteps].double()
        return [*((1 - a) / a).sqrt().tolist(), 0.0]


DPM, UNIPC, SA = (
    f"{name}Scheduler" for name in ("DPMSolverMultistep", "UniPCMultistep", "SASolver")
)
EULER, ANCESTRAL, HEUN = (
    f"{name}DiscreteScheduler" for name in ("Euler", "EulerAncestral", "Heun")
)
UNCLIPPED, KARRAS, THIRD = {"clip_sample": False}, {"use_karras_sigmas": True}, {"solver_order": 3}
SDE_2M, ABOVE_0 = {"algorithm_type": "sde-dpmsolver++"}, {"final_sigmas_type": "sigma_min"}


def sa(predictor: int, corrector: int) -> tuple[Solver, Peer]:
    """Noise at all levels; the number of nodes is not lowered at the end."""
    nodes = {"predictor_order": predictor, "corrector_order": corrector, "lower_order_final": False}
    solver = SASolver(predictor, corrector, 1.0, 0.0, 1e9, published=True)
    return solver, Peer(SA, {**nodes, "tau_func": lambda t: 1.0}, noisy_end=True)


CASES: dict[str, tuple[Solver, Peer]] = {
    "ddim": (DDIM(), Peer("DDIMScheduler", UNCLIPPED)),
    "ddim eta=1": (Ancestral(), Peer("DDIMScheduler", UNCLIPPED, {"eta": 1.0})),
    "ddim eta=0.5": (Ancestral(0.5), Peer("DDIMScheduler", UNCLIPPED, {"eta": 0.5})),
    "euler": (DDIM(), Peer(EULER, sde=SIGMA)),
    "euler karras": (DDIM(), Peer(EULER, KARRAS, sde=SIGMA)),
    "euler ancestral": (Ancestral(), Peer(ANCESTRAL, sde=SIGMA, epsilon=True)),
    "heun": (Heun(), Peer(HEUN, sde=SIGMA, calls=2)),
    "heun karras": (Heun(), Peer(HEUN, KARRAS, sde=SIGMA, calls=2)),
    "2m": (DPMpp2M(lower_order_final=True), Peer(DPM)),
    "2m karras": (DPMpp2M(lower_order_final=True), Peer(DPM, KARRAS)),
    "2m above 0": (DPMpp2M(lower_order_final=True), Peer(DPM, ABOVE_0)),
    "3m": (DPMpp3M(lower_order_final=True), Peer(DPM, THIRD)),
    "3m above 0": (DPMpp3M(lower_order_final=True), Peer(DPM, {**THIRD, **ABOVE_0})),
    "3m above 0, all of order 3": (
        DPMpp3M(), Peer(DPM, {**THIRD, **ABOVE_0, "lower_order_final": False})
    ),
    "sde 2m": (DPMpp2MSDE(), Peer(DPM, SDE_2M)),
    "sde 2m karras": (DPMpp2MSDE(), Peer(DPM, {**SDE_2M, **KARRAS})),
    "unipc 1": (UniPC(1, True), Peer(UNIPC, {"solver_order": 1})),
    "unipc 2": (UniPC(2, True), Peer(UNIPC)),
    "unipc 2 above 0": (UniPC(2, True), Peer(UNIPC, ABOVE_0)),
    "unipc 3": (UniPC(3, True), Peer(UNIPC, THIRD)),
    "unipc 3 karras": (UniPC(3, True), Peer(UNIPC, {**THIRD, **KARRAS})),
    "unipc 3 above 0, all of order 3": (
        UniPC(3), Peer(UNIPC, {**THIRD, **ABOVE_0, "lower_order_final": False})
    ),
    "sa 1 2": sa(1, 2),
    "sa 2 2": sa(2, 2),
    "sa 3 4": sa(3, 4),
    # Its default share of noise, 1 where 200 <= t <= 800, is ours between two noise levels.
    "sa default": (
        SASolver(2, 2, 1.0, 0.7, 20.0, published=True, lower_order_final=True), Peer(SA)
    ),
    "sa no noise": (
        SASolver(3, 4, 0.0, published=True, lower_order_final=True),
        Peer(SA, {"predictor_order": 3, "corrector_order": 4, "tau_func": lambda t: 0.0}),
    ),
}  # fmt: skip


def gap(case: str, patch: pytest.MonkeyPatch) -> float:
    """Largest difference over 12 steps, states and image."""
    solver, peer = CASES[case]
    noises = draws(12)
    theirs = peer.run(12, noises, patch)
    found = ours(solver, peer.sde, theirs.levels, noises, whole=theirs.whole)
    return distance(found, theirs, peer.sde)


@pytest.mark.parametrize("case", CASES)
def test_the_trajectory_is_the_schedulers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 steps: every state, and the image at the end, within 1e-5 of a state of variance 1."""
    assert gap(case, monkeypatch) < TOLERANCE


class LogNoise(VP):
    """The time in which diffusers extrapolates: half log-SNR, with its sign changed."""

    def time(self, lam: Tensor) -> Tensor:
        return -lam


def deis_gaps(nodes: int, patch: pytest.MonkeyPatch) -> tuple[float, float]:
    """diffusers' DEIS has its polynomial in log(sigma / alpha), ours (tAB) in the VP time.

    The differences of ours, and of ours with that time put in.
    """
    options = {"solver_order": nodes, "lower_order_final": False}
    peer, noises = Peer("DEISMultistepScheduler", options), draws(12)
    theirs = peer.run(12, noises, patch)
    solver = DEIS(order=nodes - 1)
    published = ours(solver, peer.sde, theirs.levels, noises, whole=theirs.whole)
    solver.vp = LogNoise()
    same = ours(solver, peer.sde, theirs.levels, noises, whole=theirs.whole)
    return distance(published, theirs, peer.sde), distance(same, theirs, peer.sde)


@pytest.mark.parametrize("nodes", [2, 3])
def test_exception_1_deis_is_extrapolated_in_log_rho(
    nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, same = deis_gaps(nodes, monkeypatch)
    assert same < TOLERANCE
    assert published > 100 * TOLERANCE
