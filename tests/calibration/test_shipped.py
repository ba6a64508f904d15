"""The shipped calibrations: of the shipped model, and worth their evaluations."""

from __future__ import annotations

import pytest

from sde_diffusion.calibration import trajectories
from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.face.load import load
from sde_diffusion.guidance import ClassifierFree, Guided
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.calibrated.solver import Calibrated, shipped
from sde_diffusion.solvers.deis import DEIS
from sde_diffusion.solvers.langevin import Langevin
from sde_diffusion.solvers.wrappers.predictor_corrector import PredictorCorrector
from sde_diffusion.system.storage import asset


@pytest.mark.parametrize(
    ("name", "scale"), [("mnist-calibrated", None), ("mnist-cfg2-calibrated", 2.0)]
)
def test_the_shipped_calibrations_are_of_the_shipped_model(name: str, scale: float | None) -> None:
    denoiser: Denoiser = load("mnist").denoiser
    solver = Calibrated(name)
    solver.check(denoiser if scale is None else Guided(denoiser, ClassifierFree(scale)))
    solver.check_condition(Condition.label([0]))
    assert sorted(solver.calibration.rules) == [4, 5, 6, 8, 10]
    for n, found in solver.calibration.facts["held_out"].items():
        assert found["joint"] < 0.5 * min(found["standard"].values()), n


def test_the_rules_of_shapes_are_of_no_condition() -> None:
    """As ``compare checkpoint=shapes`` draws, whose evaluations they have."""
    solver = Calibrated().fitted(load("shapes").denoiser)
    solver.check_condition(None)
    assert (solver.path, sorted(solver.calibration.rules)) == ("shapes-calibrated", [4, 6, 10])
    for n, found in solver.calibration.facts["held_out"].items():
        assert found["joint"] < 0.55 * min(found["standard"].values()), n


def test_the_rules_of_shapes_under_guidance_are_of_sentences() -> None:
    """They follow more prompts than others of so few evaluations (benchmarks/prompts.md)."""
    model = load("shapes")
    solver = Calibrated().fitted(Guided(model.denoiser, ClassifierFree(2.0)))
    solver.check_condition(model.condition({"prompt": "a large red circle"}, [0]))
    assert (solver.path, sorted(solver.calibration.rules)) == ("shapes-cfg2-calibrated", [4, 6, 10])
    for n, found in solver.calibration.facts["held_out"].items():
        assert found["joint"] < 0.7 * min(found["standard"].values()), n
    with pytest.raises(InputError, match=r"^label, prompt: .* was made with .*a prompt; give"):
        solver.check_condition(None)
    plain = Calibrated().fitted(model.denoiser)
    with pytest.raises(
        InputError, match=r"^prompt: .* was made with prompt=null; leave prompt out"
    ):
        plain.check_condition(model.condition({"prompt": "a ring"}, [0]))


def test_the_shipped_rule_of_five_is_nearer_to_the_flow_than_a_standard_solver() -> None:
    """On noises that it has not seen, than DEIS on Karras's levels, which leads the others.

    Of so many that one digit which becomes another one does not decide.
    """
    model, seeds = load("mnist"), range(40)
    cond = model.condition({"label": "all"}, seeds)
    exact = trajectories(model.denoiser, seeds, cond, 32, 0.002, 80.0, 40).images
    errors = []
    for solver, grid in ((Calibrated(), None), (DEIS(), Karras())):
        sampler = Sampler.build(EDM(), model.denoiser, solver, grid)
        errors.append(float((sampler.sample(Request(seeds, 5, cond)).x - exact).norm()))
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("scale", [None, 2.0])
def test_the_rules_of_a_model_and_its_guidance_are_found_by_themselves(scale: float | None) -> None:
    """Also by a solver around them, which is another object then: the one given stays as it was."""
    denoiser: Denoiser = load("mnist").denoiser
    denoiser = denoiser if scale is None else Guided(denoiser, ClassifierFree(scale))
    given = PredictorCorrector(Calibrated(), Langevin())
    for solver in (Calibrated().fitted(denoiser), given.fitted(denoiser).fields()["predictor"]):
        assert solver.path == ("mnist-calibrated" if scale is None else "mnist-cfg2-calibrated")
    assert given.fields()["predictor"].path == ""


def test_a_model_without_shipped_rules_is_told_how_to_make_them() -> None:
    guided = Guided(load("mnist").denoiser, ClassifierFree(3.0))
    with pytest.raises(InputError, match=r"no rules are shipped.*'sde-diffusion calibrate'"):
        Sampler.build(EDM(), guided, Calibrated(), None)
    with pytest.raises(InputError, match=r"solver\.path: .*name them here, mnist-calibrated or"):
        assert Calibrated().calibration


def test_shipped_files_are_small() -> None:
    for name in shipped():
        assert asset(name).stat().st_size <= 300_000, name
