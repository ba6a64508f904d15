"""What every conf/solver/*.yaml must hold to, found by globbing: a new solver is tested unasked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from sde_diffusion.config.compose import compose_task, plain
from sde_diffusion.config.groups import conf_dir
from sde_diffusion.config.schema import located
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Noise
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.euler_maruyama import EulerMaruyama
from sde_diffusion.solvers.step import Ask, Step
from sde_diffusion.system.identity import parameters
from tests.solvers import checks, laws
from tests.solvers.configs import CASES, COUPLED, FIXTURES, NAMES, WRONG, Case, compose, title
from tests.solvers.conftest import SDES, make
from tests.solvers.level_oracles import LEVELS
from tests.solvers.time_oracles import TIMES

DEFAULTS = [case for case in CASES if len(case) == 1]
FACTS = {case: make(*case)[0] for case in CASES}
MEASURED = [case for case in CASES if FACTS[case].order is not None]
FLOWS = [case for case in MEASURED if not FACTS[case].stochastic]
FIXED = [case for case in CASES if not FACTS[case].adaptive]
FREE = [case for case in CASES if FACTS[case].adaptive]
KNOWN = [case for case in CASES if case[0] in {*LEVELS, *TIMES}]
LINEAR = [case for case in KNOWN if FACTS[case].linear]

each_sde = pytest.mark.parametrize("sde", SDES)


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=title)


def some_sdes(case: Case) -> list[str]:
    """All SDEs for the defaults; for other choices one in its own time, and one with alpha < 1."""
    return list(SDES) if len(case) == 1 else ["vp", "edm"]


def on_some_sdes(cases: list[Case]) -> pytest.MarkDecorator:
    pairs = [(case, sde) for case in cases for sde in some_sdes(case)]
    return pytest.mark.parametrize(
        ("case", "sde"), pairs, ids=[f"{title(case)}-{sde}" for case, sde in pairs]
    )


def nodes(node: Any) -> Iterator[DictConfig]:
    if OmegaConf.is_dict(node):
        if "_target_" in node:
            yield node
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from nodes(node[key])


@pytest.mark.parametrize("name", NAMES)
def test_a_yaml_holds_every_constructor_argument_and_no_other(name: str) -> None:
    config = OmegaConf.load(Path(conf_dir(), "solver", f"{name}.yaml"))
    found = list(nodes(config))
    assert found
    for node in found:
        keys = {str(key) for key in node} - {"_target_", "defaults"}
        assert keys == set(parameters(located(node["_target_"], "solver")))


@pytest.mark.parametrize("name", NAMES)
def test_a_yaml_states_the_constructor_defaults(name: str) -> None:
    """The library face and the command line mean the same by a solver's name."""
    config = OmegaConf.load(Path(conf_dir(), "solver", f"{name}.yaml"))
    for node in nodes(config):
        for key, parameter in parameters(located(node["_target_"], "solver")).items():
            if parameter.default is not inspect.Parameter.empty:
                assert node[key] == parameter.default, key


@pytest.mark.parametrize(
    "case",
    [
        ("heun", "solver.s_churn=10", "solver.s_tmax=5"),
        ("restart", "solver.repeats=[1]"),
        ("renoise", "solver.eta=0.5", "solver.inner._target_=sde_diffusion.solvers.ddim.DDIM"),
        ("calibrated",),
    ],
    ids=title,
)
def test_these_solvers_are_those_of_the_command_line(case: Case) -> None:
    name, *overrides = case
    config = compose_task(["task=sample", f"solver={name}", *FIXTURES.get(name, []), *overrides])
    assert plain(config.solver) == plain(compose(*case)[0])
    assert plain(config.get("grid")) == plain(compose(*case)[1])


def test_what_has_no_order_has_an_oracle() -> None:
    """Of fixed steps. An order is measured; a scalar recursion of its own is optional then."""
    assert {*LEVELS, *TIMES} <= set(NAMES)
    assert {case[0] for case in FIXED if FACTS[case].order is None} <= {*LEVELS, *TIMES}


@each_sde
@each(KNOWN)
def test_samples_are_those_of_a_scalar_recursion(case: Case, sde: str) -> None:
    laws.check_samples(case, sde)


@each_sde
@each(LINEAR)
def test_the_law_is_that_of_a_scalar_recursion(case: Case, sde: str) -> None:
    laws.check_law(case, sde)


@on_some_sdes(MEASURED)
def test_converges_to_the_exact_law_at_the_declared_order(case: Case, sde: str) -> None:
    laws.check_order(case, sde)


@on_some_sdes(MEASURED)
def test_start_up_and_last_steps_included(case: Case, sde: str) -> None:
    laws.check_order_is_no_other(case, sde)


@on_some_sdes(FLOWS)
def test_on_a_mixture_too(case: Case, sde: str) -> None:
    laws.check_order_of_trajectories(case, sde)


@on_some_sdes(FREE)
def test_a_black_box_reaches_the_exact_law(case: Case, sde: str) -> None:
    laws.check_black_box_law(case, sde)
    laws.check_black_box_law(case, sde, ends=laws.SHORT)


@each(CASES)
def test_covariant_solvers_make_the_same_sample_on_every_sde(case: Case) -> None:
    checks.check_covariance(case)


@pytest.mark.parametrize("sde", ["vp", "flow"])
@each(CASES)
def test_a_sample_does_not_depend_on_its_batch(case: Case, sde: str) -> None:
    assert not FACTS[case].couples_batch
    checks.check_batch(case, sde)


@each(COUPLED)
def test_norms_over_the_batch_are_declared_to_couple_it(case: Case) -> None:
    assert make(*case)[0].couples_batch
    checks.check_batch(case, "vp")


@each_sde
@each(FIXED)
def test_any_number_of_steps_is_finite(case: Case, sde: str) -> None:
    checks.check_finite(case, sde)


@each_sde
@each(DEFAULTS)
def test_float32_is_kept_and_agrees_with_float64(case: Case, sde: str) -> None:
    checks.check_dtype(case, sde)


@each(FIXED)
def test_evaluations_are_what_was_asked_for(case: Case) -> None:
    checks.check_budget(case)


@each(FIXED)
def test_a_budget_that_buys_no_whole_step_is_refused(case: Case) -> None:
    checks.check_refused_budgets(case)


@each(FREE)
def test_a_black_box_takes_no_budget(case: Case) -> None:
    checks.check_takes_no_budget(case)


@each(DEFAULTS)
def test_each_row_has_its_own_condition(case: Case) -> None:
    checks.check_condition(case)


@each(CASES)
def test_noise_is_drawn_only_if_declared(case: Case) -> None:
    checks.check_noise_is_declared(case)


@each(FIXED)
def test_the_last_step_draws_nothing(case: Case) -> None:
    checks.check_last_step_draws_nothing(case)


class Forgetful(EulerMaruyama):
    """Takes no step for the last one."""

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        return super().step(ask, x, replace(step, n=step.n + 1), state, noise)


class Refreshed(EulerMaruyama):
    """Adds to every step's end noise that belongs to no interval."""

    def step(
        self, ask: Ask, x: Tensor, step: Step, state: None, noise: Noise
    ) -> tuple[Tensor, None]:
        return super().step(ask, x, step, state, noise)[0] + 1e-3 * noise.fresh(), None


@pytest.mark.parametrize("twin", [Forgetful(), Refreshed(eta=0.0)], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("n", [1, 6])
def test_noise_of_the_last_step_is_seen(twin: Solver, n: int) -> None:
    times = Karras().times(SDES["vp"], n)
    checks.draws_nothing_at_the_end(EulerMaruyama(), times)
    with pytest.raises(AssertionError, match="noise of the last step"):
        checks.draws_nothing_at_the_end(twin, times)


@each(CASES)
def test_linear_is_what_is_declared(case: Case) -> None:
    checks.check_linearity(case)


@each(CASES)
def test_nothing_is_kept_on_the_solver(case: Case) -> None:
    checks.check_nothing_is_kept(case)


@each(FIXED)
def test_memory_is_declared(case: Case) -> None:
    checks.check_one_step(case)


@each(FIXED)
def test_fixed_steps_declare_an_order(case: Case) -> None:
    checks.check_order_is_declared(case)


@each(FIXED)
def test_any_fixed_step_solver_is_a_predictor(case: Case) -> None:
    checks.check_predictor(case)


@pytest.mark.parametrize(("name", "wrong"), [(n, w) for n, found in WRONG.items() for w in found])
def test_a_wrong_field_is_refused_by_its_name(name: str, wrong: dict[str, Any]) -> None:
    checks.check_refusal(name, wrong)
