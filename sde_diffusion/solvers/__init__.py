"""Solvers of the reverse process, one a file."""

from sde_diffusion.solvers.base import BlackBox, Solver, StepSolver

__all__ = ["BlackBox", "Solver", "StepSolver"]
