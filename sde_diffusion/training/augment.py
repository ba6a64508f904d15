"""Random changes of training images, and what the network is told of them.

A *leaky* augmentation changes what is learned: its images are samples too. A non-leaky one tells
the network in the condition ``augment`` [B, K] what it did, zeros meaning nothing; sampling gives
no such condition, so images come out as they are in the data (EDM, arXiv:2206.00364, appendix F).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, final

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sde_diffusion.conditions.condition import AUGMENT
from sde_diffusion.errors import InputError
from sde_diffusion.process.noise import BatchDraws, Stream
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within


class Augment(Component, ABC, known_as="augment"):
    """Random changes of the rows of a batch, on the device where they are.

    Attributes:
        labels: K, the number of values a row that the network is told; 0 for a leaky one.
    """

    labels: int = 0

    @abstractmethod
    def __call__(
        self, x_0: Tensor, draws: BatchDraws, part: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Images x_0 [B, C, H, W] changed at random, and what is told: {"augment": [B, K]} or {}.

        Args:
            draws: of the same rows, on the device of x_0.
            part: the number of this augmentation among those of a batch.
        """


@final
class AugmentChain(Augment):
    """One after the other, in the order given, their labels side by side; none leaves data as is.

    Without any, data of every shape pass. Each draws numbers of its own.
    """

    def __init__(self, parts: Sequence[Augment] = ()) -> None:
        self.parts = list(parts)
        self.labels = sum(part.labels for part in self.parts)

    def __call__(
        self, x_0: Tensor, draws: BatchDraws, part: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        labels = []
        for number, augment in enumerate(self.parts, part):
            x_0, values = augment(x_0, draws, number)
            labels += list(values.values())
        return x_0, {AUGMENT: torch.cat(labels, dim=1)} if labels else {}


@final
class Flip(Augment, known_as="augment.flip"):
    """Mirrored left to right with probability p, and the network is not told: leaky by intent.

    Args:
        p: probability, of each image apart.
    """

    def __init__(self, p: Annotated[float, Within("0 <= p <= 1")] = 0.5) -> None:
        self.p = p

    def __call__(
        self, x_0: Tensor, draws: BatchDraws, part: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        _check_images(x_0)
        return _mirrored(x_0, draws.uniform(Stream.AUGMENT, (), torch.float32, part) < self.p), {}


@final
class Dequantise(Augment, known_as="augment.dequantise"):
    """Grey levels k spread evenly over their bins, (k + u) / 128 - 1 with u ~ U(0, 1).

    What ``likelihood.dequantise`` does to the images whose bits a dimension are asked for (Theis
    et al., arXiv:1511.01844): a density trained on bare levels is a comb that misses them.
    """

    def __call__(
        self, x_0: Tensor, draws: BatchDraws, part: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        _check_images(x_0)
        u = draws.uniform(Stream.AUGMENT, x_0.shape[1:], x_0.dtype, part)
        return (((x_0 + 1) * 127.5).round() + u) / 128 - 1, {}


@final
class Geometric(Augment, known_as="augment.geometric"):
    """EDM's geometric augmentations without the blurring ones (arXiv:2206.00364, table 6).

    One after the other, each on its own coin: mirrored left to right (probability ``flip``), then
    with probability ``p`` each mirrored top to bottom, turned by 90, 180 or 270 degrees, scaled by
    2^(``scale`` w) about the centre with w ~ N(0, 1), and moved by whole pixels, uniform up to
    ``shift`` of each side. The network is told K = 7 numbers, zeros for an image left alone:

        [flip, top to bottom, cos - 1 and sin of the turn, w, move right and down / (shift side)]

    What lies beyond the border is mirrored at the middle of the border pixels. Only scaling
    interpolates (bilinear); all else moves pixels unchanged. EDM turns by any angle, stretches,
    and moves by fractions of a pixel. p = flip = 0 leaves all images as they are.

    Args:
        p: probability of each change but the first. flip: of that, left to right.
        scale: standard deviation of log2 of the size. shift: largest move, as a share of a side.
    """

    labels = 7

    def __init__(
        self,
        p: Annotated[float, Within("0 <= p <= 1")] = 0.12,
        flip: Annotated[float, Within("0 <= flip <= 1")] = 0.5,
        scale: Annotated[float, Within("0 <= scale <= 8")] = 0.2,  # far beyond, sizes overflow
        shift: Annotated[float, Within("0 <= shift < 1")] = 0.125,
    ) -> None:
        self.p = p
        self.flip = flip
        self.scale = scale
        self.shift = shift

    def __call__(
        self, x_0: Tensor, draws: BatchDraws, part: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.apply(x_0, self.draw(draws, part))

    def draw(self, draws: BatchDraws, part: int = 0) -> Tensor:
        """What happens to each row, float32 [B, 6], zeros meaning nothing.

        Mirror x, mirror y, quarter turns, w, and shares of ``shift`` to the right and down.
        """
        u = draws.uniform(Stream.AUGMENT, (7,), torch.float32, part)
        turns = 1 + draws.whole(Stream.AUGMENT, (), 3, part)
        w = draws.normal(Stream.AUGMENT, (), torch.float32, part)
        one = torch.ones_like(w)
        sizes = torch.stack([one, one, turns, w, *(2 * u[:, 5:] - 1).unbind(1)], 1)
        happens = torch.cat([u[:, :1] < self.flip, u[:, 1:5] < self.p, u[:, 4:5] < self.p], 1)
        return sizes * happens

    def apply(self, x_0: Tensor, drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Do ``drawn`` [B, 6] to x_0 [B, C, H, W]: the images, and what is told of them [B, 7].

        All rows take the same way, so that nothing is read from the device.
        """
        _check_images(x_0)
        height, width = x_0.shape[-2:]
        if height != width or width < 2:
            raise InputError(
                f"augment=geometric: turns square images of 2 pixels or more, not {height} x "
                f"{width}; choose augment=flip or []"
            )
        mirror_x, mirror_y, turns, w = drawn[:, :4].unbind(1)
        move = (drawn[:, 4:] * self.shift * width).round()
        # cos and sin of whole quarter turns, without rounding errors.
        cos = (turns == 0).float() - (turns == 2).float()
        sin = (turns == 1).float() - (turns == 3).float()
        shifts = move / max(self.shift * width, 1)
        labels = torch.stack([mirror_x, mirror_y, cos - 1, sin, w, shifts[:, 0], shifts[:, 1]], 1)
        shrink = torch.exp2(-self.scale * w)
        undone = (mirror_x, mirror_y, cos, sin, shrink, move[:, 0], move[:, 1])
        x, y = _origins(width, *(value[:, None, None] for value in undone))
        return _resampled(x_0, x, y, w != 0), {AUGMENT: labels}


def _mirrored(x_0: Tensor, where: Tensor) -> Tensor:
    """New images [B, C, H, W], mirrored left to right in the rows where ``where`` [B] says so."""
    return torch.where(where[:, None, None, None], x_0.flip(-1), x_0)


def _origins(
    side: int,
    mirror_x: Tensor,
    mirror_y: Tensor,
    cos: Tensor,
    sin: Tensor,
    shrink: Tensor,
    move_x: Tensor,
    move_y: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where each output pixel comes from: x, y [B, side, side] from the centre.

    The changes are undone from the last to the first. y points down, so that a turn by +90
    degrees takes right to up.
    """
    centred = torch.arange(side, device=mirror_x.device) - (side - 1) / 2
    right = (centred[None, None, :] - move_x) * shrink
    down = (centred[None, :, None] - move_y) * shrink
    x = (cos * right - sin * down) * (1 - 2 * mirror_x)
    y = (sin * right + cos * down) * (1 - 2 * mirror_y)
    return x, y


def _resampled(x_0: Tensor, x: Tensor, y: Tensor, between: Tensor) -> Tensor:
    """Square images at centred coordinates x, y [B, W, W]; ``between`` [B]: not whole pixels."""
    last = x_0.shape[-1] - 1
    column, row = _reflected(x + last / 2, last), _reflected(y + last / 2, last)
    whole = (row.round() * (last + 1) + column.round()).long().flatten(1)
    out = x_0.flatten(2).gather(2, whole[:, None].expand(-1, x_0.shape[1], -1)).view_as(x_0)
    unit = torch.stack([column, row], -1) * (2 / last) - 1
    scaled = grid_sample(x_0, unit.to(x_0), padding_mode="border", align_corners=True)
    return torch.where(between[:, None, None, None], scaled, out)


def _reflected(position: Tensor, last: int) -> Tensor:
    """Positions mirrored into 0 .. last, the ends once: -1 is 1."""
    return last - (position.remainder(2 * last) - last).abs()


def _check_images(x_0: Tensor) -> None:
    if x_0.ndim != 4:
        raise InputError(
            f"augment: changes images [C, H, W], not data of shape {tuple(x_0.shape[1:])}; "
            "set augment=[]"
        )
