"""A denoiser at another size than the one that its network was trained at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.denoisers.space import Space
from sde_diffusion.denoisers.tiled import Tiled
from sde_diffusion.denoisers.wrapper import Wrapper
from sde_diffusion.errors import InputError


@final
class Sized(Wrapper):
    """The same denoiser, asked for states of another shape that its network takes.

    Args:
        space: of those states: of one shape, or with another usual one.
    """

    def __init__(self, inner: Denoiser, space: Space) -> None:
        super().__init__(inner)
        self.space, self.precision = space, inner.precision

    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        answer: Tensor = self.inner(x, sigma, cond)
        return answer


def at_size(denoiser: Denoiser, size: Sequence[int], key: str = "size") -> Denoiser:
    """The denoiser of pictures (C, H, W): itself where they are the model's; its network as it is
    where that is of convolutions alone; else in tiles. InputError, naming ``key``, if none can."""
    pattern = denoiser.space.pattern
    if tuple(size) == pattern:
        return denoiser
    if len(pattern) != 3 or len(size) != 3:
        raise InputError(f"{key}: the model draws vectors; leave it out")
    if None in pattern:
        denoiser.space.check(size, key)
        return Sized(denoiser, Space(denoiser.space.kind, tuple(size)))
    smaller = any(a < (b or 0) for a, b in zip(size, pattern, strict=True))
    if smaller or not denoiser.convolutional:
        return Tiled(denoiser, size, key)
    multiple = denoiser.convolutional
    if size[0] != pattern[0] or any(side < 1 or side % multiple for side in size[1:]):
        near = [max(multiple, round(side / multiple) * multiple) for side in size[1:]]
        more = [-side % multiple for side in size[1:]]
        remedy = f"give {near[0]} x {near[1]}"
        if key == "image":  # of which each pixel is known
            remedy = f"crop it, or draw {more[0]} more rows and {more[1]} columns with extend=[...]"
        raise InputError(
            f"{key}: {size[1]} x {size[2]}, sides must be multiples of {multiple}; {remedy}"
        )
    return Sized(denoiser, Space(denoiser.space.kind, tuple(size)))


def latent_shape(
    space: Space, factor: int, size: Sequence[int], key: str = "size"
) -> tuple[int, ...]:
    """The shape of latents of pictures (height, width); InputError, naming ``key``, for others.

    Args:
        factor: pixels a side of a latent's.
    """
    usual, step = [factor * side for side in space.shape[1:]], factor * space.multiple
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise InputError(f"{key}={list(size)}: give height and width, size={usual}, say")
    if None not in space.pattern and list(size) != usual:
        raise InputError(f"{key}={list(size)}: this model draws {usual} alone; give that")
    if None in space.pattern and any(side % step for side in size):
        near = [max(1, round(side / step)) * step for side in size]
        raise InputError(
            f"{key}={list(size)}: height and width are multiples of {step}; give size={near}"
        )
    return (space.shape[0], *(side // factor for side in size))
