"""Where a call of a model runs, and in what batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sde_diffusion.denoisers.arithmetic import slower
from sde_diffusion.face import values
from sde_diffusion.models.opened import OpenedModel
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.system.devices import usable_device
from sde_diffusion.system.notice import once


def placed(model: OpenedModel, device: Any) -> torch.device:
    """The device, with the model on it; a line where its precision costs time there."""
    where = usable_device(str(device))
    model.denoiser.to(where)
    model.codec.to(where)
    if line := slower(model.denoiser.precision, where):
        once(line)
    return where


def run_of(
    model: OpenedModel, label: Any, options: Mapping[str, Any]
) -> tuple[Execution, dict[str, Any], dict[str, Any]]:
    """How to run, what is wished, and the options that are left."""
    others = dict(options)
    where = placed(model, others.pop("device", "cpu"))
    batch = values.whole("batch_size", others.pop("batch_size", 128), 1)
    return Execution(batch, torch.float64, where), {"label": label}, others
