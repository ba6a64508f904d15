"""The exact error of a solver on a Gaussian, from Python."""

from __future__ import annotations

from typing import Any, overload

from sde_diffusion.config.options import Options, default_grid
from sde_diffusion.errors import InputError
from sde_diffusion.exact.response import relative_error
from sde_diffusion.face import values
from sde_diffusion.face.keywords import keywords
from sde_diffusion.process.sde import SDE
from sde_diffusion.solvers.base import Solver

GROUPS = ("solver", "sde", "grid")


@overload
def exact_error(
    solver: Any,
    nfe: int,
    covariance: Any,
    mean: Any = None,
    sde: Any = "edm",
    grid: Any = None,
    **options: Any,
) -> float: ...
@overload
def exact_error(
    solver: Any,
    nfe: Any,
    covariance: Any,
    mean: Any = None,
    sde: Any = "edm",
    grid: Any = None,
    **options: Any,
) -> dict[int, float]: ...
@keywords(*GROUPS)
def exact_error(
    solver: Any,
    nfe: Any,
    covariance: Any,
    mean: Any = None,
    sde: Any = "edm",
    grid: Any = None,
    **options: Any,
) -> float | dict[int, float]:
    """Relative Wasserstein-2 error of what ``solver`` makes of N(mean, covariance) with ``nfe``
    evaluations of its exact denoiser: W2 / sqrt(total variance), without sampling.

    Args:
        solver, sde, grid: objects, or names of ``conf/``; grid is also a list of noise levels, or
            None for the solver's own.
        nfe: one number of evaluations, or several, whose errors come by number.
        covariance, mean: of x_0: a matrix [d, d] or variances [d] of independent coordinates, a
            tensor or an array.
        options: fields of what is given by name: ``solver__order=3``.
    """
    fields = Options.of(options, GROUPS)
    process: SDE = fields.one("sde", sde)
    chosen: Solver = fields.one("solver", solver)
    if chosen.grid is not None:
        raise InputError(
            f"solver={solver}: fitted to one network; a Gaussian says nothing of it, give another"
        )
    if not chosen.linear:
        raise InputError(
            f"solver={solver}: no linear map of the state (norms of it, or error control), so its "
            "error is not known exactly; give another, or use compare"
        )
    name = default_grid(solver) if grid is None else values.levels_as_grid(grid)
    if name is None:
        raise InputError("grid: this solver names no default grid; choose one, grid=karras")
    walked = fields.one("grid", name)
    like = "a covariance [d, d], or variances [d]"
    spread = values.tensor("covariance", covariance, like)
    centre = None if mean is None else values.tensor("mean", mean, "a mean [d]")
    budgets = values.several("nfe", nfe, 1)
    errors = {
        n: relative_error(chosen, process, walked.times(process, chosen.steps(n)), spread, centre)
        for n in budgets
    }
    return errors if values.is_several(nfe) else errors[budgets[0]]
