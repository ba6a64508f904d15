"""Samplers by the names that other programs have for them: a solver here, its fields and a grid.

A name is that of a method, and after it, if one likes, that of a schedule: ``DPM++ 2M Karras``,
``dpmpp_2m karras``, ``sample_dpmpp_2m``, ``DPMSolverMultistepScheduler use_karras_sigmas``. Upper
and lower case, spaces and signs make no difference, and ``++`` is ``pp``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

from sde_diffusion.config import groups
from sde_diffusion.errors import InputError
from sde_diffusion.system.annotations import shown

PROGRAMS = ("webui", "comfyui", "k_diffusion", "diffusers")


class Method(NamedTuple):
    """A solver here, and what it is called elsewhere; several names of a program by commas.

    Attributes:
        solver, fields: the choice and its fields.
        webui, comfyui, k_diffusion, diffusers: names; the first one there is names it here.
        differs: what is not the same; empty where trajectories are equal.
    """

    solver: str
    fields: Mapping[str, Any] = {}
    webui: str = ""
    comfyui: str = ""
    k_diffusion: str = ""
    diffusers: str = ""
    differs: str = ""

    @property
    def name(self) -> str:
        return next(_names(self))


class Schedule(NamedTuple):
    """A grid here, and what it is called elsewhere."""

    grid: str | None
    fields: Mapping[str, Any] = {}
    webui: str = ""
    comfyui: str = ""
    k_diffusion: str = ""
    diffusers: str = ""
    differs: str = ""

    @property
    def name(self) -> str:
        return next(_names(self))


class Preset(NamedTuple):
    """What a name stands for; ``grid`` None: that of the model, or else of the solver."""

    method: Method
    schedule: Schedule

    @property
    def name(self) -> str:
        """As it is called first: ``DPM++ 2M Karras``."""
        said = "" if self.schedule.grid is None else self.schedule.name
        return f"{self.method.name} {said}".strip()


BROWNIAN = "noise of the seeds, not of a Brownian tree: another draw of the same law"
METHODS = (
    Method("ddim", {}, "Euler, DDIM", "euler, ddim", "sample_euler",
           "EulerDiscreteScheduler, DDIMScheduler"),
    Method("ancestral", {}, "Euler a", "euler_ancestral, ddpm", "sample_euler_ancestral",
           "EulerAncestralDiscreteScheduler, DDPMScheduler"),
    Method("heun", {}, "Heun", "heun", "sample_heun", "HeunDiscreteScheduler"),
    Method("dpm2", {}, "DPM2", "dpm_2", "sample_dpm_2", "KDPM2DiscreteScheduler",
           "the web UI leaves out the last level but one"),
    Method("renoise", {"inner": "dpm2"}, "DPM2 a", "dpm_2_ancestral", "sample_dpm_2_ancestral", "",
           "the web UI leaves out the last level but one"),
    Method("lms", {}, "LMS", "lms", "sample_lms", "LMSDiscreteScheduler",
           "the others extrapolate to zero, ours denoises: {lms:.1e}"),
    Method("renoise", {"inner": "dpmpp_2s"}, "DPM++ 2S a", "dpmpp_2s_ancestral",
           "sample_dpmpp_2s_ancestral"),
    Method("dpmpp_2m", {}, "DPM++ 2M", "dpmpp_2m", "sample_dpmpp_2m",
           "DPMSolverMultistepScheduler"),
    Method("dpmpp_2m_sde", {}, "DPM++ 2M SDE", "dpmpp_2m_sde, dpmpp_2m_sde_gpu",
           "sample_dpmpp_2m_sde", "DPMSolverMultistepScheduler sde-dpmsolver++", BROWNIAN),
    Method("dpmpp_3m_sde", {}, "DPM++ 3M SDE", "dpmpp_3m_sde, dpmpp_3m_sde_gpu",
           "sample_dpmpp_3m_sde", "", f"{BROWNIAN}; the web UI leaves out the last level but one"),
    Method("seeds", {"order": 2}, "DPM++ SDE", "dpmpp_sde, dpmpp_sde_gpu, seeds_2",
           "sample_dpmpp_sde", "",
           "all but seeds_2 give stage and step the noise of one path in sigma, which is not the "
           "process's: {dpmpp_sde:.1e} with the same draws"),
    Method("seeds", {"order": 3}, "", "seeds_3"),
    Method("unipc", {"order": 2, "lower_order_final": True}, "", "", "",
           "UniPCMultistepScheduler"),
    Method("unipc", {"order": 3, "lower_order_final": True}, "UniPC", "uni_pc, uni_pc_bh2", "",
           "UniPCMultistepScheduler solver_order=3",
           "UniPC of the web UI and uni_pc have B(h) = h, ours has B(h) = e^h - 1: {bh1:.1e}"),
    Method("ipndm", {}, "PLMS", "ipndm", "", "PNDMScheduler",
           "PNDMScheduler spends one evaluation more in its first steps: {pndm:.1e}"),
    Method("deis", {"order": 1}, "", "", "", "DEISMultistepScheduler",
           "the noise is extrapolated in the VP time, in log sigma there: {deis_2:.1e}"),
    Method("deis", {"order": 2}, "", "deis", "", "DEISMultistepScheduler solver_order=3",
           "the same: {deis_3:.1e}"),
    Method("dpmpp_3m", {"lower_order_final": True}, "", "", "",
           "DPMSolverMultistepScheduler solver_order=3"),
    Method("sa_solver", {"predictor": 2, "corrector": 2, "tau_min": 0.7, "tau_max": 20.0,
                         "published": True, "lower_order_final": True},
           "", "sa_solver", "", "SASolverScheduler"),
    Method("er_sde", {}, "", "er_sde"),
)  # fmt: skip
SCHEDULES = (
    Schedule(None, {}, "Automatic", differs="the model's own grid, or else the solver's"),
    Schedule("karras_to_zero", {}, "Karras", "karras", "get_sigmas_karras", "use_karras_sigmas"),
    Schedule("exponential", {}, "Exponential, Polyexponential", "exponential",
             "get_sigmas_exponential", "use_exponential_sigmas"),
    Schedule("beta", {}, "Beta", "", "", "use_beta_sigmas",
             "ComfyUI's beta has quantiles of the numbers: `Numbers Beta`"),
    Schedule("timesteps", {"spacing": "beta"}, "", "Numbers Beta", "", "",
             "ComfyUI calls it beta"),
    Schedule("kl_optimal", {}, "KL Optimal", "kl_optimal"),
    Schedule("ays", {}, "Align Your Steps, AYS, Align Your Steps SD15, AYS SD15", "", "",
             "AysSchedules",
             "the web UI lays one level more of its list before zero: from the 11 levels, not 10"),
    Schedule("ays", {"model": "sdxl"}, "Align Your Steps SDXL, AYS SDXL"),
    Schedule("ays", {"model": "svd"}, "Align Your Steps SVD, AYS SVD"),
    Schedule("timesteps", {"spacing": "simple"}, "Simple", "simple"),
    Schedule("timesteps", {"spacing": "sgm_uniform"}, "SGM Uniform", "sgm_uniform"),
    Schedule("timesteps", {"spacing": "linspace"}, "Normal, Uniform", "normal", "",
             "linspace"),
    Schedule("timesteps", {"spacing": "leading", "offset": 1}, "DDIM Uniform", "ddim_uniform", "",
             "leading", "ComfyUI's has a level more where the number of steps does not divide T"),
    Schedule("timesteps", {"spacing": "trailing"}, "", "", "", "trailing"),
)  # fmt: skip
# Names that are none of ours, with the nearest.
DISTILLED = "its model answers with an end of the path, which is no denoising"
STRANGERS = {
    "DPM fast": "steps of orders 1 to 3 in turn, which no solver here takes; 'DPM++ 2M' is nearest",
    "DPM adaptive": "it chooses its own steps; solver=dopri does, to an error that you ask for",
    "LCM": f"{DISTILLED}; of models that are none, 'Euler a' is nearest",
    "TCD": f"{DISTILLED}; of models that are none, 'Euler a' is nearest",
    "Restart": "its intervals are those of its step numbers; solver=restart takes yours",
    "DPM++ 2M SDE Heun": "the midpoint rule is here, 'DPM++ 2M SDE'",
    "DPMSolverSinglestepScheduler": "its stages stand at the levels of its grid; solver=dpmpp_2s "
    "has them half way between, and spends two evaluations a step",
    "DPMSolverSDEScheduler": "what diffusers calls 'DPM++ SDE', with noise that it draws itself",
    "KDPM2AncestralDiscreteScheduler": "its stage stands beside that of 'DPM2 a', which is nearest",
    "DDIM CFG++": "it guides by itself; give solver=cfgpp",
    "euler_cfg_pp": "it guides by itself; give solver=cfgpp",
    "euler_ancestral_cfg_pp": "it guides by itself; solver=cfgpp has no noise",
    "dpmpp_2m_cfg_pp": "it guides by itself; give solver=cfgpp solver.inner=dpmpp_2m",
    "dpmpp_2s_ancestral_cfg_pp": "it guides by itself; give solver=cfgpp",
    "heunpp2": "'Heun' is nearest",
    "ipndm_v": "'ipndm' is nearest, with the coefficients of equal steps; 'LMS' has others",
    "res_multistep": "'DPM++ 2M' is nearest",
    "gradient_estimation": "'Euler' is nearest",
    "sa_solver_pece": "'sa_solver' is nearest, with one evaluation a step",
}


def find(name: str, key: str = "sampler") -> Preset:
    """What ``name`` stands for; InputError, with what is nearest, for one that is none of ours."""
    spelt = _spelt(name)
    if (preset := _presets().get(spelt)) is not None:
        return preset
    for stranger, told in STRANGERS.items():
        own = _spelt(stranger)
        if spelt.startswith(own) and spelt.removeprefix(own) in _schedules():
            raise InputError(f"{key}={shown(name)}: not here: {told}")
    if near := get_close_matches(spelt, _presets(), n=1):
        raise InputError(
            f"{key}={shown(name)}: no such sampler; did you mean '{_presets()[near[0]].name}'?"
        )
    raise InputError(
        f"{key}={shown(name)}: no such sampler; they are "
        f"{', '.join(method.name for method in METHODS)}, each with a schedule after it, if you "
        f"like: {', '.join(each.name for each in SCHEDULES[1:])}"
    )


def known(name: Any) -> bool:
    """Whether it is the name of a sampler, or nearly so, and of no solver."""
    if not isinstance(name, str) or name in groups.names("solver"):
        return False
    spelt = _spelt(name)
    several = {*_presets(), *map(_spelt, STRANGERS)}
    return bool(get_close_matches(spelt, several, n=1, cutoff=0.9))


def label(name: str) -> str:
    """A name as a label of results: ``DPM++-2M-Karras``."""
    return re.sub(r"[^\w.+-]+", "-", name.strip())


class Chosen(NamedTuple):
    """A solver and a grid, by name with fields, or as they were given."""

    solver: Any
    solver_fields: Mapping[str, Any]
    grid: Any
    grid_fields: Mapping[str, Any]


def chosen(solver: Any, grid: Any, sampler: Any) -> Chosen:
    """What was given, or what one word says of both; InputError where both were."""
    if sampler is None and not known(solver):
        return Chosen(solver, {}, grid, {})
    if sampler is not None and solver is not None:
        raise twice("solver", solver, sampler)
    word = solver if sampler is None else sampler
    if not isinstance(word, str):
        raise InputError(f"sampler={shown(word)}: give a name, 'DPM++ 2M Karras', say")
    method, schedule = find(word)
    if schedule.grid is None:
        return Chosen(method.solver, method.fields, grid, {})
    if grid is not None:
        raise twice("grid", grid, word)
    return Chosen(method.solver, method.fields, schedule.grid, schedule.fields)


def twice(key: str, value: Any, sampler: Any) -> InputError:
    """The refusal of what a sampler's name says already."""
    return InputError(
        f"{key}={shown(value)}: sampler={shown(sampler)} chooses it; leave one of the two out"
    )


def _spelt(name: str) -> str:
    """A name without what makes no difference."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    return plain.removeprefix("sample").replace("scheduler", "").removesuffix("true")


def _names(entry: Method | Schedule) -> Iterator[str]:
    for program in PROGRAMS:
        yield from filter(None, getattr(entry, program).split(", "))


@cache
def _schedules() -> dict[str, Schedule]:
    """Schedules by the spelling of each name, and of none."""
    return {"": SCHEDULES[0]} | {_spelt(name): each for each in SCHEDULES for name in _names(each)}


@cache
def _presets() -> dict[str, Preset]:
    """By every spelling; a name of a method that others begin with goes first."""
    found: dict[str, Preset] = {}
    for method in METHODS:
        for name in _names(method):
            for said, schedule in _schedules().items():
                found.setdefault(_spelt(name) + said, Preset(method, schedule))
    return found
