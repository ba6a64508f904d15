"""A network F and a parameterization as a denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sde_diffusion.conditions.condition import LABEL, Condition
from sde_diffusion.denoisers.base import CountedDenoiser, Denoiser
from sde_diffusion.denoisers.parameterization import Parameterization
from sde_diffusion.denoisers.precision import autocast, checked
from sde_diffusion.denoisers.space import Space
from sde_diffusion.denoisers.timesteps import Timesteps
from sde_diffusion.errors import InputError
from sde_diffusion.networks.layers.around import wrapped_around
from sde_diffusion.networks.registry import Network


class NetworkDenoiser(CountedDenoiser):
    """D = c_skip x + c_out F(c_in x, c_noise, cond) for a network F and a parameterization.

    The state may be float64 while the network works in its own dtype, as in EDM.

    Attributes:
        source: fingerprint of the file that its weights came from.
        precision: in which the network's products are taken, ``float32`` or ``bfloat16``; weights,
            and all that is done with its answer, keep their dtype.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        space: Sequence[int] | Space,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        source: str = "",
        precision: str = "float32",
    ) -> None:
        super().__init__(space, sigma_min, sigma_max)
        self.network = network
        self.parameterization = parameterization
        self.source = source
        self.precision = checked(precision)

    @property
    def identity(self) -> str:
        return self.source

    @property
    def ends(self) -> str:
        return self.parameterization.ends

    @property
    def table(self) -> Timesteps | None:
        return self.parameterization.table

    @property
    def convolutional(self) -> int:
        return self.network.convolutional if isinstance(self.network, Network) else 0

    def seamless(self) -> Denoiser:
        if not self.convolutional:
            return super().seamless()
        return NetworkDenoiser(
            wrapped_around(self.network),
            self.parameterization,
            self.space,
            self.sigma_min,
            self.sigma_max,
            f"{self.source} seamless",
            self.precision,
        )

    def encode(self, cond: Condition) -> Condition:
        if not isinstance(self.network, Network):  # a module of another kind computes in each call
            return cond
        device = next(self.network.parameters()).device
        with autocast(device, self.precision):
            return self.network.encode(cond)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Condition | None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        p = self.parameterization
        label_dtype = torch.promote_types(dtype, torch.float32) if p.exact_label else dtype
        if sigma.ndim == 0:
            at = p.scalars(float(sigma))
            label = torch.full((x.shape[0],), at.c_noise, dtype=label_dtype, device=x.device)
            raw = self._answer((at.c_in * x).to(dtype), label, cond).to(x.dtype)
            return torch.add(x if at.c_skip == 1 else at.c_skip * x, raw, alpha=at.c_out)
        label = p.c_noise(sigma).to(x.device, label_dtype).reshape(-1).expand(x.shape[0])
        raw = self._answer((p.c_in(sigma) * x).to(dtype), label, cond)
        return p.c_skip(sigma) * x + p.c_out(sigma) * raw.to(x.dtype)

    def _answer(self, x: Tensor, label: Tensor, cond: Condition | None) -> Tensor:
        with autocast(x.device, self.precision):
            answer: Tensor = self.network(x, label, cond)
        return answer

    def check_condition(self, cond: Condition | None) -> None:
        classes = getattr(self.network, "classes", 0)
        part = None if cond is None else cond.parts.get(LABEL)
        if classes and part is not None:
            most = int(part.value[part.keep].max()) if bool(part.keep.any()) else 0
            if most >= classes:
                raise InputError(f"label={most}: its network knows 0 .. {classes - 1}; give one")
        check = getattr(self.network, "check_condition", None)
        if check is not None:
            check(cond)

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
