"""Denoisers: D(x, sigma, cond) = E[x_0 | x_0 + sigma n = x, cond], free of any SDE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.errors import InputError


class Denoiser(nn.Module, ABC):
    """A denoiser of one image shape, that may be asked within a range of noise levels.

    Attributes:
        shape: shape of one image, (C, H, W) for pictures, (d,) for vectors.
        sigma_min, sigma_max: the noise levels it may be asked at.
        evaluations: network calls so far, one for each row of each batch. A wrapper counts
            nothing itself: guidance that calls the network twice a row counts two.
    """

    shape: tuple[int, ...]
    sigma_min: float
    sigma_max: float

    @property
    @abstractmethod
    def evaluations(self) -> int: ...

    @property
    def cost(self) -> int:
        """Network evaluations a row of one call spends: 1, or 2 under classifier-free guidance."""
        return 1

    @property
    def invertible(self) -> bool:
        """Whether its probability flow can be run back: not where values are clipped."""
        return True

    @property
    def identity(self) -> str:
        """What was trained, by content, and what was wrapped around it; empty if not known."""
        return ""

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        """x [N, *shape], sigma 0-dim or [N] -> D(x, sigma, cond) [N, *shape], dtype of x."""


class CountedDenoiser(Denoiser):
    """A denoiser that does its own work: refuses levels out of range, counts its evaluations."""

    def __init__(self, shape: tuple[int, ...], sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self._evaluations = 0

    @property
    def evaluations(self) -> int:
        return self._evaluations

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        """D(x, sigma, cond) for sigma within range, 0-dim or broadcast-shaped [N, 1, ...]."""

    @final  # type: ignore[misc]  # nn.Module declares forward as an attribute
    def forward(self, x: Tensor, sigma: Tensor, cond: Condition | None = None) -> Tensor:
        self._check_range(sigma)
        self._evaluations += x.shape[0]
        if sigma.ndim:
            sigma = sigma.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        return self.denoise(x, sigma, cond).to(x.dtype)

    def _check_range(self, sigma: Tensor) -> None:
        low = float(sigma.min() if sigma.ndim else sigma)
        high = float(sigma.max() if sigma.ndim else sigma)
        # The slack is the rounding of sigma / alpha, not a tolerance on the model's range.
        if not (low >= self.sigma_min * (1 - 1e-6) and high <= self.sigma_max * (1 + 1e-6)):
            raise InputError(
                f"noise level {low if low < self.sigma_min else high:.4g} is outside the model's "
                f"training range {self.sigma_min:g} .. {self.sigma_max:g}; "
                "set grid.sigma_min / grid.sigma_max within it"
            )


class NetworkDenoiser(CountedDenoiser):
    """D = c_skip x + c_out F(c_in x, c_noise, cond) for a network F and a parameterization.

    The state may be float64 while the network works in its own dtype, as in EDM. ``source`` is
    the fingerprint of the file that its weights came from.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        shape: tuple[int, ...],
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        source: str = "",
    ) -> None:
        super().__init__(shape, sigma_min, sigma_max)
        self.network = network
        self.parameterization = parameterization
        self.source = source

    @property
    def identity(self) -> str:
        return self.source

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        p = self.parameterization
        if sigma.ndim == 0:
            at = p.scalars(float(sigma))
            label = torch.full((x.shape[0],), at.c_noise, dtype=dtype, device=x.device)
            raw = self.network((at.c_in * x).to(dtype), label, cond).to(x.dtype)
            return torch.add(x if at.c_skip == 1 else at.c_skip * x, raw, alpha=at.c_out)
        label = p.c_noise(sigma).to(x.device, dtype).reshape(-1).expand(x.shape[0])
        raw = self.network((p.c_in(sigma) * x).to(dtype), label, cond)
        return p.c_skip(sigma) * x + p.c_out(sigma) * raw.to(x.dtype)

    def squared_error(
        self, x_0: Tensor, sigma: Tensor, noise: Tensor, cond: Condition | None
    ) -> Tensor:
        """|D(x_0 + sigma n) - x_0|^2, the mean over pixels, [N]; sigma [N]."""
        column = sigma.reshape(-1, *[1] * (x_0.ndim - 1))
        error = self(x_0 + column * noise, sigma, cond) - x_0
        return error.square().flatten(1).mean(1)

    def loss(self, x_0: Tensor, sigma: Tensor, noise: Tensor, cond: Condition | None) -> Tensor:
        """Denoising score matching, weight(sigma) |D(x_0 + sigma n) - x_0|^2 a pixel, [N]."""
        error = self.squared_error(x_0, sigma, noise, cond)
        return self.parameterization.weight(sigma) * error


class FunctionDenoiser(CountedDenoiser):
    """A user's own callable ``model(x, sigma) -> D`` as a denoiser (sigma 0-dim or [N, 1, ...])."""

    def __init__(
        self,
        model: Callable[[Tensor, Tensor], Tensor],
        shape: tuple[int, ...],
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
    ) -> None:
        super().__init__(shape, sigma_min, sigma_max)
        self.model = model

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        return self.model(x, sigma)
