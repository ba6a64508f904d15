"""Rules of few evaluations for one model, without back-propagation."""

from sde_diffusion.tasks.calibrate.task import run

__all__ = ["run"]
