"""The scheduler_config.json of a model, from which ``read_schedule`` has its path and its grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sde_diffusion.errors import InputError
from sde_diffusion.models.schedulers import BETAS, PREDICTIONS, read_schedule
from sde_diffusion.models.spec import Spec
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.timesteps import ByTimestep, FlowShift
from sde_diffusion.system.notice import once

Config = dict[str, Any]


def scheduler_config(spec: Spec) -> Config:
    """What says what the model is, with its own grid where a scheduler lays it; one line where
    none does.

    Only schedulers whose latents have the scale of DDIM's, as the pipelines that are written walk
    them. InputError for a path that diffusers does not know.
    """
    flow = spec.parameterization == "straight"
    plain = _flow(spec.parameterization_args) if flow else _discrete(spec.parameterization_args)
    grid = spec.grid
    if grid is None:
        return plain
    for config in _candidates(plain, grid):
        if _lays(config, grid):
            return config
    once(
        f"format=diffusers: no scheduler that its pipeline walks lays the levels of {grid}; evenly "
        "spread ones are written"
    )
    return plain


def _flow(arguments: Mapping[str, Any]) -> Config:
    scale = arguments.get("scale", 1000.0)
    if arguments.get("from_data", False):
        raise InputError(
            "format=diffusers: the network is told 1 - t and predicts x_0 - n, and flows of "
            "diffusers are the other way; give format=safetensors"
        )
    if scale != int(scale) or scale < 2:
        raise InputError(
            f"format=diffusers: the network is told {scale:g} t, and flows of diffusers a whole "
            "number of levels; give format=safetensors"
        )
    name = "FlowMatchEulerDiscreteScheduler"
    return {"_class_name": name, "num_train_timesteps": int(scale), "shift": 1.0}


def _discrete(arguments: Mapping[str, Any]) -> Config:
    betas = {ours: theirs for theirs, ours in BETAS.items()}
    predictions = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    trained = arguments.get("trained_betas")
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(trained) if trained else arguments.get("timesteps", 1000),
        "beta_schedule": betas[arguments.get("betas", "linear")],
        "beta_start": arguments.get("beta_start", 1e-4),
        "beta_end": arguments.get("beta_end", 0.02),
        "trained_betas": trained,
        "rescale_betas_zero_snr": arguments.get("zero_terminal_snr", False),
        "prediction_type": predictions[arguments.get("predicts", "epsilon")],
        "timestep_spacing": "trailing",
        "clip_sample": False,
    }


def _candidates(plain: Config, grid: TimeGrid) -> Iterator[Config]:
    """Configs whose classes lay levels in the ways that there are, with the fields of a grid."""
    if isinstance(grid, FlowShift):
        yield {**plain, "shift": grid.shift}
        flow = {
            "num_train_timesteps": plain["num_train_timesteps"],
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": grid.shift,
        }
        for name in ("UniPCMultistepScheduler", "DPMSolverMultistepScheduler"):
            yield {"_class_name": name, **flow}
    if isinstance(grid, ByTimestep):
        laid = {**plain, "timestep_spacing": grid.spacing, "steps_offset": grid.offset}
        yield laid
        yield {**laid, "_class_name": "DDIMScheduler", "set_alpha_to_one": grid.to_zero}
        spread = {} if grid.spread == "none" else {f"use_{grid.spread}_sigmas": True}
        yield {**laid, **spread, "_class_name": "DPMSolverMultistepScheduler"}


def _lays(config: Config, grid: TimeGrid) -> bool:
    """Whether what is read of ``config`` is that grid."""
    try:
        read = read_schedule(config).grid
    except InputError:
        return False
    return type(read) is type(grid) and read.fields() == grid.fields()
