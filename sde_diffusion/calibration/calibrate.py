"""Calibration: from a denoiser and numbers of evaluations to rules, without back-propagation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sde_diffusion.calibration.band_rows import DCT_EDGES, PCA_EDGES, fit_last
from sde_diffusion.calibration.baselines import FEW, GRIDS, SOLVERS, as_rule
from sde_diffusion.calibration.greedy import greedy
from sde_diffusion.calibration.least_squares import LeastSquares, Path
from sde_diffusion.calibration.refine import refine
from sde_diffusion.calibration.search import searched
from sde_diffusion.calibration.trajectory import Trajectories
from sde_diffusion.denoisers.base import Denoiser
from sde_diffusion.errors import InputError
from sde_diffusion.process.sde import EDM
from sde_diffusion.solvers.calibrated.bands import Bands
from sde_diffusion.solvers.calibrated.file import bands_of
from sde_diffusion.solvers.calibrated.normal import Normal
from sde_diffusion.solvers.calibrated.rule import Rule
from sde_diffusion.system.spelling import none_of

MODES = 64  # of the normal law, at most
CHOOSING = 32  # noises that the search for a grid sees
SMALL = 4096  # dimensions up to which ``per_mode`` bands are of principal components


def silent(evaluations: int) -> None:
    """Hears of evaluations, and says nothing."""


@dataclass(frozen=True)
class Settings:
    """What a calibration may spend.

    Attributes:
        noises, held_out: noises fitted to, and those that choose between fits.
        budget: evaluations a noise of the joint fit, for each evaluation of the rule.
        tries: greedy fits of the search for a grid.
        mode: ``scalar``, or ``per_mode``: the last step has coefficients for each band of modes.
        batch_size: rows a call of the network.
        modes: of the normal law, at most: what a calibration file is large by.
    """

    noises: int = 128
    held_out: int = 64
    budget: int = 30
    tries: int = 60
    mode: str = "scalar"
    batch_size: int = 128
    modes: int = MODES

    def check(self) -> None:
        """InputError for numbers that make no calibration."""
        if self.noises < 8 or self.held_out < 2:
            raise InputError(
                f"noises={self.noises}, held_out={self.held_out}: give at least 8 and 2"
            )
        if self.budget < 0:
            raise InputError(f"budget={self.budget}: give a number >= 0")
        if self.tries < 1:
            raise InputError(f"tries={self.tries}: give a number >= 1")
        if self.mode not in ("scalar", "per_mode"):
            raise none_of("mode", self.mode, ("per_mode", "scalar"))
        if self.batch_size < 1:
            raise InputError(f"batch_size={self.batch_size}: give a number >= 1")
        if self.modes < 1:
            raise InputError(f"modes={self.modes}: give a number >= 1")


@dataclass(frozen=True)
class Fitted:
    """A rule, with relative root mean square errors on held-out noises.

    Attributes:
        start_error, error: before and after the joint fit.
        standard: of standard solvers, by ``SOLVER GRID``.
    """

    rule: Rule
    start_error: float
    error: float
    standard: dict[str, float]


def bands_for(mode: str, shape: Sequence[int], modes: int) -> tuple[str, tuple[float, ...]]:
    """Kind and edges of the bands: principal components of small images, cosines of large ones."""
    if mode == "scalar":
        return "scalar", ()
    if math.prod(shape) <= SMALL:
        return "pca", tuple(float(edge) for edge in PCA_EDGES if edge <= modes)
    if len(shape) != 3:
        raise InputError(f"mode=per_mode: needs images (C, H, W) above {SMALL} pixels, not {shape}")
    return "dct", DCT_EDGES


@torch.no_grad()
def calibrate(
    denoiser: Denoiser,
    known: Trajectories,
    calls: int,
    settings: Settings,
    normal: Normal,
    sigma_min: float,
    device: torch.device | str = "cpu",
    heard: Callable[[int], None] = silent,
) -> Fitted:
    """The rule of ``calls`` evaluations of the denoiser that best reproduces ``known``.

    The first ``settings.noises`` of ``known`` are fitted to. The next ``held_out`` decide whether
    the joint fit starts from the greedy one or from a standard solver, and with the others which
    of its rules is kept: the start among them, so it never ends above where it began.

    Args:
        denoiser: guided or not. known: converged trajectories, those fitted to first.
        calls: evaluations of the denoiser of the rule. normal: the law of the images.
        sigma_min: the least level of the rule; its largest is that of ``known``.
        device: where the denoiser is. heard: hears of evaluations as they are made.
    """
    if calls < 2:
        raise InputError(f"nfe: {calls} evaluation of the denoiser: give at least 2")
    if calls > len(known.levels) - 2:
        raise InputError(f"nfe: {calls} evaluations: more than the reference has; raise nodes")
    n, m = settings.noises, settings.held_out
    train = known[slice(0, n)]
    fitted, judged, every = (
        LeastSquares.of(denoiser, normal, known[rows], settings.batch_size, heard, device)
        for rows in (slice(0, n), slice(n, n + m), slice(0, n + m))
    )

    def error(rule: Rule) -> float:
        return judged.rmse(judged.walk(rule).end)

    few = known[slice(0, min(n, CHOOSING))]
    tried = LeastSquares.of(denoiser, normal, few, settings.batch_size, heard, device)
    nodes = searched(tried, few, calls, settings.tries)
    rule, path = greedy(fitted, train, nodes)
    first = judged.walk(rule).end
    at_first, knee = judged.rmse(first), judged.knee(first)

    def loss(rule: Rule, known: Path) -> float:
        rest = every[slice(len(known.end), None)].walk(rule)
        return every.huber(torch.cat([known.end, rest.end]), knee)

    standard = {
        f"{solver} {grid}": as_rule(SOLVERS[solver], times(grid, sigma_min, known, calls))
        for solver, grid in FEW
    }
    walked = {name: judged.walk(other).end for name, other in standard.items()}
    errors = {name: judged.rmse(end) for name, end in walked.items()}
    losses = {name: judged.huber(end, knee) for name, end in walked.items()}
    name = min(losses, key=losses.__getitem__)
    if losses[name] < judged.huber(first, knee):  # Gaussian flow and greedy fit gain nothing here
        rule, path = standard[name], fitted.walk(standard[name])
        at_first = errors[name]
    rule = refine(fitted, rule, path, sigma_min, settings.budget * calls, loss)
    kind, edges = bands_for(settings.mode, denoiser.shape, len(normal.variances))
    bands = bands_of(kind, edges, normal, denoiser.shape)
    if bands is not None:
        banded = _banded_error(judged, rule, bands)
        rule = fit_last(fitted, rule, fitted.walk(rule), bands, banded)
        return Fitted(rule, at_first, banded(rule), errors)
    return Fitted(rule, at_first, error(rule), errors)


def times(grid: str, sigma_min: float, known: Trajectories, calls: int) -> Tensor:
    """The noise levels of a standard grid over the range of ``known``."""
    ends = GRIDS[grid](sigma_min=sigma_min, sigma_max=float(known.levels[0]))
    return ends.times(EDM(), calls)


def _banded_error(judged: LeastSquares, rule: Rule, bands: Bands) -> Callable[[Rule], float]:
    """The error of rules that differ from ``rule`` in their last step alone."""
    path, bands = judged.walk(rule), bands.to(judged.target)

    def error(rule: Rule) -> float:
        end: Tensor = rule.advance(rule.n - 1, path.states[-2], path.seen, bands)
        return judged.rmse(end)

    return error
