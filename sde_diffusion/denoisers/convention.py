"""A parameterization by the names of published conventions: prediction, input, label.

Other people's networks combine them freely; each combination is data that a checkpoint stores. The
two that diffusers' schedulers speak of have names of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from sde_diffusion.denoisers.labels import FlowTimeLabel, LevelLabel, StepLabel, level_label
from sde_diffusion.denoisers.parameterization import Parameterization, Scalars, register
from sde_diffusion.denoisers.timesteps import BETAS, Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.system.ranges import OneOf, Within
from sde_diffusion.system.spelling import none_of

Of = Callable[[Tensor, float], Tensor]


class Prediction(NamedTuple):
    """D = skip x + out F, both functions of sigma and sigma_data.

    At sigma = infinity, where x = sigma n, D = at_end n + out_end F: the limits of sigma skip and
    out; nan where D has none.
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
    # EDM's preconditioning (arXiv:2206.00364, table 1), or F with its sign turned, as v has it.
    "karras": Prediction(
        lambda s, d: d**2 / (s**2 + d**2), lambda s, d: s * d / (s**2 + d**2).sqrt(), 0, math.nan
    ),
    "minus_karras": Prediction(
        lambda s, d: d**2 / (s**2 + d**2), lambda s, d: -s * d / (s**2 + d**2).sqrt(), 0, math.nan
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


class Conventional(Parameterization):
    """D = c_skip x + c_out F(c_in x, c_noise) of a prediction, a scaling and a label function.

    Args:
        prediction: what F is. scaling: c_in. label: c_noise. sigma_data: of karras.
    """

    exact_label = True

    def __init__(
        self, prediction: Prediction, scaling: Of, label: LevelLabel, sigma_data: float = 0.5
    ) -> None:
        self.prediction, self.scaling, self.label = prediction, scaling, label
        self.sigma_data = sigma_data

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.prediction.skip(sigma, self.sigma_data)

    def c_out(self, sigma: Tensor) -> Tensor:
        return self.prediction.out(sigma, self.sigma_data)

    def c_in(self, sigma: Tensor) -> Tensor:
        return self.scaling(sigma, self.sigma_data)

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.label(sigma)

    def at_infinity(self) -> Scalars:
        label = float(self.label(torch.tensor(math.inf, dtype=torch.float64)))
        # sigma c_in is 1 in the limit: a network that is shown x itself has none.
        limits = (self.prediction.at_end, self.prediction.out_end, label)
        if self.scaling is SCALINGS["none"] or not all(map(math.isfinite, limits)):
            return super().at_infinity()
        return Scalars(self.prediction.at_end, self.prediction.out_end, 1.0, label)


@register("convention")
class Convention(Conventional):
    """D = c_skip x + c_out F(c_in x, c_noise) by the names of what its authors chose.

    Args:
        prediction: what F is: epsilon, minus_epsilon, x0, v, flow, minus_flow, karras or
            minus_karras.
        scaling: of its input: variance 1/sqrt(1 + s^2), flow 1/(1 + s), none, karras, sub_vp.
        label: ``{"kind": "log" | "vp_time" | "flow_time" | "steps" | "nearest", ...}`` with the
            arguments of that label function.
        sigma_data: of karras.
    """

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
                raise none_of(f"parameterization.{name}", value, choices)
        if not sigma_data > 0:
            raise InputError(f"parameterization.sigma_data={sigma_data}: give a number > 0")
        function = level_label(label or {"kind": "log"})
        super().__init__(PREDICTIONS[prediction], SCALINGS[scaling], function, sigma_data)


@register("discrete")
class DiscreteTime(Conventional):
    """F(x / sqrt(1 + sigma^2), k) of a discrete process, k the number of the noise level.

    Args:
        predicts: ``epsilon`` the noise n, ``v`` (arXiv:2202.00512), ``x0`` the image.
        betas: how beta_k of number k runs from ``beta_start`` to ``beta_end`` over ``timesteps``
            numbers; sigma_k^2 + 1 = 1 / prod (1 - beta_i), i to k.
        beta_start, beta_end, timesteps: of these.
        trained_betas: the betas themselves, in place of the four above.
        zero_terminal_snr: whether they are rescaled so that nothing of the image is left at the
            last number (arXiv:2305.08891).
    """

    table: Timesteps

    def __init__(
        self,
        predicts: Annotated[str, OneOf("epsilon", "v", "x0")] = "epsilon",
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
        self.table = Timesteps(
            betas, beta_start, beta_end, timesteps, trained_betas, zero_terminal_snr
        )
        super().__init__(PREDICTIONS[predicts], SCALINGS["variance"], StepLabel.of(self.table))


@register("straight")
class StraightPath(Conventional):
    """F(x_t, scale t) of x_t = (1 - t) x_0 + t n, which predicts n - x_0: D = x_t - t F.

    t = sigma / (1 + sigma), x_t = x / (1 + sigma) (arXiv:2209.03003, eq. 1). Its network takes x_t
    itself, where that of ``flow`` takes x of unit variance.

    Args:
        scale: of the label, 1000 in diffusers.
        from_data: 1 - t is told in place of t, and x_0 - n is predicted (SiT, arXiv:2401.08740).
    """

    def __init__(
        self,
        scale: Annotated[float, Within("1e-6 <= scale <= 1e6")] = 1000.0,
        from_data: bool = False,
    ) -> None:
        prediction = PREDICTIONS["minus_flow" if from_data else "flow"]
        super().__init__(prediction, SCALINGS["flow"], FlowTimeLabel(scale, clean=from_data))
