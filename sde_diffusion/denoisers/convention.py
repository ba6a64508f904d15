"""A parameterization by the names of published conventions: prediction, input, label.

Other people's networks combine them freely; each combination is data that a checkpoint stores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sde_diffusion.denoisers.labels import level_label
from sde_diffusion.denoisers.parameterization import PARAMETERIZATIONS, Parameterization
from sde_diffusion.errors import InputError

Of = Callable[[Tensor, float], Tensor]


class Prediction(NamedTuple):
    """D = skip x + out F, both functions of sigma and sigma_data.

    At sigma = infinity D = at_end n + out_end F, n = x / sigma; nan where D has no limit.
    """

    skip: Of
    out: Of
    at_end: float
    out_end: float


PREDICTIONS: dict[str, Prediction] = {
    # F is the noise, or the noise with its sign turned (a score times sigma).
    "epsilon": Prediction(lambda s, _: torch.ones_like(s), lambda s, _: -s, math.nan, math.nan),
    "minus_epsilon": Prediction(
        lambda s, _: torch.ones_like(s), lambda s, _: s, math.nan, math.nan
    ),
    "x0": Prediction(lambda s, _: torch.zeros_like(s), lambda s, _: torch.ones_like(s), 0, 1),
    # v = alpha n - sigma x_0 with alpha^2 + sigma^2 = 1.
    "v": Prediction(lambda s, _: 1 / (1 + s**2), lambda s, _: -s / (1 + s**2).sqrt(), 0, -1),
    # u = n - x_0 (rectified flow), or x_0 - n (SiT).
    "flow": Prediction(lambda s, _: 1 / (1 + s), lambda s, _: -s / (1 + s), 1, -1),
    "minus_flow": Prediction(lambda s, _: 1 / (1 + s), lambda s, _: s / (1 + s), 1, 1),
    "karras": Prediction(
        lambda s, d: d**2 / (s**2 + d**2), lambda s, d: s * d / (s**2 + d**2).sqrt(), 0, math.nan
    ),
}

# What the network is shown is x times this: x_t of the process that it was trained on.
SCALINGS: dict[str, Of] = {
    "variance": lambda s, _: 1 / (1 + s**2).sqrt(),
    "flow": lambda s, _: 1 / (1 + s),
    "none": lambda s, _: torch.ones_like(s),
    "karras": lambda s, d: 1 / (s**2 + d**2).sqrt(),
    "sub_vp": lambda s, _: torch.exp(-torch.asinh(s / 2)),
}


class Convention(Parameterization):
    """D = c_skip x + c_out F(c_in x, c_noise) by the names of what its authors chose.

    Args:
        prediction: what F is: epsilon, minus_epsilon, x0, v, flow, minus_flow or karras.
        scaling: of its input: variance 1/sqrt(1 + s^2), flow 1/(1 + s), none, karras, sub_vp.
        label: ``{"kind": "log" | "vp_time" | "flow_time" | "steps" | "nearest", ...}`` with the
            arguments of that label function.
        sigma_data: of karras.
    """

    exact_label = True

    def __init__(
        self,
        prediction: str = "epsilon",
        scaling: str = "variance",
        label: Mapping[str, Any] | None = None,
        sigma_data: float = 0.5,
    ) -> None:
        for name, value, choices in (
            ("prediction", prediction, list(PREDICTIONS)),
            ("scaling", scaling, list(SCALINGS)),
        ):
            if value not in choices:
                raise InputError(
                    f"parameterization.{name}={value}: choose one of {', '.join(choices)}"
                )
        if not sigma_data > 0:
            raise InputError(f"parameterization.sigma_data={sigma_data}: give a number > 0")
        self.prediction, self.scaling = PREDICTIONS[prediction], SCALINGS[scaling]
        self.label = level_label(label or {"kind": "log"})
        self.sigma_data = sigma_data

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.prediction.skip(sigma, self.sigma_data)

    def c_out(self, sigma: Tensor) -> Tensor:
        return self.prediction.out(sigma, self.sigma_data)

    def c_in(self, sigma: Tensor) -> Tensor:
        return self.scaling(sigma, self.sigma_data)

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.label(sigma)


PARAMETERIZATIONS["convention"] = Convention
