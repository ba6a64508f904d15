"""What a host's network is: prediction, levels and labels, from whatever says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS, Parameterization
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.models.schedulers import ReadSchedule, in_pipeline, read_schedule
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.timesteps import FlowShift
from sde_diffusion.system.notice import once

CLIPS = ("clip_sample", "clip_denoised", "thresholding")
GIVE = "give the pipeline's own as third: SolverScheduler(UniPC(3), grid, pipe.scheduler)"


class Facts(NamedTuple):
    """Of a network that a host calls.

    Attributes:
        parameterization: D = c_skip y + c_out F(c_in y, c_noise); a host's latents are c_in y.
        sigma_min, sigma_max: levels that it was trained on. grid: its own.
        identity: fingerprint of its weights, where it is known. config: entries of the scheduler.
        flow: whether latents begin as the noise itself.
    """

    parameterization: Parameterization
    sigma_min: float
    sigma_max: float
    grid: TimeGrid | None
    identity: str
    config: Mapping[str, Any]
    flow: bool


def facts_of(model: Any, grid: TimeGrid | None) -> Facts:
    """Of a pipeline, a scheduler, its config, or a model of this package.

    Args:
        grid: where ``model`` is None, one that only flows have says that it is one.
    """
    if isinstance(model, OpenedModel):
        return _of_model(model)
    if model is None and isinstance(grid, FlowShift):
        model = {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": grid.timesteps,
        }
    if model is None:
        raise InputError(
            f"model: nothing says what the network predicts, and at which levels; {GIVE}"
        )
    if isinstance(facts := getattr(_scheduler(model), "facts", None), Facts):
        return facts  # of one of ours, which stands in the model's place already
    config = _config(model)
    schedule = read_schedule(config)
    _notice(schedule)
    parameterization = PARAMETERIZATIONS[schedule.parameterization](**schedule.arguments)
    return Facts(
        parameterization,
        schedule.sigma_min,
        schedule.sigma_max,
        in_pipeline(schedule, config),
        "",
        config,
        schedule.parameterization == "straight",
    )


def owner(model: Any) -> Any:
    """The scheduler that ``model`` is or has, of ours the one before it; None of anything else."""
    held = _scheduler(model)
    return held.own if hasattr(held, "own") else held if hasattr(held, "set_timesteps") else None


def _scheduler(model: Any) -> Any:
    """That of a pipeline, or what was given."""
    return getattr(model, "scheduler", model)


def _notice(schedule: ReadSchedule) -> None:
    """One line of what a scheduler does to the denoised image and none of ours does in a host."""
    left = [f.key for f in schedule.findings if f.key in CLIPS and not f.honoured]
    if left:
        once(f"SolverScheduler: {', '.join(left)} of the model's scheduler: not done here")


def _of_model(model: OpenedModel) -> Facts:
    denoiser = model.denoiser
    if not isinstance(denoiser, NetworkDenoiser):
        raise InputError(f"model={model.name}: no network of a pipeline; {GIVE}")
    parameterization = denoiser.parameterization
    low, high = denoiser.sigma_min, denoiser.sigma_max
    flow = math.isclose(parameterization.scalars(1.0).c_in, 0.5)
    return Facts(parameterization, low, high, model.grid, denoiser.identity, {}, flow)


def not_a_grid(grid: Any) -> None:
    """InputError for what says what the network is, in the place of a grid."""
    if isinstance(grid, OpenedModel) or _read(grid) is not None:
        raise InputError(f"grid={type(grid).__name__}: says what the network is; give it as model=")


def _config(model: Any) -> Mapping[str, Any]:
    """The entries of a scheduler's config, of itself or of its pipeline."""
    if (config := _read(model)) is None:
        held = _scheduler(model)
        if isinstance(getattr(held, "config", held), Mapping):
            raise InputError(
                "model: a config without its _class_name, which says how its levels are laid; give "
                "the scheduler itself, SolverScheduler(UniPC(3), grid, pipe.scheduler)"
            )
        raise InputError(
            f"model={type(model).__name__}: no pipeline, scheduler or its config; {GIVE}"
        )
    return config


def _read(model: Any) -> Mapping[str, Any] | None:
    held = _scheduler(model)
    config = getattr(held, "config", held)
    named = {} if config is held else {"_class_name": type(held).__name__}
    if not isinstance(config, Mapping) or "_class_name" not in {**config, **named}:
        return None
    return {**config, **named}
