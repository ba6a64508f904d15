"""Brownian paths that can be asked anywhere: virtual trees, of which no node is kept.

W is a sum of known functions of time, each with a normal of its own for weight, in the way of
Levy and Ciesielski; the normals are drawn by (seed, node) when they are needed. That is the
virtual Brownian tree of Li et al., arXiv:2001.01328, without its descent from node to node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.noise.source import NoiseSource, SeededNoise
from sde_diffusion.process.noise.streams import Stream

DEPTH = 16
# Octaves of float64 are -1074 .. 1023.
FIRST_OCTAVE = -2048


def expansion(x: Tensor, depth: int = DEPTH) -> tuple[Tensor, Tensor]:
    """Nodes and weights of W(x) = sum_l weight_l Z_node_l, 0 <= x <= 1, [depth + 2, M] each.

    [0, 1] is halved again and again. With y the place of x in its cell of width w = 2^-l, 0 .. 1,

        node 0:                     x,
        node 2^l + k, l < depth:    sqrt(w) min(y, 1 - y),
        node 2^depth + k:           sqrt(w y (1 - y)).

    All but the last is W at the ends of the 2^depth cells and straight lines between them. The
    last adds, to each time, the variance that the bridge over its cell has there. Given the ends,
    a Brownian motion's values in different cells are independent: **the joint law is exact for
    any times of which no two lie in one cell.** Within a cell W is smooth: two times there have
    too small a difference.

    Args:
        x: float64 [M].
        depth: the number of halvings.
    """
    level = torch.arange(depth + 1, device=x.device)[:, None]
    cells = (torch.ones_like(level) << level).double()
    k = torch.minimum((x * cells).floor(), cells - 1)
    y = x * cells - k
    tents = torch.minimum(y, 1 - y) / cells.sqrt()
    arch = (y * (1 - y) / cells).sqrt()
    weights = torch.cat([x[None], tents[:-1], arch[-1:]])
    nodes = torch.cat([torch.zeros_like(k[:1]), cells + k])
    return nodes.long(), weights


@final
class PathNoise(SeededNoise):
    """Increments of one Brownian path a row over time, so that finer grids see the same path.

    Each octave 2^j .. 2^(j + 1) of time, j = -1074 .. 1023, is a tree with a clock linear in time,
    and octaves are independent: cells are 2^-16 of the time or a little less.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__(seeds, shape, dtype, device)
        # Where the last step ended, and W there: the next one starts at it.
        self.last: tuple[float, Tensor] | None = None

    def normal(self, t: float, s: float) -> Tensor:
        low, high = sorted((float(t), float(s)))
        if not 0 < low < high < math.inf:
            raise InputError(
                f"noise=brownian: no path over the step {t:g} -> {s:g}; its times must be "
                "positive and differ: choose another grid, or noise=seeds"
            )
        if _cell(low) == _cell(high):
            raise InputError(
                f"noise=brownian: the step {t:.9g} -> {s:.9g} is shorter than 2^-{DEPTH} of its "
                "time; take fewer steps, or noise=seeds"
            )
        ends = {time: self._within(time) for time in (low, high)}
        self.last = (float(s), ends[float(s)])
        w = ends[high] - ends[low]
        first, stop = _octave(low), _octave(high)
        if first < stop:
            w += self._octaves(first, stop)
        return (w / math.sqrt(high - low)).to(self.dtype).to(self.draws.device)

    def _within(self, time: float) -> Tensor:
        """W(time) - W(the octave's start), float64 [N, *shape]."""
        if self.last is not None and self.last[0] == time:
            return self.last[1]
        octave = _octave(time)
        x = torch.full((1,), _share(time), dtype=torch.float64, device=self.draws.place)
        nodes, weights = expansion(x)
        nodes = nodes + (octave - FIRST_OCTAVE << 32)
        weights = weights * 2.0 ** (octave / 2)
        return self.draws.combination(Stream.BROWNIAN, nodes, weights, self.shape)

    def _octaves(self, first: int, stop: int) -> Tensor:
        """W(2^stop) - W(2^first): node 0 of each octave between."""
        octaves = torch.arange(first, stop, device=self.draws.place)[:, None]
        weights = torch.exp2(octaves.double() / 2)
        nodes = octaves - FIRST_OCTAVE << 32
        return self.draws.combination(Stream.BROWNIAN, nodes, weights, self.shape)


def _octave(time: float) -> int:
    """j with 2^j <= time < 2^(j + 1)."""
    return math.frexp(time)[1] - 1


def _share(time: float) -> float:
    """time / 2^j - 1, exactly."""
    return 2 * math.frexp(time)[0] - 1


def _cell(time: float) -> tuple[int, int]:
    """Octave and cell of ``time``."""
    return _octave(time), int(_share(time) * 2**DEPTH)


@final
class Brownian(NoiseSource):
    """One Brownian path a sample, in the time of the SDE, at all times above 0.

    Halved intervals whose normals are drawn by (seed, node) when they are asked for: the virtual
    Brownian tree of Li et al., arXiv:2001.01328, without its descent. The increments of two grids
    are those of one path, so a solver can be compared with itself at twice the steps.
    """

    def batch(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> PathNoise:
        return PathNoise(seeds, shape, dtype, device)
