"""Sliced Wasserstein-2 distance: exact on each of many random lines."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.metrics.base import Metric
from sde_diffusion.system.ranges import Within


def squared_w2(x: Tensor, y: Tensor) -> Tensor:
    """Exact W_2^2 [L] between the samples in the rows of sorted x [L, N] and sorted y [L, M].

    int_0^1 (F^-1 - G^-1)^2 du, both quantile functions constant between i / N and j / M.
    """
    n, m = x.shape[1], y.shape[1]
    # In units of 1 / (N M) every jump is an integer: no rounding decides which step it ends.
    jumps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    widths = jumps.diff(prepend=torch.zeros(1, dtype=torch.int64))
    last = jumps - 1
    gap = x[:, last // m] - y[:, last // n]
    return gap.square() @ (widths.to(x.dtype) / (n * m))


class SlicedW2(Metric[Tensor], known_as="metric.sliced_w2"):
    """SW_2 = (E_u W_2^2(u.x, u.y))^1/2, u uniform on the unit sphere (Bonneel et al. 2015).

    ``sliced_w2_error`` is the error that a finite number of lines leaves; the finite sample's
    own, of the order of N^-1/2 even between equal laws, is not removed.

    Args:
        lines: number of directions. seed: of the directions.
    """

    name = "sliced_w2"

    def __init__(
        self,
        lines: Annotated[int, Within("2 <= lines <= 1000000")] = 200,
        seed: Annotated[int, Within("0 <= seed < 18446744073709551616")] = 0,
    ) -> None:
        self.lines, self.seed = lines, seed

    def _on_lines(self, x: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(self.seed)
        u = torch.randn(x.shape[1], self.lines, dtype=torch.float64, generator=g)
        return (x @ (u / u.norm(dim=0))).T.sort().values

    def prepare(self, reference_features: Tensor) -> Tensor:
        return self._on_lines(reference_features)

    def measure(self, features: Tensor, prepared: Tensor) -> dict[str, float]:
        squared = squared_w2(self._on_lines(features), prepared)
        root = float(squared.mean().sqrt())
        # d sqrt(m) = dm / (2 sqrt(m)); at exactly zero distance there is no error either.
        error = float(squared.std()) / self.lines**0.5
        return {"sliced_w2": root, "sliced_w2_error": error / (2 * root) if root > 0 else 0.0}
