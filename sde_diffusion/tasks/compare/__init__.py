"""Which solver, at how many evaluations, judged on how many images?

``plan`` (the cells to run, all checked first), ``cell`` (one on disk, resumed), ``verdict`` (means
over blocks of seeds, and ranks)."""

from sde_diffusion.tasks.compare.task import run

__all__ = ["run"]
