"""Sliced Wasserstein-2 against scipy on a line, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.metrics.sliced_w2 import SlicedW2, squared_w2

from .gaussians import D, generator


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=D, generator=generator(seed))


@pytest.mark.parametrize(("n", "m"), [(6, 6), (4, 6), (7, 5), (1, 9), (12, 4)])
def test_on_a_line_it_is_optimal_transport(n: int, m: int) -> None:
    """Each point repeated until both sides have as many; then the best assignment."""
    x, y = normal(n, 1, 1)[:, 0], normal(m, 1, 2)[:, 0] + 0.5
    total = int(np.lcm(n, m))
    a, b = x.repeat_interleave(total // n), y.repeat_interleave(total // m)
    cost = (a[:, None] - b).square().numpy()
    rows, columns = linear_sum_assignment(cost)
    found = squared_w2(x.sort().values[None], y.sort().values[None])
    assert float(found) == pytest.approx(cost[rows, columns].mean(), rel=1e-12)


def test_a_shift_in_closed_form() -> None:
    """Between x and x + a, W_2^2 along u is (u.a)^2, whose mean over the sphere is |a|^2 / d."""
    x, a = normal(200, 5, 3), torch.tensor([3.0, 0.0, 4.0, 0.0, 0.0], dtype=D)
    found = SlicedW2(lines=4000)(x + a, x)
    true = (25 / 5) ** 0.5
    assert abs(found["sliced_w2"] - true) < 3 * found["sliced_w2_error"]
    assert found["sliced_w2_error"] < 0.02 * true


def test_gaussians_of_two_widths() -> None:
    """N(0, 1) to N(0, 4) on a line: W_2 = 1, whatever the two sizes."""
    found = SlicedW2(lines=2)(2 * normal(50000, 1, 4), normal(30000, 1, 5))
    assert found["sliced_w2"] == pytest.approx(1, abs=0.02)


def test_the_error_is_that_of_the_lines() -> None:
    x, y = normal(100, 6, 6), 1.5 * normal(80, 6, 7) + 0.3
    found = [SlicedW2(lines=50, seed=seed)(x, y) for seed in range(200)]
    values = torch.tensor([f["sliced_w2"] for f in found])
    errors = torch.tensor([f["sliced_w2_error"] for f in found])
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)


def test_a_set_is_at_no_distance_from_itself() -> None:
    x = normal(60, 3, 8)
    assert SlicedW2()(x, x.flip(0)) == {"sliced_w2": 0.0, "sliced_w2_error": 0.0}


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"metric\.sliced_w2\.lines=1"):
        SlicedW2(lines=1)
