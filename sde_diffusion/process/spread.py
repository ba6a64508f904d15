"""N noise levels between the ends of a model's training, then zero, as k-diffusion lays them.

The last step is a denoising at the last level above zero, so that N evaluations of a solver with
one a step are N steps of k-diffusion's samplers and of the front ends that have grown from them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.process.grids import Rho, TimeGrid, beta_quantiles, power_spaced
from sde_diffusion.process.sde import SDE, SigmaMax, SigmaMin
from sde_diffusion.process.timesteps import ByTimestep, FlowShift
from sde_diffusion.system.ranges import Within

# The ends where no model says them, a closed form that answers at any level: those of EDM.
USUAL = (0.002, 80.0)


class Spread(TimeGrid):
    """Levels sigma(u), u even from 0 to 1, from the largest to the smallest.

    Args:
        sigma_min, sigma_max: None: those that the model was trained on; 0.002 and 80 of one that
            answers at any level.
    """

    to_zero = True

    def __init__(
        self, sigma_min: SigmaMin | None = None, sigma_max: SigmaMax | None = None
    ) -> None:
        self.least, self.most = sigma_min, sigma_max
        super().__init__(sigma_min or USUAL[0], sigma_max or max(USUAL[1], 2 * (sigma_min or 0)))

    def fitted(self, low: float, high: float, brought: TimeGrid | None = None) -> TimeGrid:
        if None not in (self.least, self.most):
            return self
        if isinstance(brought, FlowShift):
            raise InputError(
                f"grid={type(self).__name__}: this model begins at the noise itself, which is no "
                "level; give the grid of a flow, grid=flow_shift, or none"
            )
        if isinstance(brought, ByTimestep):
            high = float(brought.table.sigmas[-1])  # finite where nothing of the image is left too
        known = USUAL[0] if low == 0 else low, USUAL[1] if math.isinf(high) else high
        return self.changed(sigma_min=self.least or known[0], sigma_max=self.most or known[1])

    def _times(self, sde: SDE, n: int) -> Tensor:
        levels = self.spread(self._unit(n))
        levels[0], levels[-1] = self._ends()
        return sde.time_at(levels)

    @abstractmethod
    def spread(self, u: Tensor) -> Tensor:
        """sigma(u) [n + 1], float64, falling, sigma(0) and sigma(1) the ends."""


class KarrasToZero(Spread):
    """Uniform in sigma^(1/rho) (arXiv:2206.00364, eq. 5): "Karras" of most front ends.

    Args:
        rho: larger puts more levels near sigma_min; 1 is even in sigma.
        sigma_min, sigma_max: ends, noise levels; None: those that the model was trained on, 0.002
            and 80 of one that answers at any level.
    """

    def __init__(
        self, rho: Rho = 7.0, sigma_min: SigmaMin | None = None, sigma_max: SigmaMax | None = None
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.rho = rho

    def spread(self, u: Tensor) -> Tensor:
        first, last = self._ends()
        return power_spaced(first, last, u, self.rho)


class Exponential(Spread):
    """Uniform in log sigma: "exponential", and "polyexponential" of rho 1.

    Args:
        sigma_min, sigma_max: ends, noise levels; None: those that the model was trained on, 0.002
            and 80 of one that answers at any level.
    """

    def spread(self, u: Tensor) -> Tensor:
        first, last = self._ends().log()
        return power_spaced(first, last, u, 1.0).exp()


class Beta(Spread):
    """sigma_min + q(1 - u) (sigma_max - sigma_min), q the quantiles of a beta law.

    Many levels near both ends (Beta Sampling is All You Need, arXiv:2407.12173, whose quantiles are
    of the numbers of a discrete process: ``timesteps`` with spacing ``beta``); of levels in
    diffusers and in A1111's web UI.

    Args:
        alpha, beta: of the law.
        sigma_min, sigma_max: ends, noise levels; None: those that the model was trained on, 0.002
            and 80 of one that answers at any level.
    """

    def __init__(
        self,
        alpha: Annotated[float, Within("0.05 <= alpha <= 20")] = 0.6,
        beta: Annotated[float, Within("0.05 <= beta <= 20")] = 0.6,
        sigma_min: SigmaMin | None = None,
        sigma_max: SigmaMax | None = None,
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        self.alpha, self.beta = alpha, beta

    def spread(self, u: Tensor) -> Tensor:
        first, last = self._ends()
        return last + beta_quantiles(1 - u, self.alpha, self.beta) * (first - last)


class KLOptimal(Spread):
    """tan((1 - u) atan(sigma_max) + u atan(sigma_min)): steps that lose alike in KL divergence.

    (Align Your Steps, arXiv:2404.14507, appendix, for data of a normal law of variance 1.)

    Args:
        sigma_min, sigma_max: ends, noise levels; None: those that the model was trained on, 0.002
            and 80 of one that answers at any level.
    """

    def spread(self, u: Tensor) -> Tensor:
        first, last = self._ends().atan()
        return ((1 - u) * first + u * last).tan()
