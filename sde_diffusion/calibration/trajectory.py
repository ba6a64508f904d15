"""Converged trajectories of the probability flow: what a few evaluations should reproduce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.conditions.condition import Condition
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.process.grids import VPTime
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import EDM, Marginal
from sde_diffusion.solvers.step import Ask
from sde_diffusion.solvers.unipc import UniPC

SOURCE = Seeds()
# A set of trajectories larger than this is kept in half precision.
LARGE = 2**29


@dataclass(frozen=True)
class Trajectories:
    """States y = x_0 + sigma n of N samples at K + 1 noise levels.

    Attributes:
        levels: [K + 1], decreasing. states: [K + 1, N, *shape]. cond: of the samples.
    """

    levels: Tensor
    states: Tensor
    cond: Condition | None

    def __len__(self) -> int:
        return self.states.shape[1]

    def __getitem__(self, rows: slice) -> Trajectories:
        cond = None if self.cond is None else self.cond[rows]
        return Trajectories(self.levels, self.states[:, rows], cond)

    @property
    def noise(self) -> Tensor:
        """y at the largest level [N, *shape], float32."""
        return self.states[0].float()

    @property
    def images(self) -> Tensor:
        """y at the least level [N, *shape], float32."""
        return self.states[-1].float()


def reference_levels(nodes: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Noise levels of the reference, falling [nodes + 1]; each but the last is asked at."""
    return VPTime(sigma_min=sigma_min, sigma_max=sigma_max).times(EDM(), nodes)


@torch.no_grad()
def trajectories(
    denoiser: Denoiser,
    seeds: Sequence[int],
    cond: Condition | None,
    nodes: int,
    sigma_min: float,
    sigma_max: float,
    batch_size: int,
    device: torch.device | str = "cpu",
    heard: Callable[[int], None] = lambda evaluations: None,
    start: float = 1.0,
) -> Trajectories:
    """UniPC-3 in ``nodes`` steps on VP-time^2, every state kept, from the noise of ``seeds``.

    Args:
        denoiser: guided or not. seeds, cond: of the noises, a row each; None is no condition.
        nodes: steps, evaluations of the denoiser a noise.
        sigma_min, sigma_max: the ends of the levels.
        batch_size: rows at once. device: where the denoiser is; states are kept on the CPU.
        heard: hears of the evaluations of each batch.
        start: the first state is this times sigma_max n.
    """
    denoiser.check_condition(cond)
    denoiser.check_levels(sigma_min, sigma_max)
    sde, levels = EDM(), reference_levels(nodes, sigma_min, sigma_max)
    half = (nodes + 1) * len(seeds) * torch.Size(denoiser.shape).numel() * 4 > LARGE
    kept: list[Tensor] = []
    for first in range(0, len(seeds), batch_size):
        rows = slice(first, first + batch_size)
        part = None if cond is None else cond[rows].to(device)
        drawn = seeds[rows], denoiser.shape, torch.float32, device
        noise = SOURCE.batch(*drawn)
        states: list[Tensor] = []

        def observe(at: Marginal, x: Tensor, states: list[Tensor] = states) -> None:
            states.append(x.half().cpu() if half else x.cpu())

        x = start * sde.prior(SOURCE.start(*drawn), levels[0])
        UniPC(order=3).solve(Ask(sde, denoiser, part), x, levels, noise, observe)
        kept.append(torch.stack(states))
        heard(nodes * denoiser.cost * len(x))
    return Trajectories(levels, torch.cat(kept, dim=1), cond)
