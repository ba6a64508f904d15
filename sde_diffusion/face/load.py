"""Models by path or name, and of callables."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sde_diffusion.conditions.conditioner import Conditioner
from sde_diffusion.conditions.labels import Labels
from sde_diffusion.denoisers.arithmetic import carry_out
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
from sde_diffusion.face.keywords import keywords
from sde_diffusion.face.model import Model
from sde_diffusion.models.sources import open_model
from sde_diffusion.process.few_steps import FewSteps

# What others call a level and a state.
LEVELS = {"t", "time", "times", "timestep", "timesteps", "sigma", "sigmas", "noise_level"}
STATES = {"x", "x_t", "xt", "y", "z", "sample", "latents", "image", "images", "input", "inputs"}
MOST_VALUES = 2**30
WEIGHTS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def load(
    checkpoint: str | Path = "mnist",
    dtype: torch.dtype | str = torch.float32,
    *,
    precision: torch.dtype | str = "float32",
    channels_last: bool = False,
    compile: bool = False,
    **options: Any,
) -> Model:
    """The shipped model of that name, or one from a file or folder; ``inspect`` says what it is.

    Args:
        checkpoint: ``"mnist"`` or the name of another shipped model, a file of ``sde-diffusion
            train`` or the folder of its run, a folder of diffusers, ``"hub:OWNER/NAME"``, or a
            file of EDM, score SDE, ADM, DiT or SiT.
        dtype: of the network's weights: float32, float64 or bfloat16.
        precision: of its products: float32, or bfloat16, twice as fast where the processor has it;
            weights and states keep their dtype.
        channels_last: memory format of the weights. compile: by ``torch.compile``, when it is first
            asked: needs a compiler and half a minute.
        options: what only some kinds of file need; one that this kind has no use for is refused.

            - codec: folder of the autoencoder, for a model of latents that lies apart from it;
            - scheduler, tiling: of a folder of diffusers: the entries of its scheduler's config,
              where it has none, and whether large pictures are decoded in tiles;
            - size, consistency, schedule, heads, head_width, new_order: of an ADM file, which says
              none of them; only size has to be given;
            - family, heads: of a DiT file: ``"dit"`` or ``"sit"``, and its heads of attention;
            - family, size: of a score SDE file: whose process it is, and the side of its images.
    """
    if "device" in options:
        raise InputError("device: of what is drawn; give load(CHECKPOINT).sample(device=...)")
    weights = values.dtype_of("dtype", dtype, WEIGHTS)
    laid_out = values.truth("channels_last", channels_last)
    as_compiled = values.truth("compile", compile)
    opened = open_model(checkpoint, weights, precision=precision, **options)
    carry_out(opened.denoiser, torch.device("cpu"), laid_out, as_compiled)
    return Model(**vars(opened))


@keywords()
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
    consistency: bool = False,
) -> Model:
    """Any callable F(x, sigma) as a model.

    x = x_0 + sigma n [N, *shape] is not scaled, and a copy; sigma is [N], of the dtype of x, for
    every solver. The answer has the shape of x.

    Args:
        model: F(x, sigma), a function or a module, asked in evaluation mode.
        shape: of one x, (3, 32, 32), say.
        predicts: ``"x0"`` the denoised image, ``"epsilon"`` the noise n, ``"v"`` alpha n - s x_0
            (s / alpha = sigma, s^2 + alpha^2 = 1), ``"flow"`` n - x_0, ``"score"`` of x.
        classes: of a model of labels, which is called F(x, sigma, label): label is int64 [N], and
            ``classes``, one more than the last, where there is none.
        conditioner: of a model of other conditions, which is called F(x, sigma, cond) with a
            ``Condition``, or None.
        name: what its figures are recorded under.
        sigma_min, sigma_max: noise levels that it may be asked at.
        consistency: whether its answer is the end of the path through x, as of a consistency or
            one-step model, and no mean: it is drawn with ``solver="consistency"``.
    """
    count = values.whole("classes", classes, 0)
    if conditioner is not None and not isinstance(conditioner, Conditioner):
        raise InputError(f"conditioner={conditioner!r}: give an object of Conditioner")
    if count and conditioner is not None:
        raise InputError("classes: a conditioner is given too; leave one of the two out")
    extra: Extra = nothing
    if conditioner is not None:
        extra = whole_condition
    elif count:
        extra = null_label(count)
    if not isinstance(name, str) or not name:
        raise InputError(f"name={name!r}: give a name, in quotes")
    low, high = values.number("sigma_min", sigma_min), values.number("sigma_max", sigma_max)
    _check_arguments(model, 2 if extra is nothing else 3)
    ends = values.truth("consistency", consistency)
    denoiser = FunctionDenoiser(model, _space(shape), low, high, predicts, extra, ends)
    grid = FewSteps(sigma_min=low, sigma_max=high) if ends else None
    return Model(denoiser, name, "", conditioner or Labels(count, model=name), grid=grid)


def _space(shape: Any) -> Any:
    """A space, or the sides of one x."""
    if isinstance(shape, Space):
        return shape
    if not values.is_several(shape):
        raise InputError(f"shape={shape!r}: give the sides of one x, (3, 32, 32), say")
    sides = [values.whole("shape", side, 1, 2**20) for side in shape]
    if math.prod(sides) > MOST_VALUES:
        raise InputError(
            f"shape={tuple(sides)}: {math.prod(sides)} numbers a state; give at most {MOST_VALUES}"
        )
    return sides


def _check_arguments(model: Any, count: int) -> None:
    """InputError for a callable that does not take ``count`` arguments, where that can be seen."""
    call = "model(x, sigma)" if count == 2 else "model(x, sigma, label)"
    try:
        signature = inspect.signature(model.forward if isinstance(model, nn.Module) else model)
    except (TypeError, ValueError):  # built in, or no callable, which is refused by its denoiser
        return
    first, second = [*signature.parameters, "", ""][:2]
    if first in LEVELS and second in STATES:
        raise InputError(
            f"model: takes ({first}, {second}), and is called as {call}; give "
            f"lambda x, sigma: model(sigma, x)"
        )
    try:
        signature.bind(*range(count))
    except TypeError as error:
        raise InputError(f"model: {error}; it is called as {call}") from error
