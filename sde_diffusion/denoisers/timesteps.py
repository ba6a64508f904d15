"""Networks of discrete time, as diffusers, ADM and DiT have them: noise levels by number 0 .. T-1.

x_k = sqrt(a_k) x_0 + sqrt(1 - a_k) n with a_k = prod_{j <= k} (1 - beta_j), which is noise level
sigma_k = sqrt((1 - a_k) / a_k). A network of such a process is told k; between two levels k is
interpolated in log sigma, so that any solver on any grid may ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.denoisers.parameterization import (
    DataPrediction,
    EpsilonPrediction,
    Parameterization,
    Scalars,
    VPrediction,
    register,
)
from sde_diffusion.errors import InputError
from sde_diffusion.system.ranges import OneOf, Within

PREDICTIONS: dict[str, Callable[[], Parameterization]] = {
    "epsilon": EpsilonPrediction,
    "v": VPrediction,
    "x0": DataPrediction,
}
BETAS = ("linear", "scaled_linear", "squaredcos", "sigmoid")
MAX_TIMESTEPS = 100_000
# alpha_bar of the last level where the betas leave it nothing: 2^-24 as in diffusers, or less, so
# that the levels rise.
LEAST_ALPHA_BAR = 2.0**-24


def betas_of(kind: str, start: float, end: float, timesteps: int) -> Tensor:
    """beta_k, float32 [T], as diffusers makes them.

    Args:
        kind: ``linear``, ``scaled_linear`` (in sqrt beta), ``squaredcos`` (Nichol & Dhariwal,
            arXiv:2102.09672, eq. 17, beta <= 0.999), ``sigmoid``.
        start, end: beta_0 and beta_{T-1}; ``squaredcos`` has its own. timesteps: T.
    """
    if kind == "linear":
        return torch.linspace(start, end, timesteps)
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, timesteps) ** 2
    if kind == "sigmoid":
        return torch.sigmoid(torch.linspace(-6, 6, timesteps)) * (end - start) + start
    steps = [k / timesteps for k in range(timesteps + 1)]
    alpha_bar = [math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 for t in steps]
    falls = [min(1 - b / a, 0.999) for a, b in pairwise(alpha_bar)]
    return torch.tensor(falls, dtype=torch.float32)


def zero_snr(betas: Tensor) -> Tensor:
    """The betas rescaled so that nothing of x_0 is left at T-1 (arXiv:2305.08891, algorithm 1)."""
    root = (1 - betas).cumprod(0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    alpha_bar = ((root - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])


class Timesteps:
    """sigma_k of betas, float64 [T], and the way between k and sigma.

    Args:
        betas: one of ``BETAS``. beta_start, beta_end: their ends.
        timesteps: T. trained_betas: the betas themselves, in place of the four above.
        zero_terminal_snr: whether they are rescaled so that a_{T-1} = 0, sigma infinite.
    """

    def __init__(
        self,
        betas: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        timesteps: int = 1000,
        trained_betas: Sequence[float] | None = None,
        zero_terminal_snr: bool = False,
    ) -> None:
        if betas not in BETAS:
            raise InputError(f"parameterization.betas={betas}: choose one of {', '.join(BETAS)}")
        if trained_betas is None and not (
            0 < beta_start < beta_end < 1 and 2 <= timesteps <= MAX_TIMESTEPS
        ):
            raise InputError(
                f"parameterization.beta_start={beta_start}, beta_end={beta_end}, "
                f"timesteps={timesteps}: give "
                f"0 < beta_start < beta_end < 1, and 2 to {MAX_TIMESTEPS} timesteps"
            )
        listed = None if trained_betas is None else tuple(float(b) for b in trained_betas)
        self.sigmas = _levels(betas, beta_start, beta_end, timesteps, listed, zero_terminal_snr)
        self.zero_terminal_snr = zero_terminal_snr

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """sigma_{T-1}; infinity where nothing of x_0 is left there."""
        return math.inf if self.zero_terminal_snr else float(self.sigmas[-1])

    @property
    def last(self) -> int:
        """T - 1."""
        return len(self.sigmas) - 1

    def number(self, sigma: Tensor) -> Tensor:
        """k of noise levels, by interpolation in log sigma; 0 and T-1 beyond the ends."""
        log = self.sigmas.log().numpy()
        at = sigma.detach().to("cpu", torch.float64).log().numpy()
        k = np.interp(at, log, np.arange(len(log), dtype=np.float64))
        return torch.as_tensor(k).to(sigma.device, sigma.dtype)

    def level(self, k: Tensor) -> Tensor:
        """sigma of numbers k, whole or between, float64; finite at zero SNR too, 4096 or more."""
        whole = np.arange(len(self.sigmas), dtype=np.float64)
        between = np.interp(k.double().numpy(), whole, self.sigmas.log().numpy())
        # A whole number is the level of the table, to the last bit.
        near = k.round().long().clamp(0, self.last)
        return torch.where(k == near, self.sigmas[near], torch.from_numpy(between).exp())


@lru_cache(maxsize=64)
def _levels(
    kind: str,
    start: float,
    end: float,
    timesteps: int,
    trained: tuple[float, ...] | None,
    rescaled: bool,
) -> Tensor:
    # On the host also where networks are built on the meta device, to see their shapes.
    with torch.device("cpu"):
        betas = (
            betas_of(kind, start, end, timesteps)
            if trained is None
            else torch.tensor(trained, dtype=torch.float32)
        )
        betas = zero_snr(betas) if rescaled else betas
        alpha_bar = (1 - betas).cumprod(0)
        if rescaled:
            alpha_bar[-1] = min(LEAST_ALPHA_BAR, float(alpha_bar[-2]) / 4)
        sigmas = ((1 - alpha_bar.double()) / alpha_bar.double()).sqrt()
    if not 2 <= len(sigmas) <= MAX_TIMESTEPS or not bool(
        (sigmas.isfinite() & (sigmas > 0)).all() and (sigmas.diff() > 0).all()
    ):
        raise InputError(
            "parameterization.betas: their noise levels do not rise; give betas between 0 and 1"
        )
    return sigmas


@register("discrete")
class DiscreteTime(Parameterization):
    """F(x / sqrt(1 + sigma^2), k) of a discrete process, k the number of the noise level.

    Args:
        predicts: ``epsilon`` the noise n, ``v`` (arXiv:2202.00512), ``x0`` the image.
        betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr: of
            ``Timesteps``.
    """

    exact_label = True

    def __init__(
        self,
        predicts: Annotated[str, OneOf(*PREDICTIONS)] = "epsilon",
        betas: Annotated[str, OneOf(*BETAS)] = "linear",
        beta_start: Annotated[float, Within("1e-6 <= beta_start < beta_end")] = 1e-4,
        beta_end: Annotated[float, Within("beta_start < beta_end <= 0.9999")] = 0.02,
        timesteps: Annotated[int, Within("2 <= timesteps <= 100000")] = 1000,
        trained_betas: Annotated[
            Sequence[float] | None, Within("1e-6 <= trained_betas <= 0.9999")
        ] = None,
        zero_terminal_snr: bool = False,
    ) -> None:
        if predicts == "epsilon" and zero_terminal_snr:
            raise InputError(
                "parameterization.predicts=epsilon: at zero terminal SNR the noise says nothing of "
                "the image; give v or x0"
            )
        self.predicts, self.inner = predicts, PREDICTIONS[predicts]()
        self.betas, self.beta_start, self.beta_end = betas, beta_start, beta_end
        self.timesteps, self.trained_betas = timesteps, trained_betas
        self.zero_terminal_snr = zero_terminal_snr
        self.table = Timesteps(
            betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr
        )

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.inner.c_skip(sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return self.inner.c_out(sigma)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.table.number(sigma)

    def at_infinity(self) -> Scalars:
        return self.inner.at_infinity()._replace(c_noise=float(self.table.last))


@register("straight")
class StraightPath(Parameterization):
    """F(x_t, scale t) of x_t = (1 - t) x_0 + t n, which predicts n - x_0: D = x_t - t F.

    t = sigma / (1 + sigma), x_t = x / (1 + sigma) (arXiv:2209.03003, eq. 1). Its network takes x_t
    itself, where that of ``flow`` takes x of unit variance.

    Args:
        scale: of the label, 1000 in diffusers.
        from_data: 1 - t is told in place of t, and x_0 - n is predicted (SiT, arXiv:2401.08740).
    """

    exact_label = True

    def __init__(
        self,
        scale: Annotated[float, Within("1e-6 <= scale <= 1e6")] = 1000.0,
        from_data: bool = False,
    ) -> None:
        self.scale, self.from_data = scale, from_data
        self.sign = 1.0 if from_data else -1.0

    def c_skip(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return self.sign * sigma / (1 + sigma)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.scale / (1 + sigma) if self.from_data else self.scale * sigma / (1 + sigma)

    def at_infinity(self) -> Scalars:
        return Scalars(1.0, self.sign, 1.0, 0.0 if self.from_data else self.scale)
