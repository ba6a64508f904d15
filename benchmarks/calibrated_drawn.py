"""What ``calibrated.py`` draws, once, and its scores."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from calibrated_cases import FOLDER, SIGMA, Case
from safetensors.torch import load_file, save
from torch import Tensor

from sde_diffusion.calibration import trajectories
from sde_diffusion.calibration.baselines import standard_ends
from sde_diffusion.metrics.frechet import Reference, frechet_distance
from sde_diffusion.metrics.stats import FeatureStats
from sde_diffusion.process.sde import EDM
from sde_diffusion.sampling.execute import Execution
from sde_diffusion.sampling.sampler import Request, Sampler
from sde_diffusion.solvers.calibrated.file import Calibration
from sde_diffusion.solvers.calibrated.solver import Calibrated
from sde_diffusion.system.storage import fingerprint, write_atomically

BLOCKS = 3
LEADING = 48  # principal components that the Fréchet distance sees
NODES = 64  # evaluations of what is called converged


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` gives, made once."""
    if not path.is_file():
        write_atomically(path, save({k: v.contiguous() for k, v in make().items()}))
    return load_file(path)


def seeds_of(case: Case, block: int) -> range:
    """Apart from those of the calibration, which are from 1,000,000 on."""
    return range(case.noises * block, case.noises * (block + 1))


def converged(case: Case, block: int) -> Tensor:
    seeds = seeds_of(case, block)

    def make() -> dict[str, Tensor]:
        cond = case.condition(seeds)
        parts = []
        for first in range(0, len(seeds), 100):
            rows = slice(first, first + 100)
            own = None if cond is None else cond[rows]
            parts.append(trajectories(case.denoiser, seeds[rows], own, NODES, *SIGMA, 100).images)
        return {"x": torch.cat(parts)}

    return kept(FOLDER / case.draws / f"converged-{block}.safetensors", make)["x"]


def standard(case: Case, block: int, calls: int, pairs: Sequence[tuple[str, str]],
             n: int) -> dict[tuple[str, str], Tensor]:  # fmt: skip
    """Images of the first ``n`` noises of a block by some standard solvers."""
    seeds = seeds_of(case, block)[:n]
    found = {}
    for pair in pairs:
        name = "-".join([*pair, str(calls), str(block), str(n)])
        drawn = kept(
            FOLDER / case.draws / f"{name}.safetensors",
            lambda pair=pair: {
                "-".join(k): v
                for k, v in standard_ends(
                    case.denoiser, seeds, case.condition(seeds), calls, *SIGMA, [pair], 100
                ).items()
            },
        )
        if drawn:  # Heun buys no whole step with an odd number of calls
            found[pair] = next(iter(drawn.values()))
    return found


def calibrated(case: Case, block: int, calls: int, n: int | None = None) -> Tensor:
    path = case.calibration()
    solver = Calibrated(str(path), allow_other_model=Calibration.load(path).model == "")
    seeds = seeds_of(case, block)[:n]

    def make() -> dict[str, Tensor]:
        sampler = Sampler.build(EDM(), case.denoiser, solver, None)
        nfe = calls * case.denoiser.cost
        return {"x": sampler.sample(Request(seeds, nfe, case.condition(seeds)), Execution(100)).x}

    name = f"calibrated-{fingerprint(path)}-{calls}-{block}-{len(seeds)}"
    return kept(FOLDER / case.draws / f"{name}.safetensors", make)["x"]


def leading(case: Case) -> tuple[Tensor, Tensor]:
    """Mean and 48 leading components of all converged images."""
    x = torch.cat([converged(case, block) for block in range(BLOCKS)]).flatten(1).double()
    _, _, v = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0), v[:LEADING].T


def scores(x: Tensor, exact: Tensor, basis: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Relative RMSE of the trajectories' ends; Fréchet distance over the total variance."""
    flat, true = (v.flatten(1).double() for v in (x, exact))
    rmse = float((flat - true).norm() / (true - true.mean(0)).norm())
    made, wanted = (FeatureStats.of((v - basis[0]) @ basis[1]) for v in (flat, true))
    total = float(wanted.cov.trace())
    return rmse, frechet_distance(made, Reference.from_stats(wanted)).value / total


def best(row: dict[str, Any], k: int) -> tuple[str, list[float]]:
    """The standard solver that leads in score k on all blocks, and its values."""
    values = {pair: [block[k] for block in blocks] for pair, blocks in row["standard"].items()}
    name = min(values, key=lambda pair: statistics.fmean(values[pair]))
    return name, values[name]
