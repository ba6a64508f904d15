"""What is trained: the loss of a batch as one module, whose parameters are all that learn."""

from __future__ import annotations

from torch import Tensor, nn

from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.training.batch import Batch
from sde_diffusion.training.weighting import Weighting


class Objective(nn.Module):
    """Weighted denoising score matching, w(sigma, |D(x_0 + sigma n) - x_0|^2), a row [B].

    Levels outside the denoiser's range are moved to its ends. The network runs in the denoiser's
    precision, all else in the dtype of the batch.
    """

    def __init__(self, denoiser: NetworkDenoiser, weighting: Weighting) -> None:
        super().__init__()
        weighting.check(denoiser.sigma_min, denoiser.sigma_max)
        self.denoiser = denoiser
        self.weighting = weighting

    def forward(self, batch: Batch) -> Tensor:
        d = self.denoiser
        sigma = batch.sigma.clamp(d.sigma_min, d.sigma_max)
        error = d.squared_error(batch.x_0, sigma, batch.noise, batch.cond)
        return self.weighting(d.parameterization, sigma, error)
