"""What does a solver cost outside the network, beside diffusers' scheduler of the same method?

diffusers is needed: the extra [peers].
"""

from __future__ import annotations

import copy
import ctypes
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import render
import torch
from torch import Tensor, nn

from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import EpsilonPrediction
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import EDM, SDE, VP, RectifiedFlow
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask
from sde_diffusion.system.provenance import machine

SHAPE = (64, 3, 32, 32)
STEPS, ROUNDS = 20, 31
PREPARED = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
START = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
DRAW = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
SDES: dict[str, SDE] = {"vp": VP(), "sigma": EDM(), "flow": RectifiedFlow()}


@dataclass(frozen=True)
class Case:
    """A solver and the scheduler of the same method.

    Attributes:
        process: the coordinates that the scheduler works in; ours gets the same.
        several: a multistep solver, of which half the peer's time is asked; else all of it.
        predictions: what the scheduler can be given: the denoised image ("sample"), the noise
            ("epsilon"), the velocity.
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
    several("LMS-4", "solver=lms", "LMSDiscreteScheduler", process="sigma"),
    several("SA-Solver 2, 2", "solver=sa_solver solver.predictor=2 solver.corrector=2", SA,
            {"tau_func": lambda t: 1.0}),
    several("SA-Solver 3, 4", "solver=sa_solver", SA,
            {"predictor_order": 3, "corrector_order": 4, "tau_func": lambda t: 1.0}),
    Case("DDIM", ["solver=ddim"], "DDIMScheduler", {"clip_sample": False}),
    Case("Euler", ["solver=ddim"], "EulerDiscreteScheduler", process="sigma"),
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
# What a peer is handed here is the slope itself; ours, handed the image, must make it.
UNLIKE = [
    several("iPNDM-4", "solver=ipndm", "PNDMScheduler", {"skip_prk_steps": True},
            predictions=EPSILON),
    Case("DDIM, rectified flow", ["solver=ddim"], "FlowMatchEulerDiscreteScheduler",
         process="flow", predictions=("velocity",)),
]  # fmt: skip


class Ready(nn.Module):
    """A network that has its answer ready: it takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))  # whose dtype is the network's

    def forward(self, x: Tensor, c_noise: Tensor, cond: object) -> Tensor:
        return PREPARED


class Drawn(Noise):
    """Noise that is drawn already."""

    def normal(self, t: float, s: float) -> Tensor:
        return DRAW

    def fresh(self) -> Tensor:
        return DRAW

    def entropy(self) -> list[int]:
        raise AssertionError("nothing here draws its own numbers")


def denoiser(prediction: str) -> Denoiser:
    """One that is given the denoised image, or one that is given the noise and makes the image."""
    if prediction == "epsilon":
        return NetworkDenoiser(Ready(), EpsilonPrediction(), SHAPE[1:])
    return FunctionDenoiser(lambda y, sigma: PREPARED, SHAPE[1:])


@dataclass(frozen=True)
class Ours:
    """Our trajectories, from the start to the last state, and the network calls of one."""

    known: Callable[[], Tensor]
    anew: Callable[[], Tensor]  # on a grid that no solver has seen: all its coefficients are new
    calls: int


def ours(case: Case, prediction: str) -> Ours:
    config = compose_task(["task=sample", *case.words])
    solver: Solver = build(config.solver, "solver", Solver)
    grid: TimeGrid = build(config.grid, "grid", TimeGrid)
    sde, asked = SDES[case.process], denoiser(prediction)
    times = grid.times(sde, STEPS)
    x = sde.prior(START, times[0])

    def known() -> Tensor:
        return solver.solve(Ask(sde, asked), x, times, Drawn())

    known()
    calls = asked.evaluations // SHAPE[0]
    unseen = []
    for k in range(ROUNDS + 1):
        grid.sigma_max = 79.0 + k / 100
        unseen.append(grid.times(sde, STEPS))
    return Ours(known, lambda: solver.solve(Ask(sde, asked), x, unseen.pop(), Drawn()), calls)


def theirs(case: Case, prediction: str, calls: int) -> Callable[[], Tensor]:
    """As many calls of the scheduler, each with the same answer of the network."""
    kind = getattr(diffusers, case.peer)
    options = dict(case.options)
    if "prediction_type" in kind().config:
        options["prediction_type"] = prediction
    prepared = kind(num_train_timesteps=1000, **options)
    prepared.set_timesteps(calls)
    sys.modules[kind.__module__].randn_tensor = lambda *a, **k: DRAW

    def walk() -> Tensor:
        scheduler, x = copy.copy(prepared), START
        for name in ("ets", "derivatives", "model_outputs", "timestep_list"):
            if hasattr(scheduler, name):
                setattr(scheduler, name, list(getattr(scheduler, name)))
        scheduler.is_scale_input_called = True  # or it warns at each step
        for t in scheduler.timesteps[:calls]:
            if prediction == "epsilon":
                scheduler.scale_model_input(x, t)
            x = scheduler.step(PREPARED, t, x, **case.step).prev_sample
        return x

    return walk


def medians(walks: list[Callable[[], Tensor]], calls: int) -> list[float]:
    """Median milliseconds a network call of each, interleaved: a busy moment hits all alike.

    Of processor time, in which other work on the machine does not count; one thread does it all.
    """
    spent: list[list[float]] = [[] for _ in walks]
    for _ in range(ROUNDS + 1):
        for own, walk in zip(spent, walks, strict=True):
            start = time.thread_time()
            walk()
            own.append(1000 * (time.thread_time() - start) / calls)
    return [statistics.median(own[1:]) for own in spent]


def row(case: Case) -> tuple[list[str], bool]:
    """A line of the table, and whether the target is met."""
    walks = ours(case, "sample")
    peer = theirs(case, case.predictions[0], walks.calls)
    known, anew, their = medians([walks.known, walks.anew, peer], walks.calls)
    line = [case.label, case.peer.removesuffix("Scheduler"), f"{known:.3f}", f"{their:.3f}"]
    met = known / their <= case.target
    ratio = f"{known / their:.2f}"
    line += [ratio if met else f"**{ratio}**", f"{case.target}", f"{anew / their:.2f}"]
    if "epsilon" not in case.predictions:
        return [*line, "-"], met
    walks = ours(case, "epsilon")
    known, their = medians([walks.known, theirs(case, "epsilon", walks.calls)], walks.calls)
    return [*line, f"{known / their:.2f}"], met


def keep_freed_memory() -> None:
    """Let the allocator of Linux keep what is freed, as that of a GPU does.

    Else each large tensor may cost page faults, at random; those who allocate more gain more.
    """
    if platform.system() == "Linux":
        mallopt = ctypes.CDLL(None).mallopt
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, 2**30)


@torch.no_grad()
def main() -> None:
    """Write overhead.md."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = [row(case) for case in CASES]
    unlike = [row(case) for case in UNLIKE]
    missed = [line[0] for line, met in found if not met]
    exceptions = f": not {', '.join(missed)}" if missed else ""
    head = ["solver", "diffusers' scheduler", "ours, ms a call", "theirs, ms a call", "ratio",
            "target", "ratio, new grid", "ratio, noise network"]  # fmt: skip
    facts = machine()
    text = f"""# What a solver costs outside the network

Milliseconds of processor time between two network calls, on a batch of
{" x ".join(map(str, SHAPE))} in float32: a whole trajectory of {STEPS} steps with the answers of
the network and all noise at hand, over its number of network calls; median of {ROUNDS} runs, ours
and theirs in turn, one thread. Both are handed the denoised image, or theirs the noise where it
takes nothing else (iPNDM, Euler's ancestral scheduler, KDPM2). Ours includes the division by alpha
that makes the network's input. Targets: half of the time of diffusers {diffusers.__version__} for
multistep solvers, no more than it for others.
**{len(found) - len(missed)} of {len(found)}** are met{exceptions}.

{render.markdown(head, [line for line, _ in found])}

The coefficients of a grid are computed for the first batch that walks it and looked up for the
next; *new grid* has them all computed anew, which diffusers does in `set_timesteps`, left out here.
*Noise network* has both handed the noise that a network predicts, and counts all that lies between
two calls of it: our preconditioning in and out, their `scale_model_input`.

Freed memory is kept by the allocator, as on a GPU: without that, page faults make both slower, at
random. What remains is passes over memory: a step is one new tensor and one pass for each
prediction it uses.

Not the same work, for what these schedulers are handed is the slope itself, while ours, handed the
image, makes it:

{render.markdown(head[:-3], [line[:-3] for line, _ in unlike])}

## Where the numbers come from

- command: `python benchmarks/{Path(sys.argv[0]).name}` ({time.perf_counter() - start:.0f} s;
  needs the extra `[peers]`)
- machine: {facts["machine"]}
- date: {facts["date"]}, revision: {facts["revision"]}
"""
    render.written("overhead", text)
    print(text)


if __name__ == "__main__":
    main()
