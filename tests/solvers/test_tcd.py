"""Strategic stochastic sampling puts back the noise that it took away, for its models alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sde_diffusion import TCD, KSampler, Skipped, wrap
from sde_diffusion.denoisers.consistency import DiscreteConsistency, TrajectoryConsistency
from sde_diffusion.denoisers.network import NetworkDenoiser
from sde_diffusion.face.model import Model
from sde_diffusion.process.sde import EDM, VP
from tests.refusals import refused

BETAS = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
GRID = Skipped(BETAS, to_image=False)
F64 = torch.float64


class Answer(nn.Module):
    """The same image for whatever it is shown: the distilled network of a single picture."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.tensor([0.5, -1.0, 0.0], dtype=F64))

    def forward(self, x: Tensor, label: Tensor, cond: object = None) -> Tensor:
        return self.image.expand_as(x)


def model(p: type[DiscreteConsistency] | type[TrajectoryConsistency]) -> Model:
    own = p(predicts="x0", **BETAS)
    low, high = own.table.sigma_min, own.table.sigma_max
    return Model(NetworkDenoiser(Answer(), own, (3,), low, high), "one picture")


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sde", [EDM(), VP(beta_max=25.0)])
def test_the_end_has_the_noise_of_the_least_level(gamma: float, sde: object) -> None:
    """Of one picture the state at level r is the picture + r n, whatever is put back on the way.

    The start knows nothing of the picture, of which 1 / R is missing at the highest level R.
    """
    n, drawn = 20_000, model(TrajectoryConsistency)
    x = drawn.sample(
        n, 4, solver=TCD(gamma), grid=GRID, sde=sde, dtype="float64", batch_size=n
    ).x  # fmt: skip
    r = GRID.table.sigma_min
    far = 5 / n**0.5 + 1.1 / GRID.table.sigma_max
    x = x * (1 + r**2) ** 0.5  # the end is taken as it stands, of variance 1
    assert bool(((x.mean(0) - drawn.denoiser.network.image).abs() < r * far).all())
    assert bool(((x.var(0) / r**2 - 1).abs() < 5 * (2 / n) ** 0.5).all())


def test_more_noise_is_put_back_the_further_down_a_step_goes() -> None:
    """Draws beside one start: none of gamma 0, and of gamma 1 nothing of the start is left."""
    start = torch.full((400, 3), 2.0, dtype=F64)
    spread = []
    for gamma in (0.0, 0.3, 1.0):
        x = model(TrajectoryConsistency).sample(
            400, 2, solver=TCD(gamma), grid=GRID, x_T=start, dtype="float64"
        ).x  # fmt: skip
        spread.append(float(x.std(0).mean()) / GRID.table.sigma_min)
    assert spread[0] == 0
    assert spread[0] < spread[1] < spread[2]
    assert spread[2] == pytest.approx(1, abs=0.1)


def test_a_model_is_drawn_by_the_solver_that_it_was_distilled_for() -> None:
    with refused("solver:", 'solver="tcd", nfe=4'):
        model(TrajectoryConsistency).sample(1, 4, solver="unipc")
    with refused("solver: consistency", "of another kind", 'solver="tcd"'):
        model(TrajectoryConsistency).sample(1, 4, solver="consistency")
    with refused("solver: tcd", "of another kind", 'solver="consistency"'):
        model(DiscreteConsistency).sample(1, 4, solver="tcd")
    with refused("solver: tcd", "is a denoiser", 'solver="unipc"'):
        wrap(lambda x, sigma: x, (4,)).sample(2, 2, solver="tcd")
    with refused("solver: tcd steps between", "solver=consistency"):
        KSampler(TCD())(lambda x, sigma: x, torch.zeros(1, 3, 4, 4), torch.tensor([2.0, 1.0, 0.0]))
