"""The standard solvers on the same noises: what a calibration is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sde_diffusion.condition import Condition
from sde_diffusion.denoiser import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.grid import Karras, LogSNR, TimeGrid, VPTime
from sde_diffusion.sampler import Sampler
from sde_diffusion.sde import EDM
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.ddim import DDIM
from sde_diffusion.solvers.deis import DEIS
from sde_diffusion.solvers.dpmpp_2m import DPMpp2M
from sde_diffusion.solvers.dpmpp_3m import DPMpp3M
from sde_diffusion.solvers.heun import Heun
from sde_diffusion.solvers.ipndm import IPNDM
from sde_diffusion.solvers.unipc import UniPC

SOLVERS: dict[str, Solver] = {
    "ddim": DDIM(),
    "heun": Heun(),
    "dpmpp_2m": DPMpp2M(),
    "dpmpp_3m": DPMpp3M(),
    "unipc2": UniPC(2),
    "unipc3": UniPC(3),
    "deis": DEIS(),
    "ipndm": IPNDM(),
}
GRIDS: dict[str, type[TimeGrid]] = {"karras": Karras, "logsnr": LogSNR, "vptime": VPTime}
# A few that lead at few evaluations: what a calibration shows itself beside.
FEW = (("deis", "karras"), ("ipndm", "vptime"), ("unipc3", "vptime"), ("dpmpp_2m", "logsnr"))
ALL = tuple(product(SOLVERS, GRIDS))


def standard_ends(
    denoiser: Denoiser,
    seeds: Sequence[int],
    cond: Condition | None,
    calls: int,
    sigma_min: float,
    sigma_max: float,
    pairs: Sequence[tuple[str, str]] = FEW,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
) -> dict[tuple[str, str], Tensor]:
    """Images [N, *shape] of each (solver, grid) that ``calls`` of the denoiser buy."""
    found = {}
    for name, grid in pairs:
        ends = GRIDS[grid](sigma_min=sigma_min, sigma_max=sigma_max)
        sampler = Sampler.build(EDM(), denoiser, SOLVERS[name], ends)
        try:
            sampler.steps(calls * denoiser.cost)
        except InputError:  # Heun buys no whole step with an odd number of calls
            continue
        drawn = sampler.sample(seeds, calls * denoiser.cost, cond, batch_size, device=device)
        found[name, grid] = drawn.x
    return found
