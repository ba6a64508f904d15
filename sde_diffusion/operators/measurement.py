"""A batch's measurement, which rides in the condition beside labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import MEASUREMENT, Condition, Part
from sde_diffusion.errors import InputError
from sde_diffusion.operators.base import LinearMap, Map, Operator
from sde_diffusion.operators.spectrum import Spectrum


def with_measurement(y: Tensor, cond: Condition | None = None, **aside: Tensor) -> Condition:
    """``cond``, or none, with what was measured of its rows.

    Args:
        y: [N, *out], as ``operator.measure`` gives it. cond: labels and the like of the N rows.
        aside: what the operator needs a row: ``mask`` [N, *shape] of ``operator=mask``.
    """
    part = Part.of(y, fixed=True, **aside)
    if cond is None:
        return Condition({MEASUREMENT: part})
    other = None if cond.other is None else cond.other.with_part(MEASUREMENT, part)
    return Condition({**cond.parts, MEASUREMENT: part}, other)


def check_measurement(cond: Condition | None, method: str) -> None:
    """InputError unless the condition holds a measurement, for the method that needs it."""
    if cond is None or MEASUREMENT not in cond:
        raise InputError(
            f"{method}: needs a measurement, which 'sde-diffusion edit' makes of a picture, as "
            "model.edit does in Python; or choose another method"
        )


@final
@dataclass(frozen=True)
class Measured:
    """The measurement of a batch, as a method reads it; without effect in rows not kept.

    Attributes:
        map: A. y: [N, *out]. keep: [N], of dtype of y. noise: sigma_y.
    """

    map: Map
    y: Tensor
    keep: Tensor
    noise: float

    @classmethod
    def read(cls, operator: Operator, cond: Condition | None, x: Tensor, method: str) -> Measured:
        """What was measured of the rows of x [N, *shape]; InputError for what does not fit."""
        check_measurement(cond, method)
        assert cond is not None
        part = cond.parts[MEASUREMENT]
        a = operator.at(x.shape[1:], part.aside)
        if tuple(part.value.shape[1:]) != a.out:
            raise InputError(
                f"{method}: a measurement of shape {tuple(part.value.shape[1:])}, where the "
                f"operator measures {a.out} of a state {tuple(x.shape[1:])}; give that"
            )
        return cls(a, part.value.to(x), part.keep.to(x), operator.noise)

    def residual(self, x: Tensor) -> Tensor:
        """y - A(x) [N, *out], 0 where nothing is measured."""
        return self.map.residual(x, self.y) * self._column(self.map.out)

    def linear(self, method: str) -> LinearMap:
        """A; InputError if it is not linear."""
        if not isinstance(self.map, LinearMap):
            raise InputError(
                f"{method}: needs a linear operator; choose method=dps, or method=daps "
                "solver.langevin=100, for this one"
            )
        return self.map

    def spectral(self, method: str) -> tuple[Spectrum, Tensor]:
        """U, s, V, and s as it counts in each row: [N or 1, *coordinates], 0 in rows not kept."""
        spectrum = self.linear(method).spectrum()
        s = spectrum.values.to(self.y)
        like = spectrum.data(self.y[:1])
        s = s if s.ndim == like.ndim else s[None]
        return spectrum, s * self._column(like.shape[1:])

    def moved(self, x: Tensor, v: float, method: str) -> Tensor:
        """The mean of N(x, v I) given y: x + v A^T (v A A^T + noise^2 I)^-1 (y - A x)."""
        return x + v * self.linear(method).pull(self.residual(x), v, self.noise**2)

    def drawn(self, x: Tensor, v: float, normals: tuple[Tensor, Tensor], method: str) -> Tensor:
        """A draw of N(x, v I) given y: a draw of the prior, moved by the noise it would have had.

        Args:
            x: mean [N, *shape]. v: variance > 0. normals: two, each [N, *shape].
        """
        spectrum, s = self.spectral(method)
        x = x + v**0.5 * normals[0]
        data = spectrum.data(self.residual(x)) + self.noise * spectrum.analysis(normals[1])
        gain = torch.where(s > 0, v * s / (v * s.square() + self.noise**2).clamp_min(1e-30), 0)
        return x + spectrum.synthesis(gain * data)

    def log_likelihood(self, x: Tensor, v: float, method: str) -> Tensor:
        """log N(y; A x, noise^2 I + v A A^T) [N], but for what does not depend on x."""
        spectrum, s = self.spectral(method)
        error = spectrum.data(self.residual(x))
        total = (v * s.square() + self.noise**2).clamp_min(1e-30)
        return -0.5 * (error.square() / total * (s > 0)).flatten(1).sum(1)

    def _column(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return self.keep.reshape(-1, *[1] * len(shape))
