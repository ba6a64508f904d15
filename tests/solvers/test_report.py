"""What an adaptive integrator may spend, to the last evaluation."""

from __future__ import annotations

import pytest

from sde_diffusion.solvers.adaptive.report import Allowance
from tests.refusals import refused


@pytest.mark.parametrize("most", [1, 6, 7])
def test_an_allowance_is_spent_to_the_last(most: int) -> None:
    allowance = Allowance(most, "solver.rtol=0.1")
    for _ in range(most):
        allowance.spend()
    with refused("solver.rtol=0.1", str(most), "loosen"):
        allowance.spend()
