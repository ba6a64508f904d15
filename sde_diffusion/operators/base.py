"""What a measurement is: y = A(x) + noise n, by a component that states A and the noise level."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.operators.spectrum import Spectrum, conjugate_gradients, gram_spectrum
from sde_diffusion.system.identity import Component

Aside = Mapping[str, Tensor]
POWERS = 20  # of A^T A, of which the last tells the largest singular value


class Map(ABC):
    """A of one shape of states: x [N, *shape] -> y [N, *out], rows apart, differentiable.

    Attributes:
        shape, out: of one state and of one measurement.
        support: 1 where a number of the measurement is measured, 0 where it is a filling,
            [*out] or [N, *out]; None: all are measured.
        linear: whether it is a ``LinearMap``.
    """

    linear: bool = False

    def __init__(
        self, shape: Sequence[int], out: Sequence[int], support: Tensor | None = None
    ) -> None:
        self.shape, self.out, self.support = tuple(shape), tuple(out), support

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A(x) [N, *out], dtype and device of x."""

    def kept(self, x: Tensor, y: Tensor) -> Tensor:
        """x with those of its own numbers that y [N, *out] holds; x where A mixes them."""
        return x

    @final
    def filled(self, y: Tensor) -> Tensor:
        """``y`` [N, *out], 0 where nothing is measured."""
        return y if self.support is None else y * self.support.to(y)

    @final
    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """y - A(x) [N, *out], 0 where nothing is measured."""
        return self.filled(y - self.forward(x))


class LinearMap(Map):
    """A map with its adjoint: <A x, y> = <x, A^T y>."""

    linear = True
    _spectrum: Spectrum | None = None

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y [N, *shape]."""

    def spectrum(self) -> Spectrum:
        """A = U diag(s) V^T; by the eigenvalues of A A^T where a class knows no better.

        InputError where A A^T is too large for that.
        """
        if self._spectrum is None:
            self._spectrum = gram_spectrum(self.forward, self.adjoint, self.shape, self.out)
        return self._spectrum

    def norm(self) -> float:
        """The largest singular value, from below and to a few percent, by power iteration."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, *self.shape, generator=generator, dtype=torch.float64)
        size = 0.0
        for _ in range(POWERS):
            size = float(torch.linalg.vector_norm(x))
            if not 0 < size < math.inf:
                return size
            x = self.adjoint(self.filled(self.forward(x / size)))
        return math.sqrt(size)

    def pull(self, residual: Tensor, c: float | Tensor, d: float) -> Tensor:
        """A^T (c A A^T + d I)^-1 of a residual [N, *out], [N, *shape].

        The mean of the posterior whose prior is N(x, v I) is x + v pull(y - A x, v, noise^2). By
        the spectrum, or by conjugate gradients where it is not to be had.

        Args:
            residual: [N, *out], 0 where nothing is measured. c, d: >= 0; c may be one a row [N].
        """
        column = c if isinstance(c, float) or c.ndim == 0 else c.reshape(-1, *[1] * len(self.out))
        try:
            s = self.spectrum()
        except InputError:

            def matrix(u: Tensor) -> Tensor:
                return column * self.filled(self.forward(self.adjoint(u))) + d * u

            return self.adjoint(conjugate_gradients(matrix, residual))
        if isinstance(c, Tensor) and c.ndim:
            column = c.reshape(-1, *[1] * (s.data(residual).ndim - 1))
        scale = s.values.to(residual)
        gain = torch.where(scale > 0, scale / (column * scale.square() + d).clamp_min(1e-30), 0)
        return s.synthesis(gain * s.data(residual))


class Operator(Component, ABC, known_as="operator"):
    """y = A(x) + noise n, n standard normal where something is measured.

    Attributes:
        noise: standard deviation sigma_y of each measured number, in the units of y.
        needs: names of what must ride with the measurement: ``mask``.
    """

    noise: float
    needs: tuple[str, ...] = ()

    @abstractmethod
    def make(self, shape: Sequence[int], aside: Aside) -> Map:
        """A for states of one shape.

        Args:
            shape: of one state. aside: what rides with the measurement: ``mask`` [N, ...].

        InputError, which names ``operator``, for a shape that it cannot measure.
        """

    def seen(self, channels: int) -> int:
        """Channels of the measurement of a picture of ``channels``."""
        return channels

    @final
    def at(self, shape: Sequence[int], aside: Aside | None = None) -> Map:
        """As ``make``; what depends on the shape alone is made once."""
        if aside:
            return self.make(tuple(shape), aside)
        maps: dict[tuple[int, ...], Map] = vars(self).setdefault("_maps", {})
        if tuple(shape) not in maps:
            maps[tuple(shape)] = self.make(tuple(shape), {})
        return maps[tuple(shape)]

    @final
    def measure(self, x: Tensor, n: Tensor | None = None, **aside: Tensor) -> Tensor:
        """A(x) + noise n [N, *out].

        Args:
            x: states [N, *shape]. n: standard normals [N, *out]; None: without noise.
            aside: what rides with the measurement.
        """
        a = self.at(x.shape[1:], aside)
        y = a.forward(x)
        return a.filled(y if n is None else y + self.noise * n.to(y))

    @final
    def misfit(self, x: Tensor, y: Tensor, **aside: Tensor) -> Tensor:
        """sqrt(mean |A(x) - y|^2) / noise over what is measured, [N]: 1 where x is the truth.

        Without noise it is in the units of y.
        """
        a = self.at(x.shape[1:], aside)
        error = a.residual(x, y).flatten(1).square().sum(1)
        support = torch.ones(a.out) if a.support is None else a.support
        count = support.expand(len(x), *a.out).flatten(1).sum(1).to(error)
        # Where nothing is measured, of a picture that is all mask, say, there is nothing to miss.
        return (error / count.clamp_min(1)).sqrt() / (self.noise or 1.0)


def checked_noise(noise: float) -> float:
    """``noise``; InputError unless it is 0, or a number whose square float32 has."""
    if noise != 0 and not 1e-9 <= noise <= 1e9:
        raise InputError(
            f"operator.noise={noise}: give a standard deviation from 1e-9 to 1e9, or 0 for none"
        )
    return float(noise)


def picture(shape: Sequence[int], operator: str) -> tuple[int, int, int]:
    """(C, H, W) of a shape; InputError for vectors."""
    if len(shape) != 3:
        raise InputError(
            f"operator={operator}: measures pictures [C, H, W], not {tuple(shape)}; give "
            "operator=matrix"
        )
    return shape[0], shape[1], shape[2]
