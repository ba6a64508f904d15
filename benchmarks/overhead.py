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
from dataclasses import dataclass

import diffusers
import render
import torch
from overhead_cases import CASES, UNLIKE, Case
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

SHAPE = (64, 3, 32, 32)
STEPS, ROUNDS = 20, 31
PREPARED = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
START = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
DRAW = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
SDES: dict[str, SDE] = {"vp": VP(), "sigma": EDM(), "flow": RectifiedFlow()}


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
    values = {
        "shape": " x ".join(map(str, SHAPE)),
        "steps": STEPS,
        "rounds": ROUNDS,
        "diffusers": diffusers.__version__,
        "met": len(found) - len(missed),
        "of": len(found),
        "exceptions": exceptions,
        "alike": render.table(head, [line for line, _ in found]),
        "unlike": render.table(head[:-3], [line[:-3] for line, _ in unlike]),
        "seconds": time.perf_counter() - start,
    }
    render.page("overhead", values)


if __name__ == "__main__":
    main()
