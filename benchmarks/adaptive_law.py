"""The law of the adaptive SDE solver against its tolerance: the second half of adaptive.py."""

from __future__ import annotations

import torch
from adaptive_problems import SDES, exact_statistics, statistics
from tqdm import tqdm
from weak_order import mixture

from sde_diffusion.denoisers.closed_form import GaussianDenoiser
from sde_diffusion.exact import law, marginal
from sde_diffusion.process.grids import Karras
from sde_diffusion.process.noise import Seeds
from sde_diffusion.process.sde import SDE, VP
from sde_diffusion.solvers.adaptive.adaptive_sde import AdaptiveSDE
from sde_diffusion.solvers.base import Solver
from sde_diffusion.solvers.dpmpp_2m_sde import DPMpp2MSDE
from sde_diffusion.solvers.step import Ask

F64 = torch.float64
ROWS, COPIES, OF_MIXTURE = 256, 64, 2048
# Standard errors of a mean and of a variance ratio.
OF_MEAN, OF_VARIANCE = (ROWS * COPIES) ** -0.5, (ROWS * COPIES / 2) ** -0.5


def deviations(solver: Solver, sde: SDE, dtype: torch.dtype = F64) -> tuple[float, float, float]:
    """Largest deviation of a mode's mean (in its standard deviation) and of its variance (relative)
    from the exact law, over ROWS x COPIES draws; evaluations a sample."""
    one = mixture()
    variance, mean = one.variances[0], one.means[0]
    target = GaussianDenoiser(variance.repeat(COPIES), mean.repeat(COPIES))
    times = Karras().times(sde, 1)
    drawn = range(ROWS), target.shape, dtype
    noise, start = Seeds().batch(*drawn), Seeds().start(*drawn)
    first = marginal(sde, times[0], target.variance, target.mean)
    x = (first.mean + first.variance.sqrt() * start).to(dtype)
    found = solver.solve(Ask(sde, target), x, times, noise)
    last = marginal(sde, times[-1], variance, mean)
    z = (found.double().reshape(-1, len(mean)) - last.mean) / last.variance.sqrt()
    off = float(z.mean(0).abs().max()), float((z.square().mean(0) - 1).abs().max())
    return *off, target.evaluations / ROWS


def fixed(nfe: int) -> float:
    """Largest relative error of a mode's variance by SDE-DPM-Solver++(2M) at ``nfe``: exact."""
    one, sde = mixture(), VP()
    times = Karras().times(sde, nfe)
    found = law(DPMpp2MSDE(), sde, times, one.variances[0], one.means[0])
    right = marginal(sde, times[-1], one.variances[0], one.means[0])
    return float((found.variance / right.variance - 1).abs().max())


def of_mixture(solver: AdaptiveSDE, rows: int = OF_MIXTURE) -> float:
    """Largest deviation of 12 means of a mixture from their exact values, in standard errors."""
    target, sde = mixture(), VP()
    times = Karras().times(sde, 1)
    drawn = range(rows), target.shape, F64
    noise, start = Seeds().batch(*drawn), Seeds().start(*drawn)
    generator = torch.Generator().manual_seed(2)
    x = sde.perturb(target.sample(rows, generator), times[0], start)
    y = solver.solve(Ask(sde, target), x, times, noise) / sde.alpha(times[-1])
    seen = statistics(y)
    error = seen.std(0) / rows**0.5
    return float(((seen.mean(0) - exact_statistics(target, 0.002)) / error).abs().max())


def law_tables() -> tuple[list[list[str]], list[list[str]]]:
    """Against tolerance, and on all SDEs in both dtypes."""
    against, everywhere = [], []
    for rtol in tqdm((0.1, 0.03, 0.01, 0.003), desc="law"):
        solver = AdaptiveSDE(rtol, rtol / 10)
        mean, variance, spent = deviations(solver, VP())
        of_many = f"{of_mixture(solver):.1f}"
        against.append([f"{rtol:g}", f"{spent:.0f}", f"{mean:.3f}", f"{variance:.3f}",
                        f"{fixed(round(spent)):.3f}", of_many])  # fmt: skip
    for name, sde in tqdm(SDES.items(), desc="law"):
        row = [name]
        for dtype in (F64, torch.float32):
            mean, variance, spent = deviations(AdaptiveSDE(), sde, dtype)
            row += [f"{mean / OF_MEAN:.1f}", f"{variance / OF_VARIANCE:.1f}", f"{spent:.0f}"]
        everywhere.append(row)
    return against, everywhere
