"""A seed that is given twice: refused where it would draw one picture twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.errors import InputError
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
