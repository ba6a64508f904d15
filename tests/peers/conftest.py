"""What the parity tests share: one network, given draws, and our trajectory on a peer's levels."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sde_diffusion.denoisers.function import FunctionDenoiser
from sde_diffusion.process.grids import Explicit
from sde_diffusion.process.noise import Noise
from sde_diffusion.process.sde import EDM, SDE, VP
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.step import Ask

F64 = torch.float64
SHAPE = (2, 3, 4, 4)
TOLERANCE = 1e-5
# A variance preserving process is fixed by its noise levels; this one reaches all of diffusers'.
VARIANCE_PRESERVING, SIGMA = VP(beta_max=25.0), EDM()


def _weights() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    d, hidden = 48, 64
    first, time, last = (
        torch.randn(rows, columns, generator=generator, dtype=F64)
        for rows, columns in ((hidden, d), (hidden, 2), (d, hidden))
    )
    return first / d**0.5, time, last / hidden**0.5


FIRST, TIME, LAST = _weights()


def network(y: Tensor, sigma: Tensor) -> Tensor:
    """The shared network: D(y, sigma) = c_skip y + c_out F(c_in y, log sigma), F a small MLP.

    float64 inside whatever y is: peers differ by their arithmetic alone.
    """
    wide, level = y.to(F64).flatten(1), torch.as_tensor(sigma).to(F64).reshape(-1)[:1]
    total = level**2 + 0.25
    features = torch.cat([level.log() / 4, level.log().cos()])
    hidden = torch.tanh(wide / total.sqrt() @ FIRST.T + TIME @ features)
    output = 0.25 / total * wide + 0.5 * level / total.sqrt() * (hidden @ LAST.T)
    return output.reshape(y.shape).to(y.dtype)


def draws(n: int) -> list[Tensor]:
    """n + 1 fixed normals: the start, and one for each step."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SHAPE, generator=generator, dtype=F64) for _ in range(n + 1)]


class Given(Noise):
    """One given draw for each step of a grid."""

    def __init__(self, values: Sequence[Tensor], times: Tensor) -> None:
        self.of_step = dict(zip(times.tolist(), values, strict=False))

    def normal(self, t: float, s: float) -> Tensor:
        return self.of_step[t]

    def fresh(self) -> Tensor:
        raise AssertionError("each draw here belongs to a step")

    def entropy(self) -> list[int]:
        raise AssertionError("nothing here draws its own numbers")


class InTurn(Given):
    """Given draws one after the other, for a solver with several a step."""

    def __init__(self, values: Sequence[Tensor], times: Tensor) -> None:
        self.values = iter(values)

    def normal(self, t: float, s: float) -> Tensor:
        return next(self.values)


@dataclass(frozen=True)
class Trajectory:
    """States at ``levels`` in the process's own scale, and the image that the last one gives.

    ``whole`` says that the step to the last level is the last one.
    """

    levels: list[float]
    states: list[Tensor]
    image: Tensor
    whole: bool = False


@torch.no_grad()
def ours(
    solver: Solver,
    sde: SDE,
    levels: Sequence[float],
    noises: Sequence[Tensor],
    whole: bool = False,
    noise: type[Given] = Given,
) -> Trajectory:
    """Our states at ``levels``, and the denoised last one.

    A peer goes on from the last level to 0. So do we, to a hundredth of it, and drop that step, so
    that a step is the last one for both or for neither; not if ``whole``.
    """
    ends = list(levels) if whole else [*levels, 0.01 * levels[-1]]
    times = Explicit(ends).times(sde, len(ends) - 1)
    ask = Ask(sde, FunctionDenoiser(network, SHAPE[1:], 1e-9, 1e9))
    start, *rest = noises
    states: list[Tensor] = []
    x = sde.prior(start, times[0])
    solver.solve(ask, x, times, noise(rest, times), lambda at, x: states.append(x))
    states = states[: len(levels)]
    last = ask.at(float(times[len(levels) - 1]))
    return Trajectory(list(levels), states, ask.denoise(states[-1], last))


def distance(one: Trajectory, other: Trajectory, sde: SDE) -> float:
    """Largest difference of two trajectories, images included, in units of a state of variance 1.

    States of the process sigma = t are divided by sqrt(1 + sigma^2), the size that they have.
    """
    assert len(one.states) == len(other.states) == len(one.levels)
    worst = float((one.image - other.image).abs().max())
    for level, a, b in zip(one.levels, one.states, other.states, strict=True):
        size = (1 + level**2) ** 0.5 if sde is SIGMA else 1.0
        worst = max(worst, float((a - b).abs().max()) / size)
    return worst


@pytest.fixture(scope="session", name="sampling")
def sampling_fixture() -> Any:
    return k_sampling()


def k_sampling() -> Any:
    """k-diffusion's sampling file, by its path: the package itself imports much that it needs not.

    ``utils`` is stood in for by the one function that sampling uses.
    """
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.origin is None:
        pytest.skip("k-diffusion is not installed: pip install --no-deps k-diffusion")
    for needed in ("torchdiffeq", "torchsde"):
        pytest.importorskip(needed, reason="k-diffusion's sampling file imports it; see [peers]")
    package, utils = ModuleType("k_sampling"), ModuleType("k_sampling.utils")
    package.__path__ = []
    utils.append_dims = lambda x, n: x[(..., *[None] * (n - x.ndim))]  # type: ignore[attr-defined]
    package.utils = utils  # type: ignore[attr-defined]
    path = Path(found.origin).with_name("sampling.py")
    spec = importlib.util.spec_from_file_location("k_sampling.sampling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.update({"k_sampling": package, "k_sampling.utils": utils})
    sys.modules["k_sampling.sampling"] = module
    spec.loader.exec_module(module)
    return module
