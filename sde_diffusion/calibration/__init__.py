"""Calibration of few-step rules to a model; ``solvers.calibrated`` runs what it makes."""

from sde_diffusion.calibration.calibrate import Fitted, Settings, calibrate
from sde_diffusion.calibration.trajectory import Trajectories, trajectories

__all__ = ["Fitted", "Settings", "Trajectories", "calibrate", "trajectories"]
