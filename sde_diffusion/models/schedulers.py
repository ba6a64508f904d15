"""What a scheduler_config.json of diffusers says of its model: prediction, levels, and a grid.

Every key is honoured, or stands in a ``Finding`` that says so and what to give in its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sde_diffusion.denoisers.convention import Convention
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.models.opened import Finding
from sde_diffusion.models.scheduler_keys import FILE as FILE
from sde_diffusion.models.scheduler_keys import SWITCHED, Reader
from sde_diffusion.process.few_steps import FewSteps, Skipped
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.process.spread import Exponential, KarrasToZero
from sde_diffusion.process.timesteps import SPREADS, ByTimestep, FlowShift
from sde_diffusion.system.spelling import did_you_mean

# Classes by the way they lay their levels, without the word Scheduler; the method of each here.
PLAIN = {
    "DDIM": "ddim",
    "DDIMParallel": "ddim",
    "DDPM": "ancestral",
    "DDPMParallel": "ancestral",
    "PNDM": "ipndm",
}
SIGMA = {
    "EulerDiscrete": "ddim",
    "EulerAncestralDiscrete": "ancestral",
    "HeunDiscrete": "heun",
    "LMSDiscrete": "lms",
    "KDPM2Discrete": "dpm2",
    "KDPM2AncestralDiscrete": "ancestral",
    "DPMSolverSDE": "dpmpp_2m_sde",
}
BEYOND = {
    "DPMSolverMultistep": "dpmpp_2m",
    "DPMSolverSinglestep": "dpmpp_2s",
    "UniPCMultistep": "unipc",
    "DEISMultistep": "deis",
    "SASolver": "sa_solver",
}
FLOW = {"FlowMatchEulerDiscrete": "ddim", "FlowMatchHeunDiscrete": "heun"}
# Networks behind EDM's preconditioning, told log(sigma) / 4.
EDM = {"EDMEuler": "ddim", "EDMDPMSolverMultistep": "dpmpp_2m"}
# Their network answers with an end of the path, not with the mean of the images.
ENDS = {"LCM": "consistency", "CMStochasticIterative": "consistency", "TCD": "tcd"}
SOLVERS = {**PLAIN, **SIGMA, **BEYOND, **FLOW, **EDM, **ENDS}
# What a class does where a config does not say it, and none of ours does unasked.
CLIPPED = dict.fromkeys(("DDIM", "DDIMParallel", "DDPM", "DDPMParallel"), "clip_sample")
UNSAID = {**CLIPPED, "CMStochasticIterative": "clip_denoised"}
CONSISTENCY = ("SCM", "FlowMatchLCM", "FlowMapEulerDiscrete")  # likewise, and not read
PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
BETAS = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "squaredcos",
    "sigmoid": "sigmoid",
}
SPACINGS = ("leading", "trailing", "linspace")
PRECONDITIONED = {"epsilon": "karras", "v_prediction": "minus_karras"}
SIGMA_SCHEDULES = ("karras", "exponential")
FINALS = ("zero", "sigma_min")
FLOW_MIN = 1e-6  # a flow's network takes any t > 0


def ends_said(solver: str) -> str:
    """What a distilled model answers with, and the solver that draws it."""
    return f"the end of the path: a distilled model, no denoiser; solver={solver}"


def predicted(schedule: ReadSchedule) -> str:
    """What the network of a schedule answers with, for a reader."""
    if schedule.solver in ENDS.values():
        return ends_said(schedule.solver)
    arguments = schedule.arguments
    return str(arguments.get("predicts") or arguments.get("prediction", "flow"))


@dataclass
class ReadSchedule:
    """What a scheduler says of a model.

    Attributes:
        parameterization, arguments: a registered name and its arguments.
        grid: its levels. sigma_min, sigma_max: those that the network was trained on.
        solver: the method here that is its own. findings: each key.
    """

    parameterization: str
    arguments: dict[str, Any]
    grid: TimeGrid
    sigma_min: float
    sigma_max: float
    solver: str
    findings: list[Finding] = field(default_factory=list)


def read_schedule(config: Mapping[str, Any]) -> ReadSchedule:
    """What ``config`` says; InputError for a class that is not read, or a bad value."""
    name = _class_of(config)
    keys = Reader(config, UNSAID.get(name))
    prediction = _prediction(keys, name)
    try:
        schedule = _of_class(keys, name, prediction)
    except InputError as error:  # in the words of this file, which is where it is mended
        fault = re.sub(r"^(grid|parameterization)\.", "", str(error))
        fault = re.sub("^offset", "steps_offset", fault)
        raise InputError(fault if fault.startswith(FILE) else f"{FILE}: {fault}") from error
    method = Finding("solver", schedule.solver, f"{FILE}: _class_name {name}Scheduler", True)
    schedule.findings = [method, *keys.findings()]
    return schedule


def _class_of(config: Mapping[str, Any]) -> str:
    """The name of the class, without the word Scheduler; InputError for one that is not read."""
    name = str(config.get("_class_name", "")).removesuffix("Scheduler")
    if not name:
        raise InputError(
            f"{FILE}: has no _class_name; give that of its class, _class_name=DDIMScheduler, say"
        )
    if name in CONSISTENCY:
        raise InputError(
            f"{FILE}: {name}Scheduler belongs to a distilled model, which is no denoiser: solvers "
            "on it are wrong, and its files do not say how its network is called, as those with "
            "LCMScheduler, TCDScheduler and CMStochasticIterativeScheduler do; draw it with its "
            "pipeline of diffusers"
        )
    if name not in SOLVERS:
        written = str(config["_class_name"])
        near = did_you_mean(written, [f"{solver}Scheduler" for solver in SOLVERS])
        raise InputError(
            f"{FILE}: _class_name={written[:60]} is not read; {near}it may be one of "
            f"{', '.join(SOLVERS)}, each with the word Scheduler"
        )
    return name


def _prediction(keys: Reader, name: str) -> str:
    """What the network answers with; InputError for what its class has not, or is not read."""
    if keys.get("predict_epsilon", True, bool) is False and not keys.config.get("prediction_type"):
        raise InputError(
            f"{FILE}: predict_epsilon=false is an old key, which diffusers passes over by now; "
            "write prediction_type=sample in its place"
        )
    prediction: str = keys.get("prediction_type", "epsilon", str)
    if keys.get("timestep_type", "discrete", str) != "discrete":
        raise InputError(
            f"{FILE}: timestep_type={keys.config['timestep_type'][:40]}: its network is told "
            "log(sigma) / 4 and no number of a level, which is not read"
        )
    predictions = tuple(PRECONDITIONED if name in EDM else PREDICTIONS)
    predictions += ("flow_prediction",) if name in (*BEYOND, *FLOW) else ()
    if name not in FLOW and prediction not in predictions:
        raise InputError(
            f"{FILE}: prediction_type={prediction[:40]} is none of those of {name}Scheduler, "
            f"{', '.join(predictions)}"
        )
    return prediction


def _of_class(keys: Reader, name: str, prediction: str) -> ReadSchedule:
    """What a class makes of its keys."""
    if name == "CMStochasticIterative":
        return _consistency(keys)
    if name in EDM:
        return _preconditioned(keys, name, PRECONDITIONED[prediction])
    if name in ENDS:
        return _latent_consistency(keys, name, PREDICTIONS[prediction])
    if name in FLOW or prediction == "flow_prediction":
        return _flow(keys, name)
    if name in BEYOND and keys.value("use_flow_sigmas", False, bool):
        raise InputError(
            f"{FILE}: use_flow_sigmas=true are levels of a flow, and prediction_type={prediction} "
            "is none; write prediction_type=flow_prediction, or use_flow_sigmas=false"
        )
    return _discrete(keys, name, PREDICTIONS[prediction])


def in_pipeline(schedule: ReadSchedule, config: Mapping[str, Any]) -> TimeGrid:
    """The scheduler's levels as a pipeline of latents walks them: most begin with the noise itself,
    a level's worth of it where its states are x_0 + sigma n."""
    grid = schedule.grid
    if not isinstance(grid, ByTimestep):
        return grid
    name = str(config.get("_class_name")).removesuffix("Scheduler")
    return grid.changed(unit_variance=grid.spacing == "leading" or name not in SIGMA)


def _discrete(keys: Reader, name: str, prediction: str) -> ReadSchedule:
    betas, table = _betas(keys, name)
    if prediction == "epsilon" and betas["zero_terminal_snr"]:
        raise InputError(
            f"{FILE}: rescale_betas_zero_snr=true and prediction_type=epsilon: at zero terminal "
            "SNR the noise says nothing of the image; write v_prediction or sample, or false"
        )
    return ReadSchedule(
        "discrete",
        {"predicts": prediction, **betas},
        ByTimestep(betas, **_laid(keys, name)),
        table.sigma_min,
        table.sigma_max,
        SOLVERS[name],
    )


def _consistency(keys: Reader) -> ReadSchedule:
    """CMStochasticIterative: levels by Karras' formula, of which some are taken."""
    count = keys.count("num_train_timesteps", 40)
    low, high = keys.number("sigma_min", 0.002), keys.number("sigma_max", 80.0)
    grid = FewSteps(count, keys.number("rho", 7.0), low, high)
    keys.read.add("set_alpha_to_one")
    if keys.config.get("s_noise", 1.0) == 1:
        keys.read.add("s_noise")
    arguments = {"sigma_data": keys.number("sigma_data", 0.5), "sigma_min": low}
    return ReadSchedule("consistency", arguments, grid, low, high, "consistency")


def _preconditioned(keys: Reader, name: str, prediction: str) -> ReadSchedule:
    """EDMEuler and EDMDPMSolverMultistep: levels of sigma, D behind EDM's preconditioning."""
    low, high = keys.number("sigma_min", 0.002), keys.number("sigma_max", 80.0)
    schedule = keys.choice("sigma_schedule", "karras", SIGMA_SCHEDULES)
    rho = keys.number("rho", 7.0)
    grid = KarrasToZero(rho, low, high) if schedule == "karras" else Exponential(low, high)
    # Of the second diffusers makes no use either, once it is asked for levels.
    keys.read |= {"sigma_schedule", "num_train_timesteps"}
    if keys.choice("final_sigmas_type", "zero", FINALS) == "zero":
        keys.read.add("final_sigmas_type")
    arguments: dict[str, Any] = {
        "prediction": prediction,
        "scaling": "karras",
        "label": {"kind": "log", "factor": 0.25},
        "sigma_data": keys.number("sigma_data", 0.5),
    }
    Convention(**arguments)  # refuses what is no deviation
    return ReadSchedule("convention", arguments, grid, low, high, SOLVERS[name])


def _latent_consistency(keys: Reader, name: str, prediction: str) -> ReadSchedule:
    """LCM and TCD: numbers of a discrete process, of which some are taken."""
    betas, table = _betas(keys, name)
    lcm = name == "LCM"
    grid = Skipped(betas, keys.count("original_inference_steps", 50), to_image=lcm)
    arguments = {"predicts": prediction, **betas}
    # diffusers does not look at them either, where numbers are skipped.
    keys.read |= {"timestep_spacing", "steps_offset", "set_alpha_to_one"}
    if lcm:
        arguments["timestep_scaling"] = keys.number("timestep_scaling", 10.0)
    else:  # nor, in TCD's steps, at these
        keys.read |= {"timestep_scaling", "clip_sample", "thresholding"}
        keys.read |= set(SWITCHED)
    kind = "latent_consistency" if lcm else "trajectory_consistency"
    return ReadSchedule(kind, arguments, grid, table.sigma_min, table.sigma_max, ENDS[name])


def _betas(keys: Reader, name: str) -> tuple[dict[str, Any], Timesteps]:
    """Arguments of the table of a discrete process, and the table."""
    stable = name.startswith(("Heun", "KDPM2", "DPMSolverSDE", "LCM", "TCD"))
    start, end = (8.5e-4, 0.012) if stable else (1e-4, 0.02)
    kind = keys.get("beta_schedule", "scaled_linear" if name in ENDS else "linear", str)
    if kind not in BETAS:
        raise InputError(f"{FILE}: beta_schedule={kind[:40]} is none of {', '.join(BETAS)}")
    trained = keys.get("trained_betas", None, list)
    if not all(type(beta) in (int, float) for beta in trained or ()):
        raise InputError(f"{FILE}: trained_betas holds what is no number; give numbers alone")
    if trained and len(trained) != keys.count("num_train_timesteps", len(trained)):
        raise InputError(
            f"{FILE}: num_train_timesteps={keys.config['num_train_timesteps']}, and trained_betas "
            f"has {len(trained)}; write the number of them"
        )
    betas = {
        "betas": BETAS[kind],
        "beta_start": keys.number("beta_start", start),
        "beta_end": keys.number("beta_end", end),
        "timesteps": keys.count("num_train_timesteps", 1000),
        "trained_betas": trained,
        "zero_terminal_snr": keys.flag("rescale_betas_zero_snr"),
    }
    return betas, Timesteps(**betas)


def _laid(keys: Reader, name: str) -> dict[str, Any]:
    """Arguments of ``ByTimestep``."""
    usual = "leading" if name in PLAIN else "linspace"
    keys.read.add("timestep_spacing")
    spacing = keys.choice("timestep_spacing", usual, SPACINGS)
    offset = keys.count("steps_offset", 0)
    spreads = [word for word in SPREADS[1:] if keys.flag(f"use_{word}_sigmas")]
    if len(spreads) > 1:
        raise InputError(
            f"{FILE}: use_{spreads[0]}_sigmas and use_{spreads[1]}_sigmas; only one can be, write "
            "false for the other"
        )
    spread = spreads[0] if spreads else "none"
    # A walk that ends at the least level has none of its own there: else it would stand still.
    above = spacing == "trailing" or (spacing == "leading" and offset > 0) or name in BEYOND
    # Others are handed that key by ``from_config`` and do not look at it.
    if name in PLAIN and ("set_alpha_to_one" in keys.config or name == "PNDM"):
        to_zero = bool(keys.value("set_alpha_to_one", name != "PNDM", bool))
        key = "set_alpha_to_one"
    else:
        to_zero = keys.choice("final_sigmas_type", "zero", FINALS) == "zero"
        key = "final_sigmas_type"
        keys.read.add("set_alpha_to_one")
    if to_zero or above:
        keys.read.add(key)
    return {
        "spacing": spacing,
        "offset": offset,
        "beyond": name in BEYOND,
        "spread": spread,
        "to_zero": to_zero or not above,
    }


def _flow(keys: Reader, name: str) -> ReadSchedule:
    steps = keys.count("num_train_timesteps", 1000)
    keys.flag("use_flow_sigmas")
    key = "shift" if name in FLOW else "flow_shift"
    shift = keys.number(key, 1.0)
    lay = "euler" if name in FLOW else "unipc" if name == "UniPCMultistep" else "dpm"
    if keys.choice("final_sigmas_type", "zero", FINALS) == "zero":
        keys.read.add("final_sigmas_type")
    if name in FLOW and keys.config.get("prediction_type") not in (None, "flow_prediction"):
        keys.read.discard("prediction_type")
    # diffusers does not look at them either, where the levels are those of a flow.
    keys.read |= {"beta_schedule", "beta_start", "beta_end", "timestep_spacing", "steps_offset"}
    keys.read.add("set_alpha_to_one")
    grid = FlowShift(shift, steps, lay)
    return ReadSchedule(
        "straight",
        {"scale": float(steps), "from_data": False},
        grid,
        min(FLOW_MIN, grid.sigma_min),
        math.inf,
        SOLVERS[name],
    )
