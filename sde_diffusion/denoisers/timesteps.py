"""Networks of discrete time, as diffusers, ADM and DiT have them: noise levels by number 0 .. T-1.

x_k = sqrt(a_k) x_0 + sqrt(1 - a_k) n with a_k = prod_{j <= k} (1 - beta_j), which is noise level
sigma_k = sqrt((1 - a_k) / a_k). A network of such a process is told k; between two levels k is
interpolated in log sigma, so that any solver on any grid may ask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sde_diffusion.errors import InputError
from sde_diffusion.system.spelling import none_of

BETAS = ("linear", "scaled_linear", "squaredcos", "sigmoid")
MAX_TIMESTEPS = 100_000
# alpha_bar of the last level where the betas leave it nothing: 2^-24 as in diffusers, or less, so
# that the levels rise.
LEAST_ALPHA_BAR = 2.0**-24


def betas_of(
    kind: str, start: float, end: float, timesteps: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """beta_k [T], as diffusers makes them in float32, ADM and DiT in float64.

    Args:
        kind: ``linear``, ``scaled_linear`` (in sqrt beta), ``squaredcos`` (Nichol & Dhariwal,
            arXiv:2102.09672, eq. 17, beta <= 0.999), ``sigmoid``.
        start, end: beta_0 and beta_{T-1}; ``squaredcos`` has its own. timesteps: T.
    """
    if kind == "linear":
        return torch.linspace(start, end, timesteps, dtype=dtype)
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, timesteps, dtype=dtype) ** 2
    if kind == "sigmoid":
        steps = torch.linspace(-6, 6, timesteps, dtype=dtype)
        return torch.sigmoid(steps) * (end - start) + start
    times = [k / timesteps for k in range(timesteps + 1)]
    alpha_bar = [math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 for t in times]
    falls = [min(1 - b / a, 0.999) for a, b in pairwise(alpha_bar)]
    return torch.tensor(falls, dtype=dtype)


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
        dtype: in which its authors multiply, ``float32`` or ``float64``.
    """

    def __init__(
        self,
        betas: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        timesteps: int = 1000,
        trained_betas: Sequence[float] | None = None,
        zero_terminal_snr: bool = False,
        dtype: str = "float32",
    ) -> None:
        if betas not in BETAS:
            raise none_of("parameterization.betas", betas, BETAS)
        if trained_betas is None and not (
            0 < beta_start < beta_end < 1 and 2 <= timesteps <= MAX_TIMESTEPS
        ):
            raise InputError(
                f"parameterization.beta_start={beta_start}, beta_end={beta_end}, "
                f"timesteps={timesteps}: give "
                f"0 < beta_start < beta_end < 1, and 2 to {MAX_TIMESTEPS} timesteps"
            )
        listed = None if trained_betas is None else tuple(float(b) for b in trained_betas)
        schedule = (betas, beta_start, beta_end, timesteps, getattr(torch, dtype))
        self.sigmas = _levels(schedule, listed, zero_terminal_snr)
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
        if torch.compiler.is_exporting():
            return self._traced(sigma)
        log = self.sigmas.log().numpy()
        at = sigma.detach().to("cpu", torch.float64).log().numpy()
        k = np.interp(at, log, np.arange(len(log), dtype=np.float64))
        return torch.as_tensor(k).to(sigma.device, sigma.dtype)

    def _traced(self, sigma: Tensor) -> Tensor:
        """The same of operations that a graph holds: the sum of each interval's share below."""
        log = self.sigmas.log()
        share = (sigma.double().log()[..., None] - log[:-1]) / log.diff()
        return share.clamp(0, 1).sum(-1).to(sigma.dtype)

    def level(self, k: Tensor) -> Tensor:
        """sigma of numbers k, whole or between, float64; finite at zero SNR too, 4096 or more."""
        whole = np.arange(len(self.sigmas), dtype=np.float64)
        between = np.interp(k.double().numpy(), whole, self.sigmas.log().numpy())
        # A whole number is the level of the table, to the last bit.
        near = k.round().long().clamp(0, self.last)
        return torch.where(k == near, self.sigmas[near], torch.from_numpy(between).exp())


@lru_cache(maxsize=64)
def _levels(
    made: tuple[str, float, float, int, torch.dtype],
    trained: tuple[float, ...] | None,
    rescaled: bool,
) -> Tensor:
    """sigma_k; ``made``: what ``betas_of`` takes."""
    # On the host also where networks are built on the meta device, to see their shapes.
    with torch.device("cpu"):
        betas = betas_of(*made) if trained is None else torch.tensor(trained, dtype=made[-1])
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
