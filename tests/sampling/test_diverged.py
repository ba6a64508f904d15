"""Samples that are no numbers are refused, with the step at which they stopped being numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sde_diffusion import wrap
from sde_diffusion.errors import DivergedError

Answer = Tensor


def test_an_answer_that_is_not_finite_is_named_by_its_level_and_call() -> None:
    def model(x: Tensor, sigma: Tensor) -> Answer:
        bad = (sigma < 1)[:, None] & (x.mean(1, keepdim=True) > 0)
        return torch.where(bad, math.nan, x / (1 + sigma[:, None] ** 2))

    with pytest.raises(DivergedError) as caught:
        wrap(model, shape=(3,)).sample(n=8, nfe=6, solver="ddim")
    said = str(caught.value)
    assert said.startswith("solver=DDIM: ")
    assert "of 8 samples are not finite: denoiser: its answer at noise level 0." in said
    assert "check the model's weights and its dtype" in said


@pytest.mark.parametrize("options", [{"solver": "ddim"}, {"solver": "unipc", "dtype": "float64"}])
def test_a_state_that_is_not_finite_is_named_by_its_step(options: dict[str, str]) -> None:
    """Answers of 1e38 are finite in float32, their extrapolation is not; the remedy works."""
    huge = wrap(lambda x, sigma: x.new_full(x.shape, 3e38).copysign(sigma[:, None] - 2), shape=(2,))
    with pytest.raises(DivergedError, match=r"at step \d+, noise level .*though every answer"):
        huge.sample(n=2, nfe=8, solver="dpmpp_3m", grid="karras")
    assert huge.sample(n=2, nfe=8, **options).x.isfinite().all()


def test_no_picture_is_made_of_it() -> None:
    nan = wrap(lambda x, sigma: x * math.nan, shape=(1, 4, 4))
    with pytest.raises(DivergedError, match="call 1, is not finite"):
        nan.sample(n=1, nfe=2)
