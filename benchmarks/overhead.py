"""What does a solver cost outside the network, beside diffusers' scheduler of the same method?"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from sde_diffusion.config import build, compose_task
from sde_diffusion.denoiser import Denoiser, FunctionDenoiser, NetworkDenoiser
from sde_diffusion.grid import TimeGrid
from sde_diffusion.noise import Noise
from sde_diffusion.parameterization import Epsilon
from sde_diffusion.reverse import Reverse
from sde_diffusion.sde import EDM, SDE, VP, RectifiedFlow
from sde_diffusion.solvers.base import Solver

SHAPE = (64, 3, 32, 32)
STEPS, ROUNDS = 20, 41
PREPARED = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
START = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
DRAW = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
SDES: dict[str, SDE] = {"vp": VP(), "sigma": EDM(), "flow": RectifiedFlow()}


@dataclass(frozen=True)
class Case:
    """A solver and the scheduler of the same method.

    Attributes:
        process: the coordinates that the scheduler works in; ours gets the same.
        several: whether the solver uses more than one prediction a step, so that half the peer's
            time is asked for; else all of it.
        predictions: what the scheduler can be given: the denoised image, the noise.
    """

    label: str
    words: list[str]
    peer: str
    options: dict[str, Any] = field(default_factory=dict)
    step: dict[str, Any] = field(default_factory=dict)
    process: str = "vp"
    several: bool = False
    predictions: tuple[str, ...] = ("sample", "epsilon")

    @property
    def target(self) -> float:
        return 0.5 if self.several else 1.0


def several(
    label: str, words: str, peer: str, options: dict[str, Any] | None = None, process: str = "vp",
    predictions: tuple[str, ...] = ("sample", "epsilon"),
) -> Case:  # fmt: skip
    """A case of a multistep solver."""
    return Case(label, words.split(), peer, options or {}, {}, process, True, predictions)


DPM, UNIPC, DEIS, SA = (
    f"{name}Scheduler"
    for name in ("DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "SASolver")
)
EPSILON = ("epsilon",)
CASES = [
    several("DPM-Solver++ 2M", "solver=dpmpp_2m", DPM),
    several("DPM-Solver++ 3M", "solver=dpmpp_3m", DPM, {"solver_order": 3}),
    several("SDE-DPM-Solver++ 2M", "solver=dpmpp_2m_sde", DPM,
            {"algorithm_type": "sde-dpmsolver++"}),
    several("UniPC-2", "solver=unipc", UNIPC),
    several("UniPC-3", "solver=unipc solver.order=3", UNIPC, {"solver_order": 3}),
    several("DEIS-tAB1", "solver=deis solver.order=1", DEIS, {"solver_order": 2}),
    several("DEIS-tAB2", "solver=deis solver.order=2", DEIS, {"solver_order": 3}),
    several("iPNDM-4", "solver=ipndm", "IPNDMScheduler", process="sigma", predictions=EPSILON),
    several("iPNDM-4 (PNDM)", "solver=ipndm", "PNDMScheduler", {"skip_prk_steps": True},
            predictions=EPSILON),
    several("LMS-4", "solver=lms", "LMSDiscreteScheduler", process="sigma"),
    several("SA-Solver 2, 2", "solver=sa_solver solver.predictor=2 solver.corrector=2", SA,
            {"tau_func": lambda t: 1.0}),
    several("SA-Solver 3, 4", "solver=sa_solver", SA,
            {"predictor_order": 3, "corrector_order": 4, "tau_func": lambda t: 1.0}),
    Case("DDIM", ["solver=ddim"], "DDIMScheduler", {"clip_sample": False}),
    Case("Euler", ["solver=ddim"], "EulerDiscreteScheduler", process="sigma"),
    Case("Euler, rectified flow", ["solver=ddim"], "FlowMatchEulerDiscreteScheduler",
         process="flow", predictions=("velocity",)),
    Case("ancestral", ["solver=ancestral"], "DDIMScheduler", {"clip_sample": False}, {"eta": 1.0}),
    Case("ancestral (DDPM)", ["solver=ancestral"], "DDPMScheduler", {"clip_sample": False}),
    Case("ancestral (Euler)", ["solver=ancestral"], "EulerAncestralDiscreteScheduler",
         process="sigma", predictions=EPSILON),
    Case("Heun", ["solver=heun"], "HeunDiscreteScheduler", process="sigma"),
    Case("DPM-Solver-2", ["solver=dpm2"], "KDPM2DiscreteScheduler", process="sigma",
         predictions=EPSILON),
    Case("DPM-Solver++ 2S", ["solver=dpmpp_2s"], "DPMSolverSinglestepScheduler"),
    Case("ancestral over DPM-Solver-2", ["solver=renoise"], "KDPM2AncestralDiscreteScheduler",
         process="sigma", predictions=EPSILON),
]  # fmt: skip


class Fixed(nn.Module):
    """A network that has its answer ready: it takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.dtype_of = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, c_noise: Tensor, cond: object) -> Tensor:
        return PREPARED


class Drawn(Noise):
    """Noise that is drawn already."""

    def normal(self, t: Tensor, s: Tensor) -> Tensor:
        return DRAW

    def fresh(self) -> Tensor:
        return DRAW

    def entropy(self) -> list[int]:
        raise AssertionError("nothing here draws its own numbers")


def denoiser(prediction: str) -> Denoiser:
    """One that is given the denoised image, or one that is given the noise and makes the image."""
    if prediction == "epsilon":
        return NetworkDenoiser(Fixed(), Epsilon(), SHAPE[1:])
    return FunctionDenoiser(lambda y, sigma: PREPARED, SHAPE[1:])


def ours(case: Case, prediction: str) -> tuple[Callable[[], Tensor], int]:
    """A whole trajectory, from the start to the last state, and its number of network calls."""
    config = compose_task(["task=sample", *case.words])
    solver: Solver = build(config.solver, "solver", Solver)
    sde = SDES[case.process]
    times = build(config.grid, "grid", TimeGrid).times(sde, STEPS)
    asked = denoiser(prediction)
    x = sde.prior(START, times[0])

    def walk() -> Tensor:
        return solver.solve(Reverse(sde, asked), x, times, Drawn())

    walk()
    return walk, asked.evaluations // SHAPE[0]


def theirs(case: Case, prediction: str, calls: int) -> Callable[[], Tensor]:
    """As many calls of the scheduler."""
    kind = getattr(diffusers, case.peer)
    options = dict(case.options)
    if prediction != "velocity" and "prediction_type" in kind().config:
        options["prediction_type"] = prediction
    fresh = kind(num_train_timesteps=1000, **options)
    fresh.set_timesteps(STEPS + 1 if case.peer != "PNDMScheduler" else STEPS)

    def walk() -> Tensor:
        scheduler, x = copy.copy(fresh), START
        for name in ("ets", "derivatives", "model_outputs"):
            if hasattr(fresh, name):
                setattr(scheduler, name, list(getattr(fresh, name)))
        scheduler.is_scale_input_called = True  # or it warns at each step
        for t in scheduler.timesteps[:calls]:
            if prediction == "epsilon":
                scheduler.scale_model_input(x, t)
            x = scheduler.step(PREPARED, t, x, **case.step).prev_sample
        return x

    sys.modules[kind.__module__].randn_tensor = lambda *a, **k: DRAW
    return walk


def ratio(case: Case, prediction: str) -> tuple[float, float, float]:
    """Milliseconds a network call of ours and of theirs, and the median of their ratios."""
    our_walk, calls = ours(case, prediction if prediction == "epsilon" else "sample")
    their_walk = theirs(case, prediction, calls)
    their_walk()
    spent: list[tuple[float, float]] = []
    for _ in range(ROUNDS):  # interleaved, so that a busy moment hits both
        marks = [time.perf_counter()]
        for walk in (our_walk, their_walk):
            walk()
            marks.append(time.perf_counter())
        spent.append((marks[1] - marks[0], marks[2] - marks[1]))
    own, their = (1000 * statistics.median(column) / calls for column in zip(*spent, strict=True))
    return own, their, statistics.median(a / b for a, b in spent)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    for case in CASES:
        first = case.predictions[0]
        own, their, r = ratio(case, first)
        text = f"{case.label:30} {case.target} {first:8} {own:.3f} {their:.3f} {r:.2f}"
        if "epsilon" in case.predictions:
            own, their, r = ratio(case, "epsilon")
            text += f" | {own:.3f} {their:.3f} {r:.2f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
