"""The settings of a training run: the learning-rate schedule, and refusals."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.train import TrainConfig


def test_the_learning_rate_warms_up_and_goes_to_zero() -> None:
    config = TrainConfig(steps=110, warmup=10, lr=2.0)
    rates = [config.learning_rate(step) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[9 + 50] == pytest.approx(1.0)  # half of a half cosine
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert TrainConfig(steps=4, warmup=0, lr=1.0).learning_rate(1) < 1.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("save_every", -1),
        ("warmup", -1),
        ("seed", -1),
        ("lr", 0.0),
        ("lr", math.nan),
        ("clip", -1.0),
        ("label_dropout", 1.5),
        ("sigma_rel", 0.5),
        ("precision", "float8"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{key}={value}"):
        TrainConfig(**{key: value})  # type: ignore[arg-type]
