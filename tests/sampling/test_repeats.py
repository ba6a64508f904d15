"""A seed that is given twice: refused where it would draw one picture twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import SDE
from sde_diffusion.sampling.sampler import Request
from sde_diffusion.sampling.start import PRIOR, FromImage, FromNoise, Start
from tests.refusals import refused

TWO = torch.arange(2.0).reshape(2, 1, 1, 1)
SAME = torch.zeros(2, 1, 1, 1)


@pytest.mark.parametrize(
    ("seeds", "cond", "start", "repeats"),
    [
        ([1, 1], None, PRIOR, True),
        ([4, 1, 4], Condition.label([0, 1, 0]), PRIOR, True),
        ([4, 1, 4], Condition.label([0, 1, 2]), PRIOR, False),
        ([1, 1], None, FromImage(SAME, 2.0), True),
        ([1, 1], None, FromImage(TWO, 2.0), False),
        ([1, 1], None, FromNoise(SAME), True),
        ([1, 1], None, FromNoise(TWO), False),
        ([1, 2], None, PRIOR, False),
        (range(3), None, PRIOR, False),
        ([1, 1], Condition(Condition.label([0, 0]).parts, Condition.label([1, 2])), PRIOR, False),
    ],
)
def test_one_seed_twice_needs_something_else_that_differs(
    seeds: Sequence[int], cond: Condition | None, start: Start, repeats: bool
) -> None:
    with refused("seeds: ", "give each once", "seeds=[") if repeats else nullcontext():
        Request(seeds, 4, cond, start).distinct()


def test_the_remedy_lists_each_seed_once() -> None:
    with pytest.raises(InputError, match=r"seeds=\[5,3\],"):
        Request([5, 3, 5], 4).distinct()


@pytest.mark.parametrize(
    "start", [PRIOR, FromImage(torch.zeros(1, 1, 1, 1).expand(303, 1, 1, 1), 2.0)]
)
def test_every_row_of_a_seed_is_looked_at(start: Start) -> None:
    """Also of one that is given more than a hundred times, with a label of its own each."""
    seeds = [*range(5), *[7] * 298]
    labels = [*[0] * 5, *range(298)]
    Request(seeds, 4, Condition.label(labels), start).distinct()
    labels[-1] = labels[-150]
    with refused("seeds: 7 twice", "give each once"):
        Request(seeds, 4, Condition.label(labels), start).distinct()
    images = torch.arange(303.0).reshape(303, 1, 1, 1)
    Request(seeds, 4, Condition.label(labels), FromImage(images, 2.0)).distinct()
    images[-1], images[-150] = 0.0, -0.0
    with refused("seeds: 7 twice"):
        Request(seeds, 4, Condition.label(labels), FromImage(images, 2.0)).distinct()


def test_a_start_of_ones_own_tells_rows_apart_by_its_tensors() -> None:
    class Shifted(Start):
        def __init__(self, by: torch.Tensor) -> None:
            self.by = by

        def rows(self, rows: slice) -> Start:
            return Shifted(self.by[rows])

        def state(self, sde: SDE, n: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return sde.prior(n, t) + self.by

    Request([1, 1], 4, None, Shifted(TWO)).distinct()
    with refused("seeds: 1 twice"):
        Request([1, 1], 4, None, Shifted(SAME)).distinct()
