"""What an error of the denoiser counts in the training loss, at each noise level.

Every weighting is a factor on |D - x_0|^2, so it means the same whatever the network predicts
(Kingma & Gao, arXiv:2303.00848, section 3).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, final

import torch
from torch import Tensor, nn

from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within
from sde_diffusion.training.levels import NoiseLevels


class Weighting(Component, nn.Module, ABC, known_as="weighting"):
    """The loss of each row; one with parameters is trained by the network's own optimizer."""

    @abstractmethod
    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        """p, sigma [B] and error [B], the mean of |D - x_0|^2 over pixels -> loss [B]."""

    def check(self, sigma_min: float, sigma_max: float) -> None:
        """InputError unless it suits a denoiser of this range, to whose ends levels are moved."""


@final
class PublishedWeighting(Weighting):
    """The denoising score matching loss that was published for the parameterization."""

    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        return p.weight(sigma) * error


@final
class LikelihoodWeighting(Weighting):
    """The integrand of the ELBO, for levels of density q(log sigma).

        loss = |D - x_0|^2 / (sigma^2 q(log sigma))
        E loss = integral of E|D - x_0|^2 / sigma^2 over d log sigma, in nats a dimension

    It is 1/2 g^2 |score error|^2 of any linear SDE (Song et al. 2021, arXiv:2101.09258,
    theorem 1), because g^2 dt = 2 sigma_t^2 d log sigma there, and -1/2 dSNR (arXiv:2107.00630).
    Dividing by q keeps its mean the same for all ``levels`` between the same two ends; which they
    are decides its variance.

    InputError for levels without ends (a log-normal), whose weights have no finite variance, and
    for ends outside the denoiser's range: levels moved to an end of it would not count rightly.

    Args:
        levels: the distribution of sigma that is trained on, with two ends.
    """

    def __init__(self, levels: NoiseLevels) -> None:
        super().__init__()
        low, high = levels.sigma(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        if not 0 < low < high < math.inf:
            raise InputError(
                f"weighting=likelihood: levels {type(levels).__name__} run from {low:g} to "
                f"{high:g}; choose levels=importance, loguniform or sde"
            )
        self.levels = levels
        self.low, self.high = low, high

    def check(self, sigma_min: float, sigma_max: float) -> None:
        slack = 1 + 1e-6  # the rounding of an end
        if self.low * slack < sigma_min or self.high > sigma_max * slack:
            raise InputError(
                f"weighting=likelihood: levels run from {self.low:.4g} to {self.high:.4g}, outside "
                f"sigma_min={sigma_min:g} .. sigma_max={sigma_max:g}; set the ends of "
                "levels= within it, or widen it"
            )

    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        return error / (sigma.square() * self.levels.density(sigma))


@final
class MinSNRWeighting(Weighting):
    """min(SNR, gamma) with SNR = 1 / sigma^2 (Hang et al., arXiv:2303.09556).

    On the network's output this is min(SNR, gamma) / SNR for epsilon and min(SNR, gamma) /
    (SNR + 1) for v, as published.

    Args:
        gamma: largest weight; 5 as published.
    """

    def __init__(self, gamma: Annotated[float, Within("1e-6 <= gamma <= 1e6")] = 5.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        return (sigma**-2).clamp(max=self.gamma) * error


@final
class EDMWeighting(Weighting):
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (arXiv:2206.00364, table 1).

    ``sigma_data`` is the RMS pixel of the data; with the Karras parameterization of the same
    ``sigma_data`` this is its published weight.

    Args:
        sigma_data: root mean square of the data's values.
    """

    def __init__(
        self, sigma_data: Annotated[float, Within("1e-6 <= sigma_data <= 1e6")] = 0.5
    ) -> None:
        super().__init__()
        self.sigma_data = sigma_data

    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2 * error


@final
class UncertaintyWeighting(Weighting):
    """lambda |D - x_0|^2 / exp(u) + u with a learned u(sigma) (EDM2, arXiv:2312.02696).

    lambda is the published weight. At its optimum exp(u) is the mean weighted error at that level,
    so each level pulls on the network with the same force. u is a linear map of ``features``
    Fourier features of c_noise and starts at 0. Frequencies are 2 pi times the normal quantiles,
    phases a golden-ratio sequence: EDM2 draws both at random.

    Args:
        features: of the noise level, of which u is a linear map.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: Annotated[int, Within("1 <= features <= 65536")] = 128) -> None:
        super().__init__()
        k = torch.arange(features, dtype=torch.float64)
        frequencies = 2 * math.pi * torch.special.ndtri((k + 0.5) / features)
        phases = 2 * math.pi * (k * (math.sqrt(5) - 1) / 2).frac()
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.register_buffer("phases", phases.float(), persistent=False)
        self.weight = nn.Parameter(torch.zeros(features))

    def log_error(self, p: Parameterization, sigma: Tensor) -> Tensor:
        """u(sigma) [B], the log of the mean weighted error that was learned."""
        angle = p.c_noise(sigma).to(self.frequencies)[:, None] * self.frequencies + self.phases
        # Not a matrix product: autocast would round it to bfloat16.
        u = (angle.cos() * self.weight).sum(1) * math.sqrt(2 / len(self.weight))
        return u.to(sigma.dtype)

    def forward(self, p: Parameterization, sigma: Tensor, error: Tensor) -> Tensor:
        u = self.log_error(p, sigma)
        return p.weight(sigma) * error / u.exp() + u
