"""The settings of a training run: what is refused."""

from __future__ import annotations

import math

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.training.settings import TrainConfig


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
        ("lr", math.inf),
        ("weight_decay", math.inf),
        ("clip", -1.0),
        ("label_dropout", 1.5),
        ("keep", 0),
        ("patience", 0),
        ("precision", "float8"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{key}={value}"):
        TrainConfig(**{key: value})  # type: ignore[arg-type]


def test_snapshots_of_no_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"^snapshot_widths=\[\]"):
        TrainConfig(snapshot_every=5, snapshot_widths=[])
    assert TrainConfig(snapshot_widths=[]).widths == []
