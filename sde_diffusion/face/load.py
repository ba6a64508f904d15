"""Models by path or name, and of callables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.denoisers.function import (
    Extra,
    FunctionDenoiser,
    nothing,
    null_label,
    whole_condition,
)
from sde_diffusion.denoisers.space import Space
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.model import Model
from sde_diffusion.models.sources import open_model

WEIGHTS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def load(
    checkpoint: str | Path = "mnist",
    dtype: torch.dtype | str = torch.float32,
    *,
    precision: torch.dtype | str = "float32",
    **options: Any,
) -> Model:
    """The shipped model of that name, or one from a file or folder.

    Args:
        checkpoint: ``"mnist"``, a file of ``sde-diffusion train``, or the folder of its run.
        dtype: of the network's weights: float32, float64 or bfloat16.
        precision: of its products: float32, or bfloat16, twice as fast where the processor has it;
            weights and states keep their dtype.
        options: what only some kinds of file need.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in WEIGHTS:
        raise InputError(f"dtype={name}: choose one of {', '.join(WEIGHTS)}")
    opened = open_model(checkpoint, WEIGHTS[name], precision=precision, **options)
    return Model(**vars(opened))


def wrap(
    model: Callable[..., Tensor],
    shape: Sequence[int] | Space,
    predicts: str = "x0",
    *,
    classes: int = 0,
    conditioner: Conditioner | None = None,
    name: str = "function",
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
) -> Model:
    """Any callable F(x, sigma) as a model.

    x = x_0 + sigma n [N, *shape] is not scaled, and a copy; sigma is [N], of the dtype of x, for
    every solver. The answer has the shape of x.

    Args:
        model: F(x, sigma), a function or a module in evaluation mode.
        shape: of one x, (3, 32, 32), say.
        predicts: ``"x0"`` the denoised image, ``"epsilon"`` the noise n, ``"v"`` alpha n - s x_0
            (s / alpha = sigma, s^2 + alpha^2 = 1), ``"flow"`` n - x_0, ``"score"`` of x.
        classes: of a model of labels, which is called F(x, sigma, label): label is int64 [N], and
            ``classes``, one more than the last, where there is none.
        conditioner: of a model of other conditions, which is called F(x, sigma, cond) with a
            ``Condition``, or None.
        name: what its figures are recorded under.
        sigma_min, sigma_max: noise levels that it may be asked at.
    """
    count = values.whole("classes", classes, 0)
    if count and conditioner is not None:
        raise InputError("classes: a conditioner is given too; leave one of the two out")
    extra: Extra = nothing
    if conditioner is not None:
        extra = whole_condition
    elif count:
        extra = null_label(count)
    sides = shape if isinstance(shape, Space) else [values.whole("shape", s, 1) for s in shape]
    denoiser = FunctionDenoiser(model, sides, sigma_min, sigma_max, predicts, extra)
    return Model(denoiser, str(name), "", conditioner or Labels(count, model=str(name)))
