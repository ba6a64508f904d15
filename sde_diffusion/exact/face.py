"""The exact error of a solver that is named, as on the command line."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sde_diffusion.config.compose import build, compose_task
from sde_diffusion.errors import InputError
from sde_diffusion.exact.response import relative_error
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver


def exact_error(
    solver: str,
    nfe: int,
    covariance: Tensor,
    mean: Tensor | None = None,
    sde: str = "edm",
    grid: str | None = None,
    **options: Any,
) -> float:
    """Relative Wasserstein-2 error of what ``solver`` makes of N(mean, covariance) with ``nfe``
    evaluations of its exact denoiser: W2 / sqrt(total variance), without sampling.

    Args:
        solver, sde, grid: names of ``conf/``; grid None is the solver's own.
        covariance, mean: of x_0: a matrix [d, d] or variances [d] of independent coordinates.
        options: further keys, dots written as ``__``: ``solver__order=3``.
    """
    overrides = ["task=sample", f"solver={solver}", f"sde={sde}"]
    overrides += [f"grid={grid}"] if grid else []
    overrides += [f"{k.replace('__', '.')}={v}" for k, v in options.items()]
    config = compose_task(overrides)
    process: SDE = build(config.sde, "sde", SDE)
    chosen: Solver = build(config.solver, "solver", Solver)
    if chosen.grid is not None:
        raise InputError(
            f"solver={solver}: fitted to one network; a Gaussian says nothing of it, give another"
        )
    if config.get("grid") is None:
        raise InputError("grid: this solver names no default grid; choose one, grid=karras")
    times = build(config.grid, "grid", TimeGrid).times(process, chosen.steps(nfe))
    return relative_error(chosen, process, times, covariance, mean)
