"""The standard solvers on the same noises as a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sde_diffusion.calibration.baselines import FEW, GRIDS, SOLVERS
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler

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
