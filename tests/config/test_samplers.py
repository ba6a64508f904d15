"""Samplers by the names of other programs: what each stands for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch

import sde_diffusion as sd
from sde_diffusion.config import groups, samplers, words
from sde_diffusion.config.choices import entries
from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import TimeGrid
from sde_diffusion.sampling.sampler import Sampler
from sde_diffusion.solvers.base import Solver

NAMES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "DPM++ 2M Karras": ("dpmpp_2m", {}, "karras_to_zero"),
    "dpm++ 2m karras": ("dpmpp_2m", {}, "karras_to_zero"),
    "dpmpp_2m karras": ("dpmpp_2m", {}, "karras_to_zero"),
    "sample_dpmpp_2m get_sigmas_karras": ("dpmpp_2m", {}, "karras_to_zero"),
    "DPMSolverMultistepScheduler use_karras_sigmas=True": ("dpmpp_2m", {}, "karras_to_zero"),
    "DPMSolverMultistep": ("dpmpp_2m", {}, None),
    "Euler a": ("ancestral", {}, None),
    "euler_ancestral simple": ("ancestral", {}, "timesteps"),
    "DDPMScheduler": ("ancestral", {}, None),
    "DPM2 a Karras": ("renoise", {"inner": "dpm2"}, "karras_to_zero"),
    "DPM++ 2S a": ("renoise", {"inner": "dpmpp_2s"}, None),
    "UniPCMultistepScheduler": ("unipc", {"order": 2, "lower_order_final": True}, None),
    "UniPC": ("unipc", {"order": 3, "lower_order_final": True}, None),
    "Euler AYS SDXL": ("ddim", {}, "ays"),
    "LMS KL Optimal": ("lms", {}, "kl_optimal"),
}
MODEL = sd.wrap(lambda x, sigma: x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2), shape=(1, 4, 4))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_solver_its_fields_and_a_grid(name: str) -> None:
    chosen = samplers.chosen(None, None, name)
    assert (chosen.solver, dict(chosen.solver_fields), chosen.grid) == NAMES[name]


def test_every_method_and_schedule_is_made() -> None:
    """What the table says, solver and grid take, and no spelling stands for two of them."""
    methods, schedules, _ = samplers.table()
    spelt: dict[str, samplers.Preset] = {}
    for method in methods:
        assert isinstance(groups.make("solver", str(method.choice), **method.fields), Solver)
        for schedule in schedules:
            both = samplers.Preset(method, schedule)
            for first, second in product(method.all_names, schedule.all_names):
                name = f"{first} {second}"
                assert samplers.find(name) == both, name
                assert spelt.setdefault(samplers._spelt(name), both) == both, name
    for schedule in schedules[1:]:
        assert isinstance(groups.make("grid", str(schedule.choice), **schedule.fields), TimeGrid)


@pytest.mark.parametrize("name", samplers.table()[2])
def test_a_name_that_is_not_here_says_what_is_nearest(name: str) -> None:
    for said in (name, f"{name} Karras"):
        with pytest.raises(InputError, match="not here") as refusal:
            samplers.find(said)
        assert "\n" not in str(refusal.value)
    for quoted in str(refusal.value).split("'")[1::2]:
        samplers.find(quoted)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "near": (lambda: MODEL.sampler(sampler="DPM++ 2M Karas"), "did you mean 'DPM\\+\\+ 2M Karras'"),
    "nearly a solver": (lambda: MODEL.sampler("DPM++ 2M Karas"), "did you mean 'DPM"),
    "none": (lambda: MODEL.sampler(sampler="nonsense"), "they are Euler, Euler a"),
    "no text": (lambda: MODEL.sampler(sampler=3), "give a name"),  # type: ignore[arg-type]
    "solver too": (
        lambda: MODEL.sampler("unipc", sampler="Euler a"), 'solver="unipc": sampler=Euler a chooses'
    ),
    "grid too": (
        lambda: MODEL.sampler(sampler="Euler Karras", grid="karras"), 'grid="karras": sampler='
    ),
    "numbers": (
        lambda: sd.load("mnist").sampler(sampler="Euler Simple"), "grid__betas: this model"
    ),
    "compare": (
        lambda: sd.compare(MODEL, ["Euler Karras"], grid="karras", n=2, extractor="pixel"),
        "grid: Euler-Karras has its own",
    ),
    "twice": (lambda: list(entries(["Euler a", "euler a", "Euler a"], "solver")), "Euler-a twice"),
    "line, solver": (
        lambda: words.with_sampler(["task=sample", "sampler=Euler a", "solver=heun"]), "solver=heun"
    ),
    "line, grid": (
        lambda: words.with_sampler(["task=sample", "sampler=Euler Beta", "grid=ays"]), "grid=ays"
    ),
    "line, several": (
        lambda: words.with_sampler(["task=sample", "sampler=[Euler,Heun]"]), "one name here"
    ),
    "line, task": (lambda: words.with_sampler(["task=train", "sampler=Euler"]), "train takes none"),
    "line, solvers": (
        lambda: words.with_sampler(["task=compare", "sampler=[Euler]", "solvers=[heun]"]),
        "solvers is given too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_go_together_is_refused_in_one_line(case: str) -> None:
    wrong, line = WRONG[case]
    with pytest.raises(InputError, match=line) as refusal:
        wrong()
    assert "\n" not in str(refusal.value)


def test_the_command_line_types_solver_and_grid() -> None:
    typed = ["task=sample", 'sampler="DPM2 a SGM Uniform"', "solver.eta=0.5"]
    assert words.with_sampler(typed) == [
        "task=sample", "solver=renoise", "solver.inner=dpm2", "grid=timesteps",
        "grid.spacing=sgm_uniform", "solver.eta=0.5",
    ]  # fmt: skip
    assert words.with_sampler(["task=edit", "sampler=Euler a", "grid=karras"]) == [
        "task=edit", "solver=ancestral", "grid=karras",
    ]  # fmt: skip
    assert words.with_sampler(["sampler=[Euler a,Heun]"]) == ["solvers=[Euler a,Heun]"]
    assert words.with_sampler(["sampler=Euler a"]) == ['solvers=["Euler a"]']
    assert words.with_sampler(["task=train", "n=4"]) == ["task=train", "n=4"]


def same(a: Sampler, b: Sampler) -> bool:
    return a.solver.identity() == b.solver.identity() and a.grid.identity() == b.grid.identity()


def test_python_takes_a_name_for_solver_and_grid() -> None:
    """As a keyword, in the place of the solver, with fields beside it, and in a list."""
    karras = MODEL.sampler(sampler="DPM++ 2M Karras")
    assert same(karras, MODEL.sampler("DPM++ 2M Karras"))
    assert same(karras, MODEL.sampler(sd.DPMpp2M(), grid=sd.KarrasToZero()))
    eta = MODEL.sampler(sampler="Euler a Exponential", solver__eta=0.5)
    assert eta.solver.fields() == {"eta": 0.5}
    assert type(eta.grid) is sd.Exponential
    assert MODEL.sampler(sampler="UniPC").solver.fields()["order"] == 3
    drawn = MODEL.sample(2, 6, sampler="DPM++ 2M Karras")
    assert drawn.nfe == 6
    assert torch.equal(drawn.x, MODEL.sample(2, 6, solver=sd.DPMpp2M(), grid=sd.KarrasToZero()).x)


def test_a_comparison_takes_names_beside_solvers() -> None:
    given = ["unipc", "DPM++ 2M Karras", {"mine": {"solver": "Euler a", "eta": 0.5, "nfe": 4}}]
    first, second, third = entries(given, "solver")
    assert first.label == "unipc"
    assert (second.label, second.name, second.grid) == (
        "DPM++-2M-Karras", "dpmpp_2m", "karras_to_zero",
    )  # fmt: skip
    assert (third.name, third.fields, third.nfe) == ("ancestral", {"eta": 0.5}, (4,))
