"""The settings of a training run: what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sde_diffusion.errors import InputError
from sde_diffusion.models.spec import Spec
from sde_diffusion.training.checkpoints import differences
from sde_diffusion.training.settings import TrainConfig
from tests.refusals import refused


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
        ("precision", "float64"),
        ("dtype", "bfloat16"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{key}={value}"):
        TrainConfig(**{key: value})  # type: ignore[arg-type]


def test_snapshots_of_no_width_are_refused() -> None:
    with refused("snapshot_widths=[]"):
        TrainConfig(snapshot_every=5, snapshot_widths=[])
    assert TrainConfig(snapshot_widths=[]).widths == []


def test_a_run_in_float64_of_an_earlier_revision_goes_on() -> None:
    """Its precision was float64, which is a dtype now."""
    config = TrainConfig(dtype="float64")
    first = {k: v for k, v in config.identity().items() if k != "dtype"} | {"precision": "float64"}
    spec = Spec("unet", {}, "karras", {}, (1, 8, 8))
    kept = replace(spec, config={"run": {"train": first}})
    wanted = replace(spec, config={"run": {"train": config.identity()}})
    assert differences(kept, wanted) == []
    other = replace(spec, config={"run": {"train": TrainConfig().identity()}})
    assert differences(kept, other) == ["dtype"]
