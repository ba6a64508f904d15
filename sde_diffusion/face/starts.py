"""Where sampling begins, as a user says it: noise, a picture with noise, or an object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from sde_diffusion.data.photos import photos
from sde_diffusion.errors import InputError
from sde_diffusion.face import values
from sde_diffusion.face.given_picture import of_pillow
from sde_diffusion.sampling.sampler import Sampler
from sde_diffusion.sampling.start import (
    PRIOR,
    STRENGTH,
    FromNoise,
    Start,
    image_start,
    of_each,
    unheard,
)

if TYPE_CHECKING:
    from sde_diffusion.face.model import Model

GREY_AXES = 2  # of pictures [H, W]
PICTURE = (
    "a path, a picture [C, H, W] or [H, W], or one for each image [N, C, H, W], uint8 or floats in "
    "-1 .. 1, or an object, FromImage(x_0, level=2.0)"
)


def start_of(
    model: Model, sampler: Sampler, x_T: Any, start: Any, strength: Any, seeds: Sequence[int]
) -> Start:
    """The start of a call; InputError for what does not fit the model or the seeds."""
    if strength is not None and (start is None or isinstance(start, Start)):
        raise unheard(strength)
    if x_T is not None:
        if start is not None:
            raise InputError("x_T: start is given too; leave one of the two out")
        return _noise(model, x_T, len(seeds))
    if start is None or isinstance(start, Start):
        return start or PRIOR
    x_0 = of_each(pictures(model, start), len(seeds))
    states = model.codec.encode(x_0)
    model.denoiser.space.check(states.shape[1:], "start")
    if states.shape[1:] != model.denoiser.space.shape:
        size = list(x_0.shape[2:])
        raise InputError(f"start: pictures of height and width {size}; give size={size} too")
    wanted = STRENGTH if strength is None else values.number("strength", strength)
    return image_start(states, wanted, sampler.grid)


def pictures(model: Model, start: Any) -> Tensor:
    """Pictures [N, C, H, W], -1 .. 1."""
    if isinstance(start, str | Path):
        read = photos(str(start), "start", model.channels)
        return torch.stack([one.x for one in read.values()])
    if isinstance(start, Image.Image):
        return of_pillow("start", start, model.channels, PICTURE)[0][None]
    x = values.pixels("start", start, PICTURE).float()
    x = x[None, None] if x.ndim == GREY_AXES else x[None] if x.ndim == GREY_AXES + 1 else x
    grey = x.ndim == GREY_AXES + 2 and x.shape[1] == 1
    return x.expand(-1, model.channels, -1, -1) if grey else x


def _noise(model: Model, x_T: Any, count: int) -> Start:
    n = values.tensor("x_T", x_T, f"noise [{count}, *shape], about N(0, I)")
    model.denoiser.space.check(n.shape[1:], "x_T")
    if len(n) != count:
        raise InputError(f"x_T: {len(n)} rows for {count} images; give one each")
    if not bool(n.isfinite().all()):
        raise InputError("x_T: has values that are not finite; give noise, about N(0, I)")
    return FromNoise(n)
