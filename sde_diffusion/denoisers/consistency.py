"""Consistency functions: f(x, sigma), the end of the path through x, in the place of a denoiser.

Two keep f(x, epsilon) = x by the weights of x and of the network's answer; that of trajectories
is told where it goes by its solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from sde_diffusion.denoisers.convention import DiscreteTime
from sde_diffusion.denoisers.parameterization import Parameterization, Scalars, register
from sde_diffusion.denoisers.timesteps import BETAS
from sde_diffusion.system.ranges import OneOf, Within

SigmaData = Annotated[float, Within("1e-6 <= sigma_data <= 1e6")]


@register("consistency")
class ConsistencyFunction(Parameterization):
    """f = d^2 / ((s - e)^2 + d^2) x + (s - e) d / sqrt(s^2 + d^2) F(x / sqrt(s^2 + d^2), 250 log s)

    (consistency models, arXiv:2303.01469, appendix C).

    Args:
        sigma_data: d. sigma_min: e, the level of the answers. factor: of the label's logarithm.
    """

    exact_label = True
    ends = "consistency"

    def __init__(
        self,
        sigma_data: SigmaData = 0.5,
        sigma_min: Annotated[float, Within("1e-6 <= sigma_min <= 1e3")] = 0.002,
        factor: Annotated[float, Within("1e-3 <= factor <= 1e6")] = 250.0,
    ) -> None:
        self.sigma_data, self.sigma_min, self.factor = sigma_data, sigma_min, factor

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.sigma_data**2 / ((sigma - self.sigma_min) ** 2 + self.sigma_data**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        scale = (sigma**2 + self.sigma_data**2).sqrt()
        return (sigma - self.sigma_min) * self.sigma_data / scale

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (sigma**2 + self.sigma_data**2).sqrt()

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.factor * sigma.log()


@register("latent_consistency")
class DiscreteConsistency(DiscreteTime):
    """f = c_out D + c_skip x_t, D as of ``discrete``, x_t = x / sqrt(1 + sigma^2).

    c_skip = d^2 / (r^2 k^2 + d^2), c_out = r k / sqrt(r^2 k^2 + d^2) at number k of the level
    (latent consistency models, arXiv:2310.04378).

    Args:
        predicts, betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr: as of
            ``DiscreteTime``.
        timestep_scaling: r. sigma_data: d.
    """

    ends = "consistency"

    def __init__(
        self,
        predicts: Annotated[str, OneOf("epsilon", "v", "x0")] = "epsilon",
        betas: Annotated[str, OneOf(*BETAS)] = "scaled_linear",
        beta_start: Annotated[float, Within("1e-6 <= beta_start < beta_end")] = 8.5e-4,
        beta_end: Annotated[float, Within("beta_start < beta_end <= 0.9999")] = 0.012,
        timesteps: Annotated[int, Within("2 <= timesteps <= 100000")] = 1000,
        trained_betas: Annotated[
            Sequence[float] | None, Within("1e-6 <= trained_betas <= 0.9999")
        ] = None,
        zero_terminal_snr: bool = False,
        timestep_scaling: Annotated[float, Within("1e-6 <= timestep_scaling <= 1e6")] = 10.0,
        sigma_data: SigmaData = 0.5,
    ) -> None:
        super().__init__(
            predicts, betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr
        )
        self.timestep_scaling, self.data = timestep_scaling, sigma_data

    def _weights(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Of x_t and of D."""
        k = self.timestep_scaling * self.label(sigma)
        return self.data**2 / (k**2 + self.data**2), k / (k**2 + self.data**2).sqrt()

    def c_skip(self, sigma: Tensor) -> Tensor:
        of_x, of_image = self._weights(sigma)
        return of_image * super().c_skip(sigma) + of_x / torch.sqrt(1 + sigma**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        return self._weights(sigma)[1] * super().c_out(sigma)

    def at_infinity(self) -> Scalars:
        return Parameterization.at_infinity(self)


@register("trajectory_consistency")
class TrajectoryConsistency(DiscreteTime):
    """D as of ``discrete``, of a network that was distilled so that one step of DDIM by D leads to
    any lower level of the path (trajectory consistency distillation, arXiv:2402.19159, eq. 12).

    Args:
        predicts, betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr: as of
            ``DiscreteTime``.
    """

    ends = "tcd"
