"""The quick suite of one solver file: the checks of ``tests/solvers`` that it bears on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from sde_diffusion.config.schema import located
from tests.solvers.configs import CASES, COUPLED, NAMES, WRONG, Case, compose, title

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "solvers"
SOLVERS = ROOT / "sde_diffusion" / "solvers"
PREFIX = "sde_diffusion.solvers."
# Folders whose files are held by tests of their own, too long for a mutant: tests/posterior.
ELSEWHERE = {"posterior"}
# Every other solver file by its name, which no other has.
FILES = {
    p.stem: p
    for p in sorted(SOLVERS.rglob("*.py"))
    if p.stem != "__init__" and p.parent.name not in ELSEWHERE
}

Check = tuple[str, Callable[[], None]]  # what it is called, and what raises


@cache
def imported(path: Path) -> frozenset[str]:
    """Solver files that a source file names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.startswith(PREFIX):
                found.add(node.module.rpartition(".")[2])
            if (node.module + ".").startswith(PREFIX):  # a module by its folder
                found |= {alias.name for alias in node.names}
    return frozenset(found)


def users(stem: str) -> set[str]:
    """The file itself and those that import it, directly or not."""
    found = {stem}
    while True:
        more = {stem for stem, path in FILES.items() if imported(path) & found}
        if more <= found:
            return found
        found |= more


@cache
def home(name: str) -> str:
    """The file of the class that a yaml names."""
    return str(compose(name)[0]._target_).split(".")[-2]


def cases(stem: str) -> list[Case]:
    """Those of a solver's own file: all; of a file that several use: every user's, its default
    before the others."""
    own = [case for case in CASES if home(case[0]) == stem]
    if own:
        return own
    near = users(stem)
    return [case for case in CASES if home(case[0]) in near]


def files(stem: str) -> list[str]:
    """Test files of the solver file, or of the few that use one without a yaml of its own."""
    near = {stem}
    if not any(home(name) == stem for name in NAMES):
        direct = {name for name, path in FILES.items() if stem in imported(path)}
        near |= direct if len(direct) <= 10 else set()
    shared = [TESTS / f"test_{name}.py" for name in ("step_control", "formulas")]
    named = [path for path in shared if near & imported(path) - {"base"}]
    # Of the file itself, or of the folder that holds the parts of one solver.
    names = [*sorted(near), *sorted({FILES[name].parent.name for name in near})]
    own = [TESTS / f"test_{name}.py" for name in dict.fromkeys(names)]
    if stem == "base":  # what every integrator with steps of its own shares
        own.append(TESTS / "test_black_boxes.py")
    return [str(path) for path in [*named, *own] if path.exists()]


def quick(stem: str) -> Iterator[Check]:
    """Checks in the order in which they are likely to see a bug for little time."""
    # Only now: what this imports is the mutant.
    from tests.solvers import checks, laws
    from tests.solvers.conftest import make
    from tests.solvers.level_oracles import LEVELS
    from tests.solvers.time_oracles import TIMES

    chosen = cases(stem)

    def each(check: Callable[..., None], which: list[Case], *more: str) -> Iterator[Check]:
        for case in which:
            words = " ".join([check.__name__, title(case), *more])
            yield words, lambda case=case: check(case, *more)  # type: ignore[misc]

    known = [case for case in chosen if case[0] in {*LEVELS, *TIMES}]
    yield from each(laws.check_samples, known, "vp")
    facts = {case: make(*case)[0] for case in chosen}
    linear = [case for case in known if facts[case].linear]
    fixed = [case for case in chosen if not facts[case].adaptive]
    free = [case for case in chosen if facts[case].adaptive]
    measured = [case for case in chosen if facts[case].order is not None]
    yield from each(checks.check_takes_no_budget, free)
    yield from each(checks.check_noise_is_declared, chosen)
    yield from each(checks.check_budget, fixed)
    yield from each(checks.check_last_step_draws_nothing, fixed)
    yield from each(checks.check_linearity, chosen)
    yield from each(laws.check_black_box_law, free, "vp")
    for case in free:
        yield (
            f"check_black_box_law {title(case)} short",
            lambda case=case: laws.check_black_box_law(case, "vp", ends=laws.SHORT),  # type: ignore[misc]
        )
    yield from each(laws.check_law, linear, "vp")
    yield from each(laws.check_samples, known, "edm")
    coupled = [case for case in COUPLED if case[0] in {case[0] for case in chosen}]
    yield from each(checks.check_batch, [*chosen, *coupled], "vp")
    yield from each(checks.check_dtype, chosen, "vp")
    yield from each(checks.check_nothing_is_kept, chosen)
    yield from each(checks.check_condition, [case for case in chosen if len(case) == 1])
    yield from each(checks.check_order_is_declared, fixed)
    yield from each(checks.check_one_step, fixed)
    yield from each(checks.check_refused_budgets, fixed)
    yield from each(checks.check_covariance, chosen)
    for name in dict.fromkeys(case[0] for case in chosen):
        for wrong in WRONG.get(name, []):
            words = f"check_refusal {name} {wrong}"
            yield words, lambda name=name, wrong=wrong: checks.check_refusal(name, wrong)  # type: ignore[misc]
    yield from each(laws.check_order_is_no_other, measured, "vp")
    yield from each(laws.check_order, measured, "vp")
    yield from each(checks.check_finite, fixed, "vp")
    yield from each(checks.check_predictor, fixed)
    for path in files(stem):
        yield Path(path).stem, lambda path=path: run_file(path)  # type: ignore[misc]


def run_file(path: str) -> None:
    """A test file, up to its first failure."""
    import pytest

    code = pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", path])
    assert code == 0, f"{Path(path).name} fails"


def warm(stems: list[str]) -> None:
    """Compose every case beforehand, and import what no mutant is in: a fork then has both."""
    for name in NAMES:
        home(name)
    for stem in stems:
        for case in [*cases(stem), *COUPLED]:
            compose(*case)
    located("sde_diffusion.process.grids.Karras", "grid")
