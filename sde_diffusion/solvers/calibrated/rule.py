"""A calibrated rule: where a network is asked, and how its answers are added up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.solvers.base import linear
from sde_diffusion.solvers.calibrated.bands import Bands
from sde_diffusion.solvers.calibrated.normal import NormalRows


@dataclass(frozen=True)
class Rule:
    """n evaluations: y_0 by the flow of a normal law, then

        e_j = (y_j - D(y_j, r_j)) / r_j,  y_{i+1} = y_i + sum_{j <= i} (W_ij e_j + V_ij g_j),

    g_j what the denoiser of that normal law answers in the network's place.

    Attributes:
        levels: [n + 1], decreasing: the noise level at which y_0 starts, and those that the later
            states stand for.
        asked: r [n], noise levels at which the network is asked.
        weights: W [n, n], lower triangular.
        last: [B, n], the last row of W for each of B bands; None if one row serves all.
        normal: V [n, n], lower triangular; None if the g_j are not used.
    """

    levels: Tensor
    asked: Tensor
    weights: Tensor
    last: Tensor | None = None
    normal: Tensor | None = None

    @property
    def n(self) -> int:
        return len(self.asked)

    def advance(self, i: int, y: Tensor, seen: Residuals, bands: Bands | None) -> Tensor:
        """y_i -> y_{i+1}, from the answers 0 .. i."""
        terms = list(zip(self.weights[i, : i + 1].tolist(), seen.residuals, strict=True))
        extra: list[tuple[float, Tensor]] = []
        if self.normal is not None:
            normals = zip(self.normal[i, : i + 1].tolist(), seen.normals, strict=True)
            extra = [(v, g) for v, g in normals if v]
        if i < self.n - 1 or self.last is None or bands is None:
            return linear((1.0, y), *terms, *extra)
        rows = self.last.tolist()
        for part, e in enumerate(seen.residuals):
            y = linear((1.0, y), *((rows[b][part], x) for b, x in enumerate(bands.split(e))))
        return linear((1.0, y), *extra) if extra else y

    def ask(
        self, i: int, y: Tensor, denoiser: Denoiser, normal: NormalRows, cond: Condition | None
    ) -> Residuals:
        """The answers to y_i; one evaluation a row."""
        asked = float(self.asked[i])
        normals = () if self.normal is None else (normal.residual(y, asked),)
        return Residuals((residual(denoiser, y, asked, cond),), normals)


@dataclass(frozen=True)
class Residuals:
    """Answers so far: e_0 .. e_{i-1} and g_0 .. g_{i-1} (none, if the rule has no use for them)."""

    residuals: tuple[Tensor, ...] = ()
    normals: tuple[Tensor, ...] = ()

    def __add__(self, other: Residuals) -> Residuals:
        return Residuals(self.residuals + other.residuals, self.normals + other.normals)

    def __getitem__(self, rows: slice) -> Residuals:
        return Residuals(
            tuple(e[rows] for e in self.residuals), tuple(g[rows] for g in self.normals)
        )

    def beside(self, other: Residuals) -> Residuals:
        """Answers to the same questions about more noises."""
        e = zip(self.residuals, other.residuals, strict=True)
        g = zip(self.normals, other.normals, strict=True)
        return Residuals(tuple(torch.cat(pair) for pair in e), tuple(torch.cat(pair) for pair in g))

    def first(self, i: int) -> Residuals:
        """Those to y_0 .. y_{i-1}."""
        return Residuals(self.residuals[:i], self.normals[:i])


def residual(denoiser: Denoiser, y: Tensor, asked: float, cond: Condition | None) -> Tensor:
    """e = (y - D(y, r)) / r; one evaluation a row."""
    level = torch.tensor(asked, dtype=torch.float64)
    return (y - denoiser(y, level, cond)) / asked
