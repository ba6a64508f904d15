"""Settings that change nothing in a training as it is, so that nobody believes they did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from sde_diffusion.conditions.condition import LABEL, LAYOUT, REFERENCE, TEXT
from sde_diffusion.images.image_set import ImageSet
from sde_diffusion.system import processes
from sde_diffusion.training.settings import TrainConfig

# What the data must have for a rate of dropping it to mean something.
DROPPED = {LABEL: "labels", TEXT: "captions", LAYOUT: "layouts", REFERENCE: "reference patches"}


def unused(config: TrainConfig, data: ImageSet) -> Iterator[str]:
    """A line for each setting that is not the usual one and has no effect."""
    has = {LABEL: bool(data.classes), **{name: name in data.given for name in (*DROPPED,)[1:]}}
    for name, called in DROPPED.items():
        key = f"{name}_dropout"
        if not has[name] and _changed(config, key):
            yield f"{key}={getattr(config, key):g}: has no effect, the data have no {called}"
    if not config.snapshot_every and _changed(config, "snapshot_widths"):
        yield f"snapshot_widths={config.snapshot_widths}: no snapshots without snapshot_every=STEPS"
    if processes.size() == 1 and _changed(config, "parallel"):
        yield f"parallel={config.parallel}: has no effect in one process; start several, torchrun"
    if config.warmup > config.steps:
        yield (
            f"warmup={config.warmup}: more than steps={config.steps}, so the rate never reaches "
            f"lr={config.lr:g}; give fewer, warmup=0, say"
        )


def _changed(config: TrainConfig, name: str) -> bool:
    """Whether a setting is another than the usual one."""
    field = next(each for each in fields(config) if each.name == name)
    usual: Any = field.default if field.default_factory is MISSING else field.default_factory()
    return bool(getattr(config, name) != usual)
