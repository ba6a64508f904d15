"""Computed tomography: integrals along rays, of few views or a limited range of angles."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import Aside, LinearMap, Map, Operator, checked_noise, picture
from sde_diffusion.operators.blur import bilinear
from sde_diffusion.operators.matrix import MatrixMap
from sde_diffusion.operators.spectrum import Spectrum
from sde_diffusion.system.memory import GIB, available

SAMPLES = 2  # points a pixel along each ray
POINT = 270  # bytes for each of them while the matrix is made


@final
class ChannelMap(LinearMap):
    """A map of pictures of one channel, of each channel by itself.

    Args:
        grey: A of pictures (1, H, W), measured as out. channels: C of pictures [N, C, H, W], which
            are measured as [N, C, *out].
    """

    def __init__(self, grey: LinearMap, channels: int) -> None:
        super().__init__((channels, *grey.shape[1:]), (channels, *grey.out))
        self.grey = grey

    def forward(self, x: Tensor) -> Tensor:
        return self.grey.forward(x.reshape(-1, *self.grey.shape)).reshape(-1, *self.out)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.grey.adjoint(y.reshape(-1, *self.grey.out)).reshape(-1, *self.shape)

    def spectrum(self) -> Spectrum:
        one, channels = self.grey.spectrum(), self.shape[0]
        return Spectrum(
            one.values.expand(channels, *one.values.shape),
            lambda x: one.analysis(x.reshape(-1, *self.grey.shape)).unflatten(0, (-1, channels)),
            lambda z: one.synthesis(z.flatten(0, 1)).reshape(-1, *self.shape),
            lambda y: one.data(y.reshape(-1, *self.grey.out)).unflatten(0, (-1, channels)),
        )


class Projection(Operator):
    """Integrals of a picture along straight rays, where its side has length one.

    Measured are [views, bins] of a grey picture, [C, views, bins] of one of C channels; a ray is
    read at two points a pixel, bilinear between pixels.
    """

    views: int

    @abstractmethod
    def rays(self, bins: int) -> tuple[Tensor, Tensor]:
        """A point (row, column) of each ray and its direction, [views, bins, 2], about the centre.

        Lengths are in sides of the picture.
        """

    @final
    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        channels, height, width = picture(shape, "a projection")
        if height != width:
            raise InputError(
                f"operator: rays need square pictures, not {height} x {width}; choose another one"
            )
        bins = math.ceil(math.sqrt(2) * height)
        n = math.ceil(math.sqrt(2) * height * SAMPLES)
        if (needed := POINT * self.views * bins * n) > (there := available()):
            raise InputError(
                f"operator.views={self.views}: of pictures {height} x {width} they take "
                f"{needed / GIB:.3g} GiB of memory, and {there / GIB:.1f} are there; give fewer"
            )
        points, directions = self.rays(bins)
        along = ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5) * math.sqrt(2)
        # The point of each ray nearest to the centre stands in the middle of what is read.
        middle = points - (points * directions).sum(-1, keepdim=True) * directions
        at = middle[..., None, :] + along[:, None] * directions[..., None, :]
        pixels = (at + 0.5) * height - 0.5
        ray = torch.arange(self.views * bins)[:, None].expand(-1, n).flatten()
        entries = []
        for row, column, weight in bilinear(pixels[..., 0].flatten(), pixels[..., 1].flatten()):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = torch.stack([ray[inside], (row * width + column)[inside]])
            entries.append((place, weight[inside] * math.sqrt(2) / n))
        places, weights = (torch.cat(part, -1) for part in zip(*entries, strict=True))
        size = (self.views * bins, height * width)
        matrix = torch.sparse_coo_tensor(places, weights, size, check_invariants=True).coalesce()
        grey = MatrixMap(matrix, (1, height, width), (self.views, bins))
        return grey if channels == 1 else ChannelMap(grey, channels)


class ParallelBeam(Projection):
    """Parallel rays, sqrt(2) H bins a view.

    Args:
        views: how many angles, evenly spread: few are sparse-view tomography.
        arc: degrees that they are spread over: below 180 is limited-angle tomography.
        noise: standard deviation of each integral.
    """

    def __init__(self, views: int = 16, arc: float = 180.0, noise: float = 0.01) -> None:
        self.views, self.arc, self.noise = _views(views), _arc(arc, 180), checked_noise(noise)

    def rays(self, bins: int) -> tuple[Tensor, Tensor]:
        angle = _angles(self.views, self.arc)[:, None]
        offset = ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins - 0.5) * math.sqrt(2)
        across = torch.stack([angle.sin(), angle.cos()], -1)
        along = torch.stack([angle.cos(), -angle.sin()], -1)
        return offset[:, None] * across, along.expand(self.views, bins, 2)


class FanBeam(Projection):
    """Rays from a source that goes round the picture, sqrt(2) H bins a view.

    Args:
        views: how many places of the source. arc: degrees that they are spread over.
        distance: of the source from the centre, in sides of the picture, > 0.75.
        noise: standard deviation of each integral.
    """

    def __init__(
        self, views: int = 16, arc: float = 360.0, distance: float = 2.0, noise: float = 0.01
    ) -> None:
        if not 0.75 < distance <= 1e6:
            raise InputError(f"operator.distance={distance}: give a number > 0.75, at most 1e6")
        self.views, self.arc, self.noise = _views(views), _arc(arc, 360), checked_noise(noise)
        self.distance = distance

    def rays(self, bins: int) -> tuple[Tensor, Tensor]:
        angle = _angles(self.views, self.arc)[:, None]
        half = math.asin(math.sqrt(0.5) / self.distance)
        fan = angle + ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins * 2 - 1) * half
        source = self.distance * torch.stack([angle.cos(), angle.sin()], -1)
        return source.expand(self.views, bins, 2), torch.stack([-fan.cos(), -fan.sin()], -1)


def _angles(views: int, arc: float) -> Tensor:
    return torch.arange(views, dtype=torch.float64) * (math.radians(arc) / views)


def _views(views: int) -> int:
    if not 1 <= views <= 10_000:
        raise InputError(f"operator.views={views}: give a whole number, 1 .. 10000")
    return views


def _arc(arc: float, most: float) -> float:
    if not 0 < arc <= most:
        raise InputError(f"operator.arc={arc}: give degrees, 0 < arc <= {most:g}")
    return arc
