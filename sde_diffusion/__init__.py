"""Score-based SDE framework for image synthesis with pluggable solvers.

``load("mnist").sample(n=16, solver="unipc", nfe=10, seed=0, label=7)`` draws sixteen sevens;
``wrap(model, shape=(3, 32, 32))`` does the same for a callable of your own;
``exact_error("unipc", nfe=10, covariance=S)`` says what a solver will do to your data before any
network is run. Importing this package imports no torch: the names below are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde_diffusion.exact import Gaussian, exact_error
    from sde_diffusion.models.model import Model, load, wrap
    from sde_diffusion.sampling.sampler import Sampler
    from sde_diffusion.sampling.samples import Samples

__all__ = [
    "Gaussian", "Model", "Sampler", "Samples", "__version__", "exact_error", "load", "wrap",
]  # fmt: skip
_HOME = {
    "Model": "models.model",
    "load": "models.model",
    "wrap": "models.model",
    "Sampler": "sampling.sampler",
    "Samples": "sampling.samples",
    "Gaussian": "exact",
    "exact_error": "exact",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sde_diffusion")
    if name not in _HOME:
        raise AttributeError(f"module 'sde_diffusion' has no attribute {name!r}")
    return getattr(import_module(f"sde_diffusion.{_HOME[name]}"), name)
