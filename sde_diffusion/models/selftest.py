"""Whether a model is a denoiser at all: a consistency or distilled model is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from sde_diffusion.models.opened import Finding, OpenedModel
from sde_diffusion.process.grids import Karras, TimeGrid
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.distilled.consistency import Consistency
from sde_diffusion.solvers.distilled.tcd import TCD
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M

ROWS, STEPS, SEED = 32, 12, 2_000_000
TOP = 80.0
# By the solver that alone draws a distilled model.
OWN: dict[str, type[Solver]] = {"": DPMpp2M, "consistency": Consistency, "tcd": TCD}
# Of the spread that images have. A mean over all images has little, an image of its own all of it.
LIMIT = 0.5


@dataclass(frozen=True)
class SelfTest:
    """How far answers at the highest level spread over seeds, beside images drawn from the model.

    E[x_0 | x] at a level far above the data is nearly the mean of all images, whatever x is; a
    consistency or distilled model answers with an image of its own for each x.

    Attributes:
        level: at which it was asked. answers, images: root mean squares over seeds and pixels.
    """

    level: float
    answers: float
    images: float

    @property
    def ratio(self) -> float:
        return self.answers / self.images if self.images > 0 else math.inf

    @property
    def denoises(self) -> bool:
        """Whether the answers spread as those of a denoiser may."""
        return self.ratio < LIMIT

    @property
    def finding(self) -> Finding:
        """What ``inspect`` prints of it."""
        spread = f"{self.ratio:.3f} of the images' spread at noise level {self.level:.4g}"
        value = (
            "a denoiser" if self.denoises else "no denoiser: consistency, distilled or untrained"
        )
        return Finding("self-test", value, f"answers spread by {spread}", self.denoises)


@torch.no_grad()
def self_test(model: OpenedModel) -> SelfTest:
    """Ask the model at its highest level, at most ``TOP``, and draw images beside that, in the few
    steps of a consistency model where its files say that it is one."""
    denoiser = model.denoiser
    level = min(TOP, denoiser.sigma_max)
    seeds = list(range(SEED, SEED + ROWS))
    cond = model.condition({"label": 0 if model.classes else None}, seeds)
    grid: TimeGrid = Karras(sigma_min=max(0.01, denoiser.sigma_min), sigma_max=level)
    solver: Solver = OWN[denoiser.ends]()
    if denoiser.ends and model.grid is not None:
        grid = model.grid
    sampler = Sampler.build(EDM(), denoiser, solver, grid)
    images = sampler.sample(Request(seeds, 2 if denoiser.ends else STEPS, cond)).x
    n = sampler.noise.start(seeds, denoiser.space.shape, torch.float32, torch.device("cpu"))
    answers = denoiser(level * n, torch.tensor(level, dtype=torch.float64), cond)
    return SelfTest(level, _spread(answers), _spread(images))


def _spread(x: torch.Tensor) -> float:
    """Root mean square over pixels of the deviation over rows [N, *shape]."""
    return float(x.double().var(0).mean().sqrt())
