"""The operators make the bugs that they say, and the harness tells a bug from no bug."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import mutants, spread
from tests.mutants.suite import ELSEWHERE, FILES, ROOT, SOLVERS

STEP = '''
class Solver:
    """Two of a kind."""

    order = 1

    def step(self, ask, x, step, history, noise):
        if not step.h > 0:
            raise ValueError(f"h={step.h - 1}")
        a, b = step.a, step.b
        d = ask.denoise(x, a)
        d = ask.denoise(d, b)
        kept = (d, *history)[:2]
        up = math.sqrt(a.sigma**2 - 1)
        if not step.last:
            up = up * step.left
        return b.alpha * kept[0] + up * noise.normal(a.t, b.t)
'''
# One of each kind of slip, as (operator, statement after).
EXPECTED = {
    ("declare another fact", "order = 2"),
    ("turn a condition round", "if not not step.h > 0:"),
    ("swap the history", "b, a = (step.a, step.b)"),
    ("the other end of the step", "a, b = (step.b, step.b)"),
    ("keep what is stale", "pass"),
    ("stale evaluation", "d = ask.denoise(x, b)"),
    ("stale evaluation", "d = ask.denoise(d, a)"),
    ("swap the history", "kept = (*history, d)[:2]"),
    ("swap the history", "kept = (d, *history)[:]"),
    ("noise of another size", "up = a.sigma ** 2 - 1"),
    ("drop a factor", "up = math.sqrt(a.sigma - 1)"),
    ("alpha for sigma", "up = math.sqrt(a.alpha ** 2 - 1)"),
    ("another number", "up = math.sqrt(a.sigma ** 2 - 2)"),
    ("forget the last step", "if not False:"),
    ("turn a condition round", "if not not step.last:"),
    ("the other end of the step", "up = up * step.n"),
    ("flip a sign", "return b.alpha * kept[0] - up * noise.normal(a.t, b.t)"),
    ("drop a factor", "return b.alpha + up * noise.normal(a.t, b.t)"),
    ("swap the history", "return b.alpha * kept[1] + up * noise.normal(a.t, b.t)"),
    ("noise of another size", "return b.alpha * kept[0] + up * (0.0 * noise.normal(a.t, b.t))"),
}


def test_each_operator_makes_its_slip() -> None:
    found = mutants(STEP)
    assert {(m.operator, m.after) for m in found} >= EXPECTED
    assert len({m.source for m in found}) == len(found)
    for mutant in found:
        compile(mutant.source, "mutant", "exec")
        assert "Two of a kind" in mutant.source
        assert "h={step.h - 1}" in mutant.source, "a message is no bug"


def test_a_part_of_the_mutants_has_some_of_every_operator() -> None:
    every = mutants(STEP)
    operators = {m.operator for m in every}
    assert {m.operator for m in spread(every, len(operators))} == operators
    assert len(spread(every, 5)) == 5
    assert spread(every, 1000) == every


def test_no_name_of_a_file_stands_for_two() -> None:
    places = [path for path in SOLVERS.rglob("*.py") if path.parent.name not in ELSEWHERE]
    assert len(FILES) == len([path for path in places if path.stem != "__init__"])


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_every_solver_file_has_mutants(path: Path) -> None:
    count = len(mutants(path.read_text()))
    assert count >= 2


def test_bugs_are_caught_and_the_file_as_it_is_passes(tmp_path: Path) -> None:
    """Of the simplest solver six mutants, each in a fork of a process of their own."""
    out = tmp_path / "found.json"
    words = ["--files", "ddim", "--most", "6", "--jobs", "2", "--out", str(out)]
    subprocess.run(
        [sys.executable, "-m", "tests.mutants", *words], cwd=ROOT, check=True, capture_output=True
    )
    found = json.loads(out.read_text())
    assert [bug["outcome"] for bug in found["mutants"]] == ["caught"] * 6, found
    assert any("check_samples" in bug["check"] for bug in found["mutants"])
    assert [clean["outcome"] for clean in found["clean"]] == ["survived"], found


def test_those_that_are_called_equivalent_are_made() -> None:
    """After a change of a line its reason stands for nothing."""
    made = {
        (stem, mutant.before, mutant.after)
        for stem in {stem for stem, *_ in EQUIVALENT}
        for mutant in mutants(FILES[stem].read_text())
    }
    assert EQUIVALENT.keys() <= made
