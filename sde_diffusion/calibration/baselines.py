"""The standard solvers on the same noises: what a calibration is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Karras, LogSNR, TimeGrid, VPTime
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.deis import DEIS
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_3m import DPMpp3M
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.ipndm import IPNDM
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.unipc import UniPC

SOLVERS: dict[str, Solver] = {
    "ddim": DDIM(),
    "heun": Heun(),
    "dpmpp_2m": DPMpp2M(),
    "dpmpp_3m": DPMpp3M(),
    "unipc2": UniPC(2),
    "unipc3": UniPC(3),
    "deis": DEIS(),
    "ipndm": IPNDM(),
}
GRIDS: dict[str, type[TimeGrid]] = {"karras": Karras, "logsnr": LogSNR, "vptime": VPTime}
# A few that lead at few evaluations: what a calibration shows itself beside.
FEW = (
    ("deis", "karras"),
    ("deis", "vptime"),
    ("ipndm", "vptime"),
    ("unipc2", "vptime"),
    ("unipc3", "vptime"),
    ("dpmpp_2m", "logsnr"),
)
ALL = tuple(product(SOLVERS, GRIDS))


def standard_ends(
    denoiser: Denoiser,
    seeds: Sequence[int],
    cond: Condition | None,
    calls: int,
    sigma_min: float,
    sigma_max: float,
    pairs: Sequence[tuple[str, str]] = FEW,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
) -> dict[tuple[str, str], Tensor]:
    """Images [N, *shape] of each (solver, grid) that ``calls`` of the denoiser buy.

    Args:
        seeds, cond: of the noises, a row each; None is no condition. calls: of the denoiser a row.
        sigma_min, sigma_max: the ends of all grids. pairs: names of a solver and a grid each.
        batch_size: rows at once. device: where the denoiser is.
    """
    by_solver = {}
    for name, grid in pairs:
        ends = GRIDS[grid](sigma_min=sigma_min, sigma_max=sigma_max)
        sampler = Sampler.build(EDM(), denoiser, SOLVERS[name], ends)
        try:
            sampler.steps(calls * denoiser.cost)
        except InputError:  # Heun buys no whole step with an odd number of calls
            continue
        request = Request(seeds, calls * denoiser.cost, cond)
        drawn = sampler.sample(request, Execution(batch_size, device=device))
        by_solver[name, grid] = drawn.x
    return by_solver


class Basis:
    """A denoiser of coefficients: a state is its coefficients on y_0, e_0, e_1, ...

    Each answer is y_j - r_j e_j with an e_j of its own, so that what a solver does to its state is
    read off exactly, whatever its formulas are.
    """

    def __init__(self, size: int) -> None:
        self.states: list[Tensor] = []
        self.asked: list[float] = []
        self.denoiser = FunctionDenoiser(self._denoise, (size,), 1e-9, 1e9)

    def _denoise(self, y: Tensor, level: Tensor) -> Tensor:
        self.states.append(y[0].clone())
        self.asked.append(float(level.flatten()[0]))
        answer = y.clone()
        answer[:, len(self.asked)] -= self.asked[-1]
        return answer


def as_rule(solver: Solver, levels: Tensor) -> Rule:
    """A deterministic solver that is linear in the denoiser's answers, on ``levels``, as a rule.

    InputError for one that is not (norms, scaling of the start, noise).
    """
    n = len(levels) - 1
    if solver.stochastic or not solver.linear:
        raise InputError(f"solver={type(solver).__name__}: no linear map of the answers")
    size = 4 * n + 2  # some ask more than once a step
    basis = Basis(size)
    y = torch.zeros(1, size, dtype=torch.float64)
    y[0, 0] = 1.0
    noise = Seeds().batch([0], (size,), torch.float64)
    end = solver.solve(Ask(EDM(), basis.denoiser), y, levels, noise)
    calls = len(basis.asked)
    states = torch.stack([*basis.states, end[0]])
    moves = (states[1:] - states[:-1])[:, 1 : calls + 1]
    asked = torch.tensor(basis.asked, dtype=torch.float64)
    named = torch.cat([asked, levels[-1:].double()])
    return Rule(named, asked, moves.contiguous(), normal=torch.zeros(calls, calls).double())
