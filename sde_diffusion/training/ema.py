"""Exponential moving averages of weights: how much of a step each keeps, and the averaged copy."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor, nn

from sde_diffusion.errors import InputError
from sde_diffusion.system.identity import Component
from sde_diffusion.system.ranges import Within

Decay = Annotated[float, Within("0 <= decay < 1")]


class EMA(Component, ABC, known_as="ema"):
    """theta_ema <- (1 - share_t) theta_ema + share_t theta after optimizer step t = 1, 2, ..."""

    @abstractmethod
    def share(self, step: int) -> float:
        """The share of the weights of step 1, 2, ... in the new average, 0 to 1."""


class FixedEMA(EMA):
    """share = 1 - decay: the last 1 / (1 - decay) steps or so (DDPM: 0.9999).

    Args:
        decay: of the average at each step.
    """

    def __init__(self, decay: Decay = 0.9999) -> None:
        self.decay = decay

    def share(self, step: int) -> float:
        return 1 - self.decay


class WarmupEMA(EMA):
    """share_t = 1 - min(decay, (1 + t) / (10 + t)): early weights are forgotten (Song et al.).

    Args:
        decay: of the average once it is warm.
    """

    def __init__(self, decay: Decay = 0.9999) -> None:
        self.decay = decay

    def share(self, step: int) -> float:
        return 1 - min(self.decay, (1 + step) / (10 + step))


class PowerEMA(EMA):
    """share_t = 1 - (1 - 1/t)^(gamma + 1): step i of t weighs i^gamma (EDM2, 2312.02696, eq. 127).

    The profile grows with training, so its width is a fixed share ``sigma_rel`` of the steps
    taken so far, and no warm-up is needed.

    Args:
        sigma_rel: standard deviation of the weights' profile, as a share of training.
    """

    def __init__(
        self, sigma_rel: Annotated[float, Within("0.001 <= sigma_rel <= 0.28")] = 0.08
    ) -> None:
        self.sigma_rel = sigma_rel
        self.gamma = gamma_of(sigma_rel)

    def share(self, step: int) -> float:
        return 1 - (1 - 1 / step) ** (self.gamma + 1)


class Averaged:
    """The averaged copy of a network; buffers (running statistics, say) are copied, not averaged.

    Attributes:
        network: in evaluation mode, without gradients.
    """

    def __init__(self, network: nn.Module, ema: EMA) -> None:
        self.ema = ema
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._source = network

    @cached_property
    def _tensors(self) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Means, weights, and pairs of buffers; looked up once, when all are where they stay."""
        both = self.network, self._source
        means, weights = (list[Tensor](network.parameters()) for network in both)
        return means, weights, list(zip(*(network.buffers() for network in both), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Fold in the weights after optimizer step ``step`` (1, 2, ...)."""
        means, weights, buffers = self._tensors
        torch._foreach_lerp_(means, weights, self.ema.share(step))
        for copy_of, buffer in buffers:
            copy_of.copy_(buffer)


def gamma_of(sigma_rel: float) -> float:
    """The exponent gamma of a profile of relative width ``sigma_rel`` (EDM2, eq. 126)."""
    if not 1e-3 <= sigma_rel <= 0.28:
        raise InputError(f"sigma_rel={sigma_rel}: give a width between 0.001 and 0.28")
    from scipy.optimize import brentq  # half a second to import, and seldom wanted

    return float(brentq(lambda g: (g + 1) ** 0.5 / (g + 2) / (g + 3) ** 0.5 - sigma_rel, 0.0, 1e6))
