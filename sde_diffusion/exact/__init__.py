"""The exact test bed: the law of a linear solver on a Gaussian of any covariance, unsampled."""

from sde_diffusion.exact.gaussian import Gaussian, marginal
from sde_diffusion.exact.response import Response, law, relative_error, response
from sde_diffusion.process.spectrum import natural_image_variances

__all__ = [
    "Gaussian", "Response", "law", "marginal", "natural_image_variances", "relative_error",
    "response",
]  # fmt: skip
