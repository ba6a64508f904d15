"""The exact error of a solver that is named, as on the command line."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sde_diffusion.config.options import Options, default_grid
from sde_diffusion.errors import InputError
from sde_diffusion.exact.response import relative_error
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver


def exact_error(
    solver: Any,
    nfe: int,
    covariance: Tensor,
    mean: Tensor | None = None,
    sde: Any = "edm",
    grid: Any = None,
    **options: Any,
) -> float:
    """Relative Wasserstein-2 error of what ``solver`` makes of N(mean, covariance) with ``nfe``
    evaluations of its exact denoiser: W2 / sqrt(total variance), without sampling.

    Args:
        solver, sde, grid: names of ``conf/``, or objects; grid None is the solver's own.
        covariance, mean: of x_0: a matrix [d, d] or variances [d] of independent coordinates.
        options: fields of what is given by name: ``solver__order=3``.
    """
    fields = Options.of(options, ("solver", "sde", "grid"))
    process: SDE = fields.one("sde", sde)
    chosen: Solver = fields.one("solver", solver)
    if chosen.grid is not None:
        raise InputError(
            f"solver={solver}: fitted to one network; a Gaussian says nothing of it, give another"
        )
    name = default_grid(solver) if grid is None else grid
    if name is None:
        raise InputError("grid: this solver names no default grid; choose one, grid=karras")
    times = fields.one("grid", name).times(process, chosen.steps(nfe))
    return relative_error(chosen, process, times, covariance, mean)
