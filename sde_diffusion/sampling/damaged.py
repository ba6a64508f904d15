"""What is known of one picture that is to be edited: its measurement, and what rides beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from sde_diffusion.denoisers.space import Kind, Space
from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import LinearMap, Map, Operator
from sde_diffusion.operators.masks import MASK
from sde_diffusion.process.noise import Draws, Stream

# How many times smaller than the picture a measurement may be.
MOST_FACTOR = 16
# How many times a picture's numbers may be too large: what was drawn, or interpolated, overshoots.
FAR = 2.0
SIGMAS = 6.0  # of noise


@final
@dataclass(frozen=True)
class Damaged:
    """One picture as it is known.

    Attributes:
        y: the measurement [*out], 0 where nothing is measured.
        shape: of the picture (C, H, W).
        aside: what rides with y, each [1, ...]: the mask, 1 where a pixel is known.
        truth: the picture [C, H, W] of which y was made up; None of a real measurement.
        picture: y, where it is a picture of that shape; where strength starts from.
    """

    y: Tensor
    shape: tuple[int, ...]
    aside: Mapping[str, Tensor]
    truth: Tensor | None = None
    picture: Tensor | None = None

    def map(self, operator: Operator) -> Map:
        """A of its shape."""
        return operator.at(self.shape, self.aside)

    def rows(self, n: int) -> dict[str, Tensor]:
        """What rides beside the measurement, for n rows of it."""
        return {name: each.expand(n, *each.shape[1:]) for name, each in self.aside.items()}

    def seen(self, operator: Operator) -> Tensor | None:
        """What was measured as a picture [C, H, W]: y, or the least-norm picture that a linear
        operator would measure so (noise weighed); None of others."""
        a, y = self.map(operator), self.y
        if isinstance(a, LinearMap) and tuple(y.shape) != tuple(self.shape):
            return a.pull(y[None], 1.0, operator.noise**2)[0]
        return y if y.ndim == 3 and y.shape[0] in (1, 3) else None

    @property
    def known(self) -> Tensor | None:
        """1 where a pixel is known [H, W], of a mask; None of other operators."""
        mask = self.aside.get(MASK)
        return None if mask is None else mask[0, 0]

    @classmethod
    def of(
        cls,
        operator: Operator,
        picture: Tensor,
        space: Space,
        anew: Tensor | None = None,
        extend: Any = (),
        truth_seed: int | None = None,
    ) -> Damaged:
        """What a user gave, checked; InputError for what does not go together.

        Args:
            picture: a picture [C, H, W], -1 .. 1, or a measurement [*out].
            space: of the model. anew: bool [H, W], True where the picture is to be drawn anew.
            extend: pixels to be drawn at top, right, bottom and left of it.
            truth_seed: the picture is the truth, measured here with the noise of this seed.
        """
        sides = margins(extend)
        drawn = anew is not None or any(sides)
        if drawn and MASK not in operator.needs:
            raise InputError(
                f"{'mask' if anew is not None else 'extend'}: this operator has no use for it; "
                "leave it out, or choose operator=mask"
            )
        if not drawn and MASK in operator.needs:
            raise InputError(
                "mask: required by this operator; give mask=FILE, white where the picture is to "
                "be drawn anew, or extend=[0,8,0,8], or another operator"
            )
        if truth_seed is not None:
            return cls._made_up(operator, picture, anew, sides, truth_seed)
        if drawn:
            return cls._masked(operator, picture, _known(picture, anew, sides), sides)
        picture = _with_channel(operator, picture, space)
        shape = _shape_of(operator, tuple(picture.shape), space)
        y = operator.at(shape).filled(picture[None])[0]
        _check_scale(operator, shape, y)
        return cls(y, shape, {}, None, _as_picture(y, shape))

    @classmethod
    def _masked(
        cls, operator: Operator, x: Tensor, kept: Tensor, sides: tuple[int, int, int, int]
    ) -> Damaged:
        """A picture of which a part is known, in a frame that is not."""
        top, right, bottom, left = sides
        _check_levels(x, operator.noise)
        x, aside = F.pad(x, (left, right, top, bottom)), {MASK: kept[None, None]}
        a = operator.at(x.shape, aside)
        if a.out != tuple(x.shape):
            raise InputError(
                f"image: this operator measures {a.out} of it; give a picture that is to be "
                "measured, with simulate=true"
            )
        return cls(a.filled(x[None])[0], tuple(x.shape), aside, None, x)

    @classmethod
    def _made_up(
        cls, operator: Operator, x: Tensor, anew: Tensor | None, sides: Sequence[int], seed: int
    ) -> Damaged:
        """The measurement of a picture [C, H, W], with the noise of a seed."""
        if any(sides):
            raise InputError("extend: nothing is known of what lies there; leave simulate out")
        if x.ndim != 3:
            raise InputError(f"simulate: {tuple(x.shape)} is no picture; leave it out")
        _check_levels(x)
        aside = {}
        if anew is not None:
            aside = {MASK: _known(x, anew, (0, 0, 0, 0))[None, None]}
        a = operator.at(x.shape, aside)
        n = Draws.of_seeds([seed]).normal(Stream.MEASURED, 0, a.out, x.dtype)
        y = operator.measure(x[None], n, **aside)[0]
        return cls(y, tuple(x.shape), aside, x, _as_picture(y, tuple(x.shape)))


def _known(x: Tensor, anew: Tensor | None, sides: tuple[int, int, int, int]) -> Tensor:
    """1 where a pixel is known, of the picture and the frame around it [H, W]."""
    if x.ndim != 3:
        raise InputError(f"image: shape {tuple(x.shape)} is no picture, which a mask is of")
    height, width = x.shape[1:]
    if anew is None:
        anew = torch.zeros(height, width, dtype=torch.bool)
    if tuple(anew.shape) != (height, width):
        raise InputError(
            f"mask: {' x '.join(map(str, anew.shape))} pixels, and the picture has {height} x "
            f"{width}; give one of its size, white where it is to be drawn anew"
        )
    top, right, bottom, left = sides
    kept = 1 - F.pad(anew.float(), (left, right, top, bottom), value=1.0)
    if bool(kept.all()):
        raise InputError("mask: black everywhere; paint white what is to be drawn anew")
    if not bool(kept.any()):
        raise InputError("mask: white everywhere; paint black what is to be kept, or use 'sample'")
    return kept


def _check_levels(x: Tensor, noise: float = 0.0) -> None:
    """InputError for a picture whose black and white are not about -1 and 1, noise aside."""
    largest = float(x.abs().max()) if x.numel() else 0.0
    if largest > FAR + SIGMAS * noise:
        raise InputError(
            f"image: values up to {largest:g}; give a picture from -1, black, to 1, white, or uint8"
        )


def _check_scale(operator: Operator, shape: tuple[int, ...], y: Tensor) -> None:
    """InputError for a measurement of numbers that no picture from -1 to 1 has.

    |y| <= |A| |x| + noise sqrt(m), and |x| <= sqrt(n), for a linear A; others are passed over.
    """
    a = operator.at(shape)
    if not isinstance(a, LinearMap):
        return
    most = a.norm() * math.sqrt(math.prod(shape)) + operator.noise * math.sqrt(y.numel())
    size = float(torch.linalg.vector_norm(y.double()))
    if size > FAR * most:
        raise InputError(
            f"image: its numbers are {size / most:.3g} times as large as a picture's from -1 to 1 "
            "can be; scale them, x / 127.5 - 1 of a picture from 0 to 255, say"
        )


def margins(extend: Any) -> tuple[int, int, int, int]:
    """(top, right, bottom, left) of what a user gave; InputError unless four numbers >= 0."""
    sides = list(extend) if isinstance(extend, Iterable) else [extend]
    if extend is None or not sides:
        return 0, 0, 0, 0
    if len(sides) != 4 or any(type(n) is not int or not 0 <= n <= 4096 for n in sides):
        raise InputError(
            f"extend={sides}: give pixels at [TOP,RIGHT,BOTTOM,LEFT], 0 to 4096, [0,32,0,32], say"
        )
    top, right, bottom, left = sides
    return top, right, bottom, left


def _as_picture(y: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    return y if tuple(y.shape) == shape else None


def _shape_of(operator: Operator, out: tuple[int, ...], space: Space) -> tuple[int, ...]:
    """The shape of the picture whose measurement has the shape ``out``."""
    channels = space.pattern[0]
    fixed = [side for side in space.pattern if side is not None]
    tried = [tuple(fixed)] if len(fixed) == len(space.pattern) else []
    if len(out) == 3 and channels is not None:
        factors = range(1, MOST_FACTOR + 1)
        tried += [(channels, out[1] * k, out[2] * k) for k in factors]
    for shape in tried:
        try:
            if operator.at(shape).out == out:
                return shape
        except InputError:
            continue
    first = tried[0] if tried else None
    wanted = "" if first is None else f"; of {first} it measures {_out(operator, first)}"
    raise InputError(
        f"image: shape {out} is no measurement by this operator{wanted}; give one, as a picture or "
        "a .npy file, or simulate=true for it to be made of a picture"
    )


def _with_channel(operator: Operator, y: Tensor, space: Space) -> Tensor:
    """A measurement [H, W] as [1, H, W], where the operator measures such and no flat ones, as
    sinograms are."""
    for each in (y, y[None]) if y.ndim == 2 else ():
        try:
            _shape_of(operator, tuple(each.shape), space)
        except InputError:
            continue
        return each
    return y


def _out(operator: Operator, shape: tuple[int, ...]) -> str:
    try:
        return str(tuple(operator.at(shape).out))
    except InputError as error:
        return f"nothing ({error})"


def check_pictures(space: Space) -> None:
    """InputError unless states of the space are pictures in pixels."""
    if space.kind is not Kind.PIXELS or len(space.pattern) != 3:
        raise InputError(
            f"checkpoint: the model draws {space.kind.value}, and edit measures pixels; give a "
            "model of pixels"
        )
