"""The best solver and grid for a data set, exactly, with no network."""

from sde_diffusion.tasks.analyse.task import run

__all__ = ["run"]
